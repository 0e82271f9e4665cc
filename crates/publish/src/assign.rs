//! Assignments in text: `temperature=21.5 wind.speed=3 wind.from="north west"`.

use crate::error::Error;

/// One `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// The field, where the variable is a record.
    pub field: Option<String>,
    /// The value, as text.
    pub value: String,
}

/// The assignments of one line: separated by blanks, values with blanks in them between
/// double quotes, where `\"` and `\\` stand for `"` and `\`. A line that is empty or
/// begins with `#` holds none.
///
/// # Errors
/// [`Error::Line`].
pub fn parse(line: &str) -> Result<Vec<Assignment>, Error> {
    let wrong = |why| Error::Line {
        line: line.to_owned(),
        why,
    };
    let mut rest = line.trim();
    let mut assignments = Vec::new();
    if rest.starts_with('#') {
        return Ok(assignments);
    }
    while !rest.is_empty() {
        let (name, after) = rest
            .split_once('=')
            .ok_or_else(|| wrong("there is no `=`"))?;
        let (value, after) = value(after).map_err(wrong)?;
        assignments.push(assignment(name, value).map_err(wrong)?);
        rest = after.trim_start();
    }
    Ok(assignments)
}

/// The assignment of one argument of a command: all behind the first `=` is the value,
/// blanks and quotes included, as the shell has already taken its own.
///
/// # Errors
/// [`Error::Line`].
pub fn parse_argument(argument: &str) -> Result<Assignment, Error> {
    let wrong = |why| Error::Line {
        line: argument.to_owned(),
        why,
    };
    let (name, value) = argument
        .split_once('=')
        .ok_or_else(|| wrong("there is no `=`"))?;
    assignment(name, value.to_owned()).map_err(wrong)
}

fn assignment(name: &str, value: String) -> Result<Assignment, &'static str> {
    if name.contains(char::is_whitespace) {
        return Err("there is a blank in a name");
    }
    let (name, field) = match name.split_once('.') {
        Some((name, field)) => (name, Some(field)),
        None => (name, None),
    };
    if name.is_empty() || field == Some("") {
        return Err("a name is missing before `=`");
    }
    Ok(Assignment {
        name: name.to_owned(),
        field: field.map(str::to_owned),
        value,
    })
}

/// A value, and what comes after it.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let after = &quoted[at + 1..];
                if after.starts_with(|next: char| !next.is_whitespace()) {
                    return Err("a value goes on behind its closing quote");
                }
                return Ok((value, after));
            }
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => return Err("a backslash stands before neither `\"` nor `\\`"),
            },
            _ => value.push(character),
        }
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(line: &str) -> Result<Vec<(String, Option<String>, String)>, String> {
        match parse(line) {
            Ok(all) => Ok(all
                .into_iter()
                .map(|one| (one.name, one.field, one.value))
                .collect()),
            Err(Error::Line { why, .. }) => Err(why.to_owned()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_line_holds_several() {
        let line = r#"  a=1 b.c="two \"words\" \\"  d= "#;
        let expected = [
            ("a", None, "1"),
            ("b", Some("c"), r#"two "words" \"#),
            ("d", None, ""),
        ]
        .map(|(name, field, value)| (name.into(), field.map(str::to_owned), value.into()));
        assert_eq!(flat(line), Ok(expected.to_vec()));
        assert_eq!(flat(""), Ok(vec![]));
        assert_eq!(flat("# a=1"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        for line in [
            "a",
            "=1",
            ".b=1",
            "a.=1",
            "a b=1",
            "a=\"",
            "a=\"b\"c",
            "a=\"\\n\"",
        ] {
            assert!(flat(line).is_err(), "{line}");
        }
    }

    #[test]
    fn an_argument_is_one_assignment_whatever_its_value() {
        let argument = parse_argument("name=two words = \"x\"").unwrap();
        assert_eq!(argument.value, "two words = \"x\"");
        assert!(parse_argument("name").is_err());
    }
}
