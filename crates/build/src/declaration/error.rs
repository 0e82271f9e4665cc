//! The errors of a declaration: what is wrong, where, and how to correct it.

use super::names::{FUNCTIONS, meant_type};
use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;
use vdsokit_vvar::directory::MAX_STRING;
use vdsokit_vvar::layout::{MAX_VALUE, Type};
use vdsokit_vvar::scalar::ScalarType;

/// A declaration from which no image can be built, with every mistake in it.
#[derive(Debug, Error, Diagnostic)]
#[error("{} cannot be built: {}", self.path, self.count())]
pub struct Invalid {
    /// The declaration's name in messages.
    pub path: String,
    #[source_code]
    text: NamedSource<String>,
    /// The mistakes, in the order of the text.
    #[related]
    pub mistakes: Vec<Mistake>,
}

impl Invalid {
    pub(super) fn new(path: &str, text: &str, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.place.offset());
        Self {
            path: path.to_owned(),
            text: NamedSource::new(path, text.to_owned()).with_language("TOML"),
            mistakes,
        }
    }

    fn count(&self) -> String {
        match self.mistakes.len() {
            1 => "1 mistake".to_owned(),
            count => format!("{count} mistakes"),
        }
    }
}

/// One mistake in a declaration.
#[derive(Debug, Error, Diagnostic)]
#[error("{problem}")]
#[diagnostic(help("{}", problem.help()))]
pub struct Mistake {
    /// What is wrong.
    pub problem: Problem,
    /// Where.
    #[label("here")]
    pub place: SourceSpan,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is not TOML.
    #[error("this is not TOML: {0}")]
    Toml(String),
    /// A table lacks a key.
    #[error("{table} has no `{key}`")]
    Missing {
        /// The table.
        table: String,
        /// The key.
        key: &'static str,
    },
    /// A manifest without the table of the vDSO.
    #[error("the package has no [package.metadata.vdso]")]
    NoMetadata,
    /// A key that is not known in this table.
    #[error("`{key}` is not a key of {table}")]
    Unknown {
        /// The key.
        key: String,
        /// The table that has it.
        table: String,
        /// The keys of such a table.
        known: &'static [&'static str],
    },
    /// A value of another kind than the key takes.
    #[error("`{key}` is {found}, not {wanted}")]
    Kind {
        /// The key.
        key: String,
        /// The kind of the value.
        found: &'static str,
        /// The kind that the key takes.
        wanted: &'static str,
    },
    /// The name of a function that every image has.
    #[error("no variable can be called `{0}`: every vDSO has a function of that name")]
    Reserved(String),
    /// A keyword of C or C++, or a name that they reserve.
    #[error("`{0}` is a keyword or a reserved name in C or C++")]
    Keyword(String),
    /// Not a C identifier.
    #[error("`{0}` is not a C identifier")]
    Identifier(String),
    /// Not the name of a shared object.
    #[error("`{0}` is not a soname")]
    Soname(String),
    /// Not the start of a C identifier.
    #[error("a function's name cannot begin with `{0}`")]
    Prefix(String),
    /// Not the name of a version node.
    #[error("`{0}` is not the name of a version node")]
    Version(String),
    /// An unknown type.
    #[error("there is no type `{0}`")]
    Type(String),
    /// A type whose values have no bytes.
    #[error("`{0}` has no bytes")]
    Empty(String),
    /// Values that are too long.
    #[error("`{name}` has {size} bytes, and a variable at most {MAX_VALUE}")]
    TooLarge {
        /// The variable.
        name: String,
        /// Its bytes.
        size: usize,
    },
    /// A record without fields.
    #[error("the record `{0}` has no fields")]
    NoFields(String),
    /// A variable with both a type and fields.
    #[error("`{0}` has both a type and fields")]
    TypeAndFields(String),
    /// A variable with neither a type nor fields.
    #[error("`{0}` has neither a type nor fields")]
    NeitherTypeNorFields(String),
    /// A unit, doc or name that the directory can't hold.
    #[error("`{key}` has {bytes} bytes, and a string at most {MAX_STRING}")]
    LongString {
        /// The key.
        key: String,
        /// Its bytes.
        bytes: usize,
    },
    /// A text with a NUL in it.
    #[error("`{0}` holds a NUL, which would end it early")]
    Nul(String),
    /// A value of another kind than the type has.
    #[error("{found} is not a value of type `{ty}`")]
    Init {
        /// What there is.
        found: String,
        /// The type.
        ty: Type,
    },
    /// A number that the type can't hold.
    #[error("{number} is out of the range of `{ty}`")]
    Range {
        /// The number.
        number: String,
        /// The type.
        ty: ScalarType,
    },
    /// A text that the variable can't hold.
    #[error("the text has {bytes} bytes, `{ty}` has room for {most}")]
    LongText {
        /// Its bytes.
        bytes: usize,
        /// The type.
        ty: Type,
        /// The bytes that fit.
        most: usize,
    },
    /// An array of another length.
    #[error("there are {found} initial values for the {wanted} elements")]
    Elements {
        /// How many there are.
        found: usize,
        /// How many there have to be.
        wanted: u32,
    },
    /// Two variables of one name.
    #[error("two variables are called `{0}`")]
    Duplicate(String),
    /// An initial value of another size than the variable.
    #[error("the initial value of `{name}` has {found} bytes, and the variable {wanted}")]
    InitSize {
        /// The variable.
        name: String,
        /// The bytes of the value.
        found: usize,
        /// The bytes of the variable.
        wanted: usize,
    },
    /// A set of variables that the directory cannot hold.
    #[error("{0}")]
    Directory(String),
}

impl Problem {
    /// How to correct it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Toml(_) => "a name is declared once; TOML is described at https://toml.io".into(),
            Self::Missing { key, .. } => match *key {
                "vdso" => "begin with [vdso] and its soname and version".into(),
                "soname" => {
                    "name the file that programs will load: soname = \"libNAME.so.1\"".into()
                }
                "version" => {
                    "name the version node of the functions: version = \"NAME_1.0\"".into()
                }
                key => format!("give it a `{key}`"),
            },
            Self::NoMetadata => "name soname and version of the image: \
                [package.metadata.vdso], soname = \"libNAME.so.1\", version = \"NAME_1.0\""
                .into(),
            Self::Unknown { known, .. } => format!("known here: {}", known.join(", ")),
            Self::Kind { key, wanted, .. } => format!("write {wanted} after `{key} =`"),
            Self::Reserved(_) => {
                let names = FUNCTIONS.map(|(name, _)| name);
                format!("choose a name that is none of: {}", names.join(", "))
            }
            Self::Keyword(_) => {
                "choose another name: compilers of both read the generated header".into()
            }
            Self::Identifier(_) => {
                "use letters (A to Z, a to z), digits and underscores, and begin with no digit"
                    .into()
            }
            Self::Soname(_) => {
                "a soname is a file's name of letters, digits and _ . + - that ends \
                in .so or .so.VERSION, such as libweather.so.1"
                    .into()
            }
            Self::Prefix(_) => {
                "use letters, digits and underscores, beginning with no digit; \"\" for no prefix"
                    .into()
            }
            Self::Version(_) => {
                "use letters, digits, underscores and dots, beginning with a letter: WEATHER_1.0"
                    .into()
            }
            Self::Type(name)
                if matches!(name.as_str(), "record" | "struct" | "object" | "table") =>
            {
                "a record has fields in the place of a type: [var.NAME.fields.FIELD], with a \
                 type in each"
                    .into()
            }
            Self::Type(name) if meant_type(name).is_some() => {
                format!("write {}", meant_type(name).unwrap_or_default())
            }
            Self::Type(_) => {
                let scalars = ScalarType::ALL.map(ScalarType::name).join(", ");
                format!(
                    "types are {scalars}, arrays of these such as f64[3], and str[N] for text of \
                     less than N bytes"
                )
            }
            Self::Empty(_) => {
                "give it a length of at least 1; a text needs one byte for its end".into()
            }
            Self::TooLarge { .. } => "make several variables of it".into(),
            Self::NoFields(name) => format!("declare at least one: [var.{name}.fields.NAME]"),
            Self::TypeAndFields(_) => "remove the type: a record's type is its fields".into(),
            Self::NeitherTypeNorFields(name) => {
                format!("give it a type, or fields: [var.{name}.fields.NAME]")
            }
            Self::LongString { .. } => "shorten it".into(),
            Self::Nul(_) => "remove \\u0000".into(),
            Self::Init { ty, .. } => match ty {
                Type::Scalar(ScalarType::Bool) => "write true or false".into(),
                Type::Scalar(scalar) if scalar.is_float() => "write a number, inf or nan".into(),
                Type::Scalar(_) => "write a whole number".into(),
                Type::Array(scalar, count) => format!("write {count} values of `{scalar}` in [ ]"),
                Type::Text(_) => "write a string in quotes".into(),
            },
            Self::Range { ty, .. } => range(*ty),
            Self::LongText { bytes, .. } => {
                format!("shorten it, or make the type str[{}] or longer", bytes + 1)
            }
            Self::Elements { .. } => "give one for each element, or none at all".into(),
            Self::Duplicate(_) => "give one of them another name".into(),
            Self::InitSize { .. } => "give the bytes as they lie in the pages".into(),
            Self::Directory(_) => "declare fewer or smaller variables, or several vDSOs".into(),
        }
    }
}

/// The range of a type, in words.
fn range(ty: ScalarType) -> String {
    let bits = ty.size() as u32 * 8;
    if ty.is_float() {
        return format!("`{ty}` goes up to {:e}", f32::MAX);
    }
    let (low, high) = if ty.is_signed() {
        (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
    } else {
        (0, (1_i128 << bits) - 1)
    };
    format!("`{ty}` goes from {low} to {high}")
}
