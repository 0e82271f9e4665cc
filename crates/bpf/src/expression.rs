//! What a declaration calls a value of the kernel's.
//!
//! ```text
//! expression = [ "(" type ")" ] root { "." field | "[" index "]" } [ ":" scalar ]
//! root       = symbol | "arg" number
//! type       = name { "*" } [ "[" [ number ] "]" ]
//! index      = number | enumerator
//! ```
//!
//! As in C, but that `.` follows a pointer as well as a member, that the type in
//! front is the *root's*, and that a scalar type behind may stand where the kernel
//! doesn't describe a symbol: `nr_threads:i32`, `init_uts_ns.name.release`,
//! `vm_zone_stat[NR_FREE_PAGES]`, `arg0.tkr_mono.mult`.

use crate::Error;
use vdsokit_vvar::scalar::ScalarType;

/// An expression, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// As it was written.
    pub text: String,
    /// The root's type, when it is given.
    pub cast: Option<Cast>,
    /// Where it starts.
    pub root: Root,
    /// What follows, in order.
    pub steps: Vec<Step>,
    /// The value's type, when it is given; the count is an array's.
    pub scalar: Option<(ScalarType, Option<u32>)>,
}

/// A type as an expression spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// Without `struct`.
    pub name: String,
    /// How many stars.
    pub pointers: usize,
    /// Whether it is an array, and of how many elements; 0 when that isn't given.
    pub array: Option<u32>,
}

/// Where an expression starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A variable of the kernel.
    Symbol(String),
    /// An argument of the function or tracepoint that the program hooks, from 0.
    Argument(usize),
}

/// One step from a value to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a member, behind a pointer too.
    Field(String),
    /// To an element.
    Index(u64),
    /// To the element that an enumerator numbers.
    Enumerator(String),
}

impl Expression {
    /// Parses.
    ///
    /// # Errors
    /// [`Error::Syntax`] with the place.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, at: 0 };
        parser.expression()
    }
}

impl Cast {
    /// Parses a type as it stands between parentheses.
    ///
    /// # Errors
    /// [`Error::Syntax`] with the place.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, at: 0 };
        let cast = parser.cast()?;
        parser.end()?;
        Ok(cast)
    }
}

struct Parser<'text> {
    text: &'text str,
    at: usize,
}

impl<'text> Parser<'text> {
    fn expression(&mut self) -> Result<Expression, Error> {
        let mut cast = None;
        if self.eat('(') {
            cast = Some(self.cast()?);
            self.expect(')')?;
        }
        self.spaces();
        let root = self.word("a symbol's name")?;
        let argument = root.strip_prefix("arg").and_then(|n| n.parse().ok());
        let root = match argument {
            Some(number) => Root::Argument(number),
            None => Root::Symbol(root.to_owned()),
        };
        let mut steps = Vec::new();
        loop {
            if self.eat('.') {
                steps.push(Step::Field(self.word("a field's name")?.to_owned()));
            } else if self.eat('[') {
                let index = self.word("a number or an enumerator")?;
                steps.push(match index.parse() {
                    Ok(number) => Step::Index(number),
                    Err(_) => Step::Enumerator(index.to_owned()),
                });
                self.expect(']')?;
            } else {
                break;
            }
        }
        let mut scalar = None;
        if self.eat(':') {
            let name = self.word("a scalar type")?;
            let ty = ScalarType::from_name(name).ok_or_else(|| {
                self.syntax_error("a scalar type, u8 to i64 or bool, was expected")
            })?;
            scalar = Some((ty, self.count()?));
        }
        self.end()?;
        Ok(Expression {
            text: self.text.to_owned(),
            cast,
            root,
            steps,
            scalar,
        })
    }

    fn cast(&mut self) -> Result<Cast, Error> {
        let rest = self.rest();
        let end = rest.find(['*', '[', ')']).unwrap_or(rest.len());
        let name = rest[..end].trim();
        let name = name
            .strip_prefix("struct ")
            .unwrap_or(name)
            .trim()
            .to_owned();
        if name.is_empty() {
            return Err(self.syntax_error("a type's name was expected"));
        }
        self.at += end;
        let mut pointers = 0;
        while self.eat('*') {
            pointers += 1;
        }
        let array = if self.rest().starts_with("[]") {
            self.at += 2;
            Some(0)
        } else {
            self.count()?
        };
        Ok(Cast {
            name,
            pointers,
            array,
        })
    }

    /// `[number]`, or nothing.
    fn count(&mut self) -> Result<Option<u32>, Error> {
        if !self.eat('[') {
            return Ok(None);
        }
        let number = self.word("a number")?.parse();
        let number = number.map_err(|_| self.syntax_error("a number was expected"))?;
        self.expect(']')?;
        Ok(Some(number))
    }

    fn word(&mut self, what: &str) -> Result<&'text str, Error> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(self.syntax_error(&format!("{what} was expected")));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), Error> {
        if self.eat(wanted) {
            return Ok(());
        }
        Err(self.syntax_error(&format!("`{wanted}` was expected")))
    }

    fn spaces(&mut self) {
        while self.eat(' ') {}
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.rest().is_empty() {
            return Ok(());
        }
        Err(self.syntax_error("nothing more was expected"))
    }

    fn rest(&self) -> &'text str {
        &self.text[self.at..]
    }

    fn syntax_error(&self, what: &str) -> Error {
        Error::Syntax {
            expression: self.text.to_owned(),
            at: self.at,
            what: what.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_grammar() {
        let parsed = Expression::parse("(struct pglist_data*[])node_data[0].zone[ZONE_A].x:u64");
        let parsed = parsed.unwrap();
        let cast = Cast {
            name: "pglist_data".into(),
            pointers: 1,
            array: Some(0),
        };
        assert_eq!(parsed.cast, Some(cast));
        assert_eq!(parsed.root, Root::Symbol("node_data".into()));
        let field = |name: &str| Step::Field(name.into());
        let zone = Step::Enumerator("ZONE_A".into());
        assert_eq!(
            parsed.steps,
            [Step::Index(0), field("zone"), zone, field("x")]
        );
        assert_eq!(parsed.scalar, Some((ScalarType::U64, None)));

        let parsed = Expression::parse("arg0.tkr_mono.mult").unwrap();
        assert_eq!(parsed.root, Root::Argument(0));
        let parsed = Expression::parse("avenrun:u64[3]").unwrap();
        assert_eq!(parsed.scalar, Some((ScalarType::U64, Some(3))));
        assert_eq!(
            Cast::parse("unsigned long[3]").unwrap().name,
            "unsigned long"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let place = |text: &str| match Expression::parse(text) {
            Err(Error::Syntax { at, .. }) => at,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(place(""), 0);
        assert_eq!(place("a."), 2);
        assert_eq!(place("a[1"), 3);
        assert_eq!(place("a b"), 1);
        assert_eq!(place("a:u128"), 6);
        assert_eq!(place("()a"), 1);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: String) {
            let _ = Expression::parse(&text);
            let _ = Cast::parse(&text);
        }
    }
}
