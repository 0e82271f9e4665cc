//! Text of a declaration in generated source code.
//!
//! Docs and units are any text. In a comment none of it may end the line or the comment, as
//! the compiler reads it: C and C++ replace trigraphs and join lines that end in a backslash
//! before they look for comments (C17, 5.1.1.2), Java replaces Unicode escapes there (JLS, 3.3),
//! JavaScript ends lines at U+2028 and U+2029 (ECMA-262, 12.3). Characters that reverse the
//! direction of text are removed: they make code look like a comment in an editor (Boucher
//! and Anderson, "Trojan Source", 2021).

/// Between two characters that together mean something to a compiler.
const SEPARATOR: char = '\u{200b}';
/// Looks like a backslash.
const BACKSLASH: char = '\u{29f5}';

/// The lines of `text`, each fit for a comment of any language for which code is generated.
pub(crate) fn comment_lines(text: &str) -> Vec<String> {
    text.split(ends_line).map(in_comment).collect()
}

/// `text` with single spaces for white space and line ends.
pub(crate) fn one_line(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|letter| if ends_line(letter) { ' ' } else { letter })
        .filter(|letter| !is_invisible(*letter))
        .collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn in_comment(line: &str) -> String {
    let mut safe = String::with_capacity(line.len());
    let mut last = None;
    // Pairs are looked for among the characters that remain.
    for letter in line.chars().filter(|letter| !is_invisible(*letter)) {
        if matches!(
            (last, letter),
            (Some('*'), '/') | (Some('/'), '*' | '/') | (Some('?'), '?') | (Some('`'), '`')
        ) {
            safe.push(SEPARATOR);
        }
        safe.push(match letter {
            '\\' => BACKSLASH,
            letter => letter,
        });
        last = Some(letter);
    }
    safe
}

/// Whether a compiler or an editor ends a line at this character.
fn ends_line(letter: char) -> bool {
    matches!(
        letter,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Control characters, and those that change the direction of text.
fn is_invisible(letter: char) -> bool {
    letter.is_control() && letter != '\t'
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_characters_do_not_join_the_end_of_a_comment() {
        assert_eq!(comment_lines("*\u{1}/"), ["*\u{200b}/"]);
        assert_eq!(comment_lines("*\u{202e}/"), ["*\u{200b}/"]);
        assert_eq!(comment_lines("*\r/"), ["*", "/"]);
        assert_eq!(comment_lines("a??/"), ["a?\u{200b}?/"]);
        assert_eq!(comment_lines("\\u002a/"), ["\u{29f5}u002a/"]);
    }
}
