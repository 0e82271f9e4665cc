//! Names: which a variable can have, and those that follow from the soname.

/// The functions that every image has beside those of its variables: no variable can
/// have one of these names.
pub const FUNCTIONS: [&str; 2] = ["state", "updated"];

/// Words that C (C23, 6.4.1) or C++ (C++23, [lex.key]) keeps for itself: the generated
/// header is read by both.
const KEYWORDS: &[&str] = &[
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "char16_t",
    "char32_t",
    "char8_t",
    "class",
    "co_await",
    "co_return",
    "co_yield",
    "compl",
    "concept",
    "const",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "continue",
    "decltype",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "explicit",
    "export",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "not_eq",
    "nullptr",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_assert",
    "static_cast",
    "struct",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "typeof",
    "typeof_unqual",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
];

/// A word that C or C++ keeps for itself, or a name that either reserves everywhere (C23,
/// 7.1.3: an underscore and a capital, or two underscores)?
pub(super) fn is_keyword(name: &str) -> bool {
    let mut letters = name.chars();
    let reserved = letters.next() == Some('_')
        && letters
            .next()
            .is_some_and(|second| second == '_' || second.is_ascii_uppercase());
    reserved || KEYWORDS.binary_search(&name).is_ok()
}

/// A C identifier, in ASCII?
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && is_identifier_part(name)
}

/// What an identifier can go on with?
pub(super) fn is_identifier_part(name: &str) -> bool {
    name.chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// What a version node can be called in a linker's version script and in `NAME@VERSION`?
pub(super) fn is_version(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(letter)
}

/// A file's name that ends in `.so` or `.so.VERSION`?
pub(super) fn is_soname(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_.+-".contains(letter);
    let stem = stem(name);
    name.len() <= 255 && name.chars().all(letter) && !stem.is_empty() && stem.len() < name.len()
}

/// What stands before `.so` or `.so.VERSION`; all of a name that has neither.
fn stem(soname: &str) -> &str {
    soname
        .strip_suffix(".so")
        .or_else(|| soname.split_once(".so.").map(|(stem, _)| stem))
        .unwrap_or(soname)
}

/// See [`super::Declaration::library`].
pub(super) fn library(soname: &str) -> &str {
    let stem = stem(soname);
    stem.strip_prefix("lib")
        .filter(|name| !name.is_empty())
        .unwrap_or(stem)
}

/// What stands before variables' names in the names of their functions, when a
/// declaration does not say: `weather_` for `libweather.so.1`.
#[must_use]
pub fn default_prefix(soname: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    let mut prefix: String = library(soname).chars().map(letter).collect();
    if prefix.starts_with(|first: char| first.is_ascii_digit()) {
        prefix.insert(0, '_');
    }
    prefix.push('_');
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keywords_can_be_searched() {
        assert!(KEYWORDS.is_sorted());
        assert!(is_keyword("while") && is_keyword("_Bool") && is_keyword("__x"));
        assert!(!is_keyword("_x") && !is_keyword("wind"));
    }

    #[test]
    fn a_prefix_comes_from_the_soname() {
        assert_eq!(default_prefix("libweather.so.1"), "weather_");
        assert_eq!(default_prefix("linux-vdso.so.1"), "linux_vdso_");
        assert_eq!(default_prefix("lib.so"), "lib_");
        assert_eq!(default_prefix("lib3d.so"), "_3d_");
    }

    #[test]
    fn sonames_end_in_so() {
        for good in ["libweather.so.1", "weather.so", "lib+x-1.so.1.2"] {
            assert!(is_soname(good), "{good}");
        }
        for bad in ["", ".so", ".so.1", "weather", "lib/weather.so", "a b.so"] {
            assert!(!is_soname(bad), "{bad}");
        }
    }
}
