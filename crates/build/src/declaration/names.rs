//! Names: those that a variable or a type can have, and those derived from the soname.

use super::check;
use super::error::Problem;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// The functions that every image has beside those of its variables, and what they return: no
/// variable can have one of these names.
pub const FUNCTIONS: [(&str, ScalarType); 4] = [
    ("state", ScalarType::U32),
    ("updated", ScalarType::U64),
    ("condition", ScalarType::U32),
    ("stale_after", ScalarType::U64),
];

/// Whether a function of every image has this name.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(function, _)| *function == name)
}

/// Keywords of C (C23, 6.4.1) and C++ (C++23, [lex.key]): compilers of both read the
/// generated header.
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

/// Whether `name` is a keyword of C or C++, or a name that either reserves everywhere (C23,
/// 7.1.3: an underscore and a capital, or two underscores).
pub(super) fn is_keyword(name: &str) -> bool {
    let mut letters = name.chars();
    let reserved = letters.next() == Some('_')
        && letters
            .next()
            .is_some_and(|second| second == '_' || second.is_ascii_uppercase());
    reserved || KEYWORDS.binary_search(&name).is_ok()
}

/// Whether `name` is a C identifier in ASCII.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && is_identifier_part(name)
}

/// Whether an identifier can continue with `name`.
pub(super) fn is_identifier_part(name: &str) -> bool {
    name.chars()
        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// A name for a variable, field or library that is as close to `wanted` as C allows, and none of
/// `taken`.
#[must_use]
pub fn usable_name(wanted: &str, taken: &[String]) -> String {
    let letter = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter,
        false => '_',
    };
    let mut name: String = wanted.chars().take(64).map(letter).collect();
    let name_begins = |name: &str| name.starts_with(|first: char| first.is_ascii_alphabetic());
    if !name_begins(&name) {
        name.insert(0, 'x');
    }
    while is_keyword(&name) || is_function(&name) || taken.contains(&name) {
        name.push('_');
    }
    name
}

/// The type that a writer of another language's may have meant by `text`.
pub(super) fn meant_type(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('*').trim_end();
    // [f64; 8], Text<16>, string(16)
    if let Some((element, count)) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .and_then(|text| text.split_once(';'))
    {
        return Some(format!(
            "{}[{}]",
            meant_scalar(element.trim())?,
            count.trim()
        ));
    }
    let (word, count) = match text.find(['[', '<', '(']) {
        Some(at) => (
            text[..at].trim(),
            text[at + 1..].trim_end_matches([']', '>', ')']),
        ),
        None => (text, ""),
    };
    match word.to_ascii_lowercase().as_str() {
        "string" | "str" | "text" | "utf8" | "varchar" => Some(match count.parse::<u32>() {
            Ok(count) => format!("str[{count}]"),
            Err(_) => "str[N], such as str[32] for text of at most 31 bytes".to_owned(),
        }),
        _ => {
            let scalar = meant_scalar(word)?;
            Some(match count.parse::<u32>() {
                Ok(count) => format!("{scalar}[{count}]"),
                Err(_) if count.is_empty() && !text.contains('[') => scalar.to_owned(),
                Err(_) => format!("{scalar}[N], such as {scalar}[8]"),
            })
        }
    }
}

fn meant_scalar(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    if let Some(scalar) = ScalarType::from_name(&word) {
        return Some(scalar.name());
    }
    Some(match word.as_str() {
        "boolean" | "_bool" => "bool",
        "int8" | "int8_t" | "char" => "i8",
        "int16" | "int16_t" | "short" => "i16",
        "int32" | "int32_t" | "int" | "integer" => "i32",
        "int64" | "int64_t" | "long" | "isize" => "i64",
        "uint8" | "uint8_t" | "byte" => "u8",
        "uint16" | "uint16_t" => "u16",
        "uint32" | "uint32_t" | "uint" | "unsigned" => "u32",
        "uint64" | "uint64_t" | "usize" | "size_t" => "u64",
        "float32" => "f32",
        "double" | "float" | "float64" | "number" => "f64",
        _ => return None,
    })
}

/// `f64`, `f64[3]`, `str[16]`.
pub(super) fn parse_type(text: &str) -> Result<Type, Problem> {
    let unknown = || Problem::Type(text.to_owned());
    let Some((name, count)) = text.split_once('[') else {
        return ScalarType::from_name(text)
            .map(Type::Scalar)
            .ok_or_else(unknown);
    };
    let digits = count.strip_suffix(']').ok_or_else(unknown)?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(unknown());
    }
    let count: u32 = digits.parse().unwrap_or(u32::MAX);
    let ty = match name {
        "str" => Type::Text(count),
        _ => Type::Array(ScalarType::from_name(name).ok_or_else(unknown)?, count),
    };
    check::ty(text, ty)?;
    Ok(ty)
}

/// Whether a version node can have this name in a linker's version script and in
/// `NAME@VERSION`.
pub(super) fn is_version(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(letter)
}

/// Whether `name` is a file name that ends in `.so` or `.so.VERSION`.
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

/// The prefix of the functions' names where a declaration gives none: `weather_` for `libweather.so.1`.
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
