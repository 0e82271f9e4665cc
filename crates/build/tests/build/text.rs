//! No text of a declaration gets out of its comment or string in any generated language.
//!
//! Comments and strings are taken out of the generated files as each language's compiler
//! finds them. What remains must not depend on the texts.

use proptest::prelude::*;
use std::iter::Peekable;
use std::str::Chars;
use vdsokit_build::{Declaration, bindings, header, pkg_config};

/// How a language writes comments and strings.
struct Lexer {
    line: &'static str,
    has_blocks: bool,
    /// Delimiters of strings, longer ones first.
    quotes: &'static [&'static str],
    /// Characters that end a line.
    ends: &'static str,
    /// What the compiler does before it looks for comments.
    first: fn(&str) -> String,
}

const C: Lexer = Lexer {
    line: "//",
    has_blocks: true,
    quotes: &["\""],
    ends: "\n\r\u{b}\u{c}",
    first: trigraphs_and_splices,
};

fn lexer(extension: &str) -> Lexer {
    let unchanged = |text: &str| text.to_owned();
    match extension {
        "h" | "hpp" => C,
        "rs" => Lexer {
            first: unchanged,
            ..C
        },
        "java" => Lexer {
            first: unicode_escapes,
            ..C
        },
        "js" | "ts" => Lexer {
            quotes: &["\"", "`"],
            ends: "\n\r\u{2028}\u{2029}",
            first: unchanged,
            ..C
        },
        "go" | "mod" => Lexer {
            quotes: &["\"", "`"],
            first: unchanged,
            ..C
        },
        "py" | "typed" => Lexer {
            line: "#",
            has_blocks: false,
            quotes: &["\"\"\"", "\""],
            first: unchanged,
            ..C
        },
        "rb" => Lexer {
            line: "#",
            has_blocks: false,
            first: unchanged,
            ..C
        },
        other => panic!("no lexer for .{other}"),
    }
}

/// Phases 1 and 2 of translation (C17, 5.1.1.2).
fn trigraphs_and_splices(text: &str) -> String {
    text.replace("??/", "\\").replace("\\\n", "")
}

/// JLS 3.3.
fn unicode_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        out += &rest[..at];
        let digits = rest[at + 2..].trim_start_matches('u');
        match digits
            .get(..4)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        {
            Some(code) => {
                out.extend(char::from_u32(code));
                rest = &digits[4..];
            }
            None => {
                out += "\\u";
                rest = &rest[at + 2..];
            }
        }
    }
    out + rest
}

/// The code alone: comments become a space, strings a `S`, white space a single space.
fn code(text: &str, lexer: &Lexer) -> String {
    let text = (lexer.first)(text);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(letter) = rest.chars().next() {
        if rest.starts_with(lexer.line) {
            let end = rest.find(|letter| lexer.ends.contains(letter));
            rest = &rest[end.unwrap_or(rest.len())..];
        } else if lexer.has_blocks && rest.starts_with("/*") {
            let end = rest[2..].find("*/").expect("an end of the comment");
            rest = &rest[end + 4..];
            out.push(' ');
        } else if let Some(quote) = lexer.quotes.iter().find(|quote| rest.starts_with(**quote)) {
            rest = after_string(&rest[quote.len()..], quote);
            out.push('S');
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What follows a string that has just begun.
fn after_string<'t>(text: &'t str, quote: &str) -> &'t str {
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix(quote) {
            return after;
        }
        let mut letters: Peekable<Chars<'_>> = rest.chars().peekable();
        let skipped = match letters.next().expect("an end of the string") {
            '\\' if quote != "`" => 1 + letters.next().map_or(0, char::len_utf8),
            letter => letter.len_utf8(),
        };
        rest = &rest[skipped..];
    }
}

/// Every generated file without comments and strings. The longest text of [`hostile`] fits into the
/// variable that has one.
fn all_code(texts: &[String]) -> Vec<(String, String)> {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| toml::Value::String(text.clone()).to_string())
        .collect();
    let text = format!(
        "[vdso]\nsoname = \"libtext.so.1\"\nversion = \"TEXT_1\"\ndoc = {0}\n\
         [var.plain]\ntype = \"u8\"\ndoc = {1}\nunit = {2}\n\
         [var.name]\ntype = \"str[255]\"\ninit = {3}\ndoc = {3}\n\
         [var.both]\ndoc = {4}\nunit = {5}\n\
         [var.both.fields.one]\ntype = \"f64\"\ndoc = {6}\nunit = {7}\n",
        quoted[0], quoted[1], quoted[2], quoted[3], quoted[4], quoted[5], quoted[6], quoted[7],
    );
    let declaration = Declaration::parse("text.toml", &text).unwrap();
    let mut files = vec![("h".to_owned(), header(&declaration))];
    for file in bindings(&declaration) {
        let extension = file.path.extension().unwrap().to_str().unwrap();
        files.push((extension.to_owned(), file.text));
    }
    let mut code: Vec<_> = files
        .into_iter()
        .map(|(extension, text)| (extension.clone(), code(&text, &lexer(&extension))))
        .collect();
    let keys = pkg_config(&declaration);
    let keys = keys.lines().map(|line| line.split(':').next().unwrap());
    code.push(("pc".to_owned(), keys.collect::<Vec<_>>().join(" ")));
    code
}

fn hostile() -> impl Strategy<Value = String> {
    let pieces = vec![
        "*/",
        "/*",
        "*",
        "/",
        "//",
        "#",
        "\\",
        "??/",
        "\r",
        "\n",
        "\r\n",
        "\t",
        " ",
        "a",
        "\"",
        "\"\"\"",
        "'",
        "`",
        "```",
        "#{exit}",
        "${x}",
        "{{ x }}",
        "{% if %}",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{b}",
        "\u{c}",
        "\u{1}",
        "\u{7f}",
        "\u{200b}",
        "\u{202e}",
        "\u{2066}",
        "\u{feff}",
        "\\u002a\\u002f",
        "\\u000a",
        "\\n",
        "=begin",
        "=end",
        "-->",
        "<!--",
        "int injected(void);",
        "//go:build ignore",
        "# -*- coding: utf-7 -*-",
        "%>",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_text_becomes_code(texts in prop::collection::vec(hostile(), 8)) {
        // A text of white space is as good as none in some files.
        let plain: Vec<String> = texts
            .iter()
            .map(|text| if text.is_empty() { String::new() } else { "x".to_owned() })
            .collect();
        for (found, wanted) in all_code(&texts).into_iter().zip(all_code(&plain)) {
            prop_assert_eq!(found, wanted);
        }
    }
}

/// The lexer sees what a compiler sees: without the escaping this would be code.
#[test]
fn the_lexers_find_the_ends_of_comments() {
    let case = |extension: &str, text: &str| code(text, &lexer(extension));
    assert_eq!(case("h", "/* a */ int b; /* c */"), "int b;");
    assert_eq!(case("h", "// a ??/\nint b;\nint c;"), "int c;");
    assert_eq!(case("java", "/* \\u002a\\u002f int a; /* */"), "int a;");
    assert_eq!(case("js", "// a\u{2028}b()"), "b()");
    assert_eq!(case("py", "\"\"\"a\"\"\" b(\"c\\\"\")"), "S b(S)");
    assert_eq!(case("rb", "# a\rb \"c\""), "b S");
}
