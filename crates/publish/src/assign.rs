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

/// Parses the assignments of one line. Blanks separate them.
///
/// A value that begins with `"` ends at the next quote. Within the quotes `\"`, `\\`, `\n`, `\r`,
/// `\t`, `\0`, `\'` and `\u{…}` stand for characters, as in Rust's string literals: a text is
/// printed in this form. Any other value ends at the next blank. An empty line, or one that begins
/// with `#`, has no assignments.
///
/// # Errors
/// [`Error::Line`].
pub fn parse(line: &str) -> Result<Vec<Assignment>, Error> {
    let error = |why| line_error(line, why);
    let mut rest = line.trim();
    let mut assignments = Vec::new();
    if rest.starts_with('#') {
        return Ok(assignments);
    }
    while !rest.is_empty() {
        let (name, after) = rest
            .split_once('=')
            .ok_or_else(|| error("there is no `=`"))?;
        let (value, after) = value(after).map_err(error)?;
        assignments.push(assignment(name, value).map_err(error)?);
        rest = after.trim_start();
    }
    Ok(assignments)
}

/// Parses the assignments of one argument of a command, by the rule of [`parse`]; line breaks
/// separate assignments too.
///
/// As a shell removes quotes of its own, `name=` followed by a text with blanks is one assignment
/// if no word of the text contains `=`.
///
/// # Errors
/// [`Error::Line`].
pub fn parse_argument(argument: &str) -> Result<Vec<Assignment>, Error> {
    let parsed: Result<Vec<_>, _> = argument.lines().map(parse).collect();
    let error = match parsed {
        Ok(lines) if lines.iter().any(|line| !line.is_empty()) => return Ok(lines.concat()),
        Ok(_) => line_error(argument, "there is no `=`"),
        Err(error) => error,
    };
    match argument.split_once('=') {
        Some((name, text)) if !text.starts_with('"') && !text.contains('=') => {
            Ok(vec![Assignment::new(name, text)?])
        }
        _ => Err(error),
    }
}

impl Assignment {
    /// An assignment to the variable or field `name`. The value is not parsed: quotes and blanks
    /// are part of it.
    ///
    /// # Errors
    /// [`Error::Line`] for a malformed name.
    pub fn new(name: &str, value: &str) -> Result<Self, Error> {
        assignment(name, value.to_owned())
            .map_err(|why| line_error(&format!("{name}={value}"), why))
    }
}

fn line_error(line: &str, why: &'static str) -> Error {
    Error::Line {
        line: line.to_owned(),
        why,
    }
}

fn assignment(name: &str, value: String) -> Result<Assignment, &'static str> {
    if name.contains(char::is_whitespace) {
        return Err("a name contains a blank");
    }
    let (name, field) = match name.split_once('.') {
        Some((name, field)) => (name, Some(field)),
        None => (name, None),
    };
    if name.is_empty() || field == Some("") {
        return Err("there is no name before `=`");
    }
    Ok(Assignment {
        name: name.to_owned(),
        field: field.map(str::to_owned),
        value,
    })
}

/// Parses the value at the start of `text`. Returns it, and the text after it.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next().ok_or("a quote is not closed")? {
            '"' => break,
            '\\' => {
                let (character, after) = escape(characters.as_str())?;
                value.push(character);
                characters = after.chars();
            }
            character => value.push(character),
        }
    }
    let after = characters.as_str();
    match after.starts_with(|next: char| !next.is_whitespace()) {
        true => Err("there is text after the closing quote"),
        false => Ok((value, after)),
    }
}

/// Decodes an escape; `text` begins after its backslash. Returns the character, and the text after
/// the escape.
fn escape(text: &str) -> Result<(char, &str), &'static str> {
    const UNKNOWN: &str = "unknown escape: use \\\" \\\\ \\' \\n \\r \\t \\0 or \\u{…}";
    let mut characters = text.chars();
    let character = match characters.next() {
        Some(same @ ('"' | '\\' | '\'')) => same,
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('0') => '\0',
        Some('u') => {
            let (digits, after) = characters
                .as_str()
                .strip_prefix('{')
                .and_then(|text| text.split_once('}'))
                .ok_or(UNKNOWN)?;
            let number = u32::from_str_radix(digits, 16)
                .ok()
                .and_then(char::from_u32);
            return Ok((
                number.ok_or("\\u{…} is not the number of a character")?,
                after,
            ));
        }
        _ => return Err(UNKNOWN),
    };
    Ok((character, characters.as_str()))
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
    fn a_line_has_several_assignments() {
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
    fn malformed_assignments_are_refused() {
        for line in [
            "a",
            "=1",
            ".b=1",
            "a.=1",
            "a b=1",
            "a=\"",
            "a=\"b\"c",
            "a=\"\\x\"",
            "a=\"\\u{d800}\"",
            "a=\"\\u{41\"",
        ] {
            assert!(flat(line).is_err(), "{line}");
        }
    }

    #[test]
    fn texts_are_printed_as_they_are_read() {
        for text in [
            "eu west",
            "",
            "\"q\" \\",
            "a\nb\tc\r",
            "\u{1b}[2J\u{202e}",
            "ü",
            "'",
        ] {
            let line = format!("a={text:?} b=1");
            let values: Vec<String> = parse(&line)
                .unwrap()
                .into_iter()
                .map(|one| one.value)
                .collect();
            assert_eq!(values, [text, "1"], "{line}");
        }
    }

    #[test]
    fn an_argument_is_read_as_a_line_is() {
        let values = |argument| -> Option<Vec<String>> {
            let parsed = parse_argument(argument).ok()?;
            Some(parsed.into_iter().map(|one| one.value).collect())
        };
        let some = |all: &[&str]| Some(all.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(values("region=\"eu west\""), some(&["eu west"]));
        assert_eq!(
            values("w.speed=3 w.from=\"a b\"\nt=1"),
            some(&["3", "a b", "1"])
        );
        // The shell has removed the quotes of region="eu west".
        assert_eq!(values("region=eu west"), some(&["eu west"]));
        for wrong in ["region=two words = x", "region", "", "region=\"a\"b"] {
            assert_eq!(values(wrong), None, "{wrong}");
        }
    }
}
