//! The languages: files, names of types, rules for identifiers.

use vdsokit_vvar::scalar::ScalarType;

/// How a language writes the names of methods and fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// `wind_speed`
    Snake,
    /// `windSpeed`
    Camel,
    /// `WindSpeed`
    Pascal,
}

/// A language for which modules are generated.
pub(super) struct Language {
    /// The directory of its files.
    pub(super) name: &'static str,
    /// For each file its path, itself a template, and the template.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Whether the module maps the image's pages itself, without the C library's loader.
    pub(super) maps_pages: bool,
    pub(super) case: Case,
    /// Words that are no identifiers.
    pub(super) keywords: &'static [&'static str],
    /// Names of the class's own members.
    pub(super) members: &'static [&'static str],
    /// Names that a record's class has already.
    pub(super) field_members: &'static [&'static str],
    /// For each scalar type, in the order of their codes, the type of a value and a second
    /// name: what the type is called where a value is loaded.
    pub(super) types: [(&'static str, &'static str); ScalarType::ALL.len()],
}

impl Language {
    /// The name of the module, from that of the library.
    pub(super) fn module_name(&self, library: &str) -> String {
        let mut name = library.to_owned();
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            name.insert(0, 'x');
        }
        if self.keywords.contains(&name.as_str()) {
            name.push('_');
        }
        name
    }
}

pub(super) const LANGUAGES: &[Language] = &[PYTHON, JAVASCRIPT, GO, JAVA, RUBY, CPP, RUST];

/// keyword.kwlist and keyword.softkwlist of CPython 3.13, and names that the module uses.
const PYTHON: Language = Language {
    name: "python",
    files: &[
        (
            "{{ name }}/__init__.py",
            include_str!("templates/python.jinja"),
        ),
        ("{{ name }}/py.typed", ""),
    ],
    maps_pages: false,
    case: Case::Snake,
    keywords: &[
        "False", "None", "True", "and", "as", "assert", "async", "await", "break", "case", "class",
        "continue", "def", "del", "elif", "else", "except", "finally", "for", "from", "global",
        "if", "import", "in", "is", "lambda", "match", "nonlocal", "not", "or", "pass", "raise",
        "return", "self", "try", "type", "while", "with", "yield", "bool", "int", "float", "str",
        "tuple",
    ],
    members: &["path", "reload", "condition", "updated", "stale_after"],
    field_members: &["count", "index"],
    types: [
        ("bool", "ctypes.c_bool"),
        ("int", "ctypes.c_int8"),
        ("int", "ctypes.c_int16"),
        ("int", "ctypes.c_int32"),
        ("int", "ctypes.c_int64"),
        ("int", "ctypes.c_uint8"),
        ("int", "ctypes.c_uint16"),
        ("int", "ctypes.c_uint32"),
        ("int", "ctypes.c_uint64"),
        ("float", "ctypes.c_float"),
        ("float", "ctypes.c_double"),
    ],
};

/// A name that follows a dot can be any word, but for the constructor's.
const JAVASCRIPT: Language = Language {
    name: "javascript",
    files: &[
        ("{{ name }}.js", include_str!("templates/javascript.jinja")),
        (
            "{{ name }}.d.ts",
            include_str!("templates/typescript.jinja"),
        ),
    ],
    maps_pages: false,
    case: Case::Camel,
    keywords: &[
        "constructor",
        "prototype",
        "toString",
        "valueOf",
        "toLocaleString",
    ],
    members: &["path", "reload", "condition", "updated", "staleAfter"],
    field_members: &["__proto__"],
    types: [
        ("boolean", "bool"),
        ("number", "Int8"),
        ("number", "Int16LE"),
        ("number", "Int32LE"),
        ("bigint", "BigInt64LE"),
        ("number", "UInt8"),
        ("number", "UInt16LE"),
        ("number", "UInt32LE"),
        ("bigint", "BigUInt64LE"),
        ("number", "FloatLE"),
        ("number", "DoubleLE"),
    ],
};

/// Exported names begin with a capital, and no keyword does.
const GO: Language = Language {
    name: "go",
    files: &[
        (
            "{{ name }}/{{ name }}.go",
            include_str!("templates/go.jinja"),
        ),
        ("{{ name }}/go.mod", include_str!("templates/go.mod.jinja")),
    ],
    maps_pages: true,
    case: Case::Pascal,
    keywords: &[
        "break",
        "case",
        "chan",
        "const",
        "continue",
        "default",
        "defer",
        "else",
        "fallthrough",
        "for",
        "func",
        "go",
        "goto",
        "if",
        "import",
        "interface",
        "map",
        "package",
        "range",
        "return",
        "select",
        "struct",
        "switch",
        "type",
        "var",
        "main",
    ],
    members: &[
        "Path",
        "Reload",
        "Close",
        "Condition",
        "Updated",
        "StaleAfter",
    ],
    field_members: &[],
    types: [
        ("bool", ""),
        ("int8", ""),
        ("int16", ""),
        ("int32", ""),
        ("int64", ""),
        ("uint8", ""),
        ("uint16", ""),
        ("uint32", ""),
        ("uint64", ""),
        ("float32", ""),
        ("float64", ""),
    ],
};

/// JLS 3.9, and methods of Object that no getter can replace.
const JAVA: Language = Language {
    name: "java",
    files: &[
        (
            "jna/{{ name }}/{{ class }}.java",
            concat!(
                "{% set ffm = false %}",
                include_str!("templates/java.jinja")
            ),
        ),
        (
            "ffm/{{ name }}/{{ class }}.java",
            concat!("{% set ffm = true %}", include_str!("templates/java.jinja")),
        ),
    ],
    maps_pages: false,
    case: Case::Camel,
    keywords: &[
        "abstract",
        "assert",
        "boolean",
        "break",
        "byte",
        "case",
        "catch",
        "char",
        "class",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extends",
        "false",
        "final",
        "finally",
        "float",
        "for",
        "goto",
        "if",
        "implements",
        "import",
        "instanceof",
        "int",
        "interface",
        "long",
        "native",
        "new",
        "null",
        "package",
        "private",
        "protected",
        "public",
        "return",
        "short",
        "static",
        "strictfp",
        "super",
        "switch",
        "synchronized",
        "this",
        "throw",
        "throws",
        "transient",
        "true",
        "try",
        "void",
        "volatile",
        "while",
        "clone",
        "finalize",
        "getClass",
        "hashCode",
        "notify",
        "notifyAll",
        "toString",
        "wait",
        "String",
        "Object",
        "Path",
        "System",
        "Math",
        "Class",
        "Integer",
        "Long",
    ],
    members: &["path", "reload", "condition", "updated", "staleAfter"],
    field_members: &[],
    types: [
        ("boolean", "JAVA_BYTE"),
        ("byte", "JAVA_BYTE"),
        ("short", "JAVA_SHORT"),
        ("int", "JAVA_INT"),
        ("long", "JAVA_LONG"),
        ("int", "JAVA_BYTE"),
        ("int", "JAVA_SHORT"),
        ("long", "JAVA_INT"),
        ("long", "JAVA_LONG"),
        ("float", "JAVA_FLOAT"),
        ("double", "JAVA_DOUBLE"),
    ],
};

/// Reserved words, and methods of every object and struct.
const RUBY: Language = Language {
    name: "ruby",
    files: &[("{{ name }}.rb", include_str!("templates/ruby.jinja"))],
    maps_pages: false,
    case: Case::Snake,
    keywords: &[
        "BEGIN",
        "END",
        "alias",
        "and",
        "begin",
        "break",
        "case",
        "class",
        "def",
        "defined",
        "do",
        "else",
        "elsif",
        "end",
        "ensure",
        "false",
        "for",
        "if",
        "in",
        "module",
        "next",
        "nil",
        "not",
        "or",
        "redo",
        "rescue",
        "retry",
        "return",
        "self",
        "super",
        "then",
        "true",
        "undef",
        "unless",
        "until",
        "when",
        "while",
        "yield",
        "send",
        "method",
        "methods",
        "hash",
        "freeze",
        "display",
        "clone",
        "dup",
        "class",
        "initialize",
        "object_id",
        "tap",
        "extend",
        "itself",
        "inspect",
    ],
    members: &[
        "path",
        "reload",
        "condition",
        "updated",
        "stale_after",
        "find",
    ],
    field_members: &[
        "each", "size", "length", "values", "members", "select", "filter", "count", "min", "max",
        "sum", "map", "first", "zip", "to_a", "to_h", "dig",
    ],
    types: [
        ("-Fiddle::TYPE_CHAR", "C"),
        ("Fiddle::TYPE_CHAR", "c"),
        ("Fiddle::TYPE_SHORT", "s"),
        ("Fiddle::TYPE_INT", "l"),
        ("Fiddle::TYPE_LONG_LONG", "q"),
        ("-Fiddle::TYPE_CHAR", "C"),
        ("-Fiddle::TYPE_SHORT", "S"),
        ("-Fiddle::TYPE_INT", "L"),
        ("-Fiddle::TYPE_LONG_LONG", "Q"),
        ("Fiddle::TYPE_FLOAT", "f"),
        ("Fiddle::TYPE_DOUBLE", "d"),
    ],
};

/// A declaration's names are no keywords of C++ already.
const CPP: Language = Language {
    name: "cpp",
    files: &[("{{ name }}.hpp", include_str!("templates/cpp.jinja"))],
    maps_pages: false,
    case: Case::Snake,
    keywords: &["std", "errno"],
    members: &[
        "path",
        "reload",
        "condition",
        "updated",
        "stale_after",
        "find",
        "spelling",
    ],
    field_members: &[],
    types: [
        ("bool", ""),
        ("std::int8_t", ""),
        ("std::int16_t", ""),
        ("std::int32_t", ""),
        ("std::int64_t", ""),
        ("std::uint8_t", ""),
        ("std::uint16_t", ""),
        ("std::uint32_t", ""),
        ("std::uint64_t", ""),
        ("float", ""),
        ("double", ""),
    ],
};

/// The Reference's keywords, strict and reserved, but for those that C++ has too. The derive
/// macro finds a variable by its field's name, so a keyword is written raw: `r#type`.
const RUST: Language = Language {
    name: "rust",
    files: &[("{{ name }}.rs", include_str!("templates/rust.jinja"))],
    maps_pages: true,
    case: Case::Snake,
    keywords: &[
        "abstract", "as", "async", "await", "become", "box", "dyn", "final", "fn", "gen", "impl",
        "in", "let", "loop", "macro", "match", "mod", "move", "override", "priv", "pub", "ref",
        "trait", "type", "unsafe", "unsized", "use", "where", "yield",
    ],
    members: &[],
    field_members: &[],
    types: [
        ("bool", ""),
        ("i8", ""),
        ("i16", ""),
        ("i32", ""),
        ("i64", ""),
        ("u8", ""),
        ("u16", ""),
        ("u32", ""),
        ("u64", ""),
        ("f32", ""),
        ("f64", ""),
    ],
};
