//! What templates know of a declaration, with the names of one language.

use super::languages::{Case, Language};
use crate::declaration::{Declaration, Field, Kind, Variable, default_prefix};
use crate::header::about;
use serde::Serialize;
use vdsokit_vvar::directory::Directory;
use vdsokit_vvar::header;
use vdsokit_vvar::latch;
use vdsokit_vvar::layout::{Cursor, Type};
use vdsokit_vvar::scalar::ScalarType;

/// Names of classes that templates use.
const CLASSES: &[&str] = &[
    "Any",
    "Arena",
    "Condition",
    "Files",
    "Final",
    "Function",
    "FunctionDescriptor",
    "Functions",
    "IOException",
    "Integer",
    "Linker",
    "Long",
    "Memory",
    "MemoryLayout",
    "MemorySegment",
    "MethodHandle",
    "NamedTuple",
    "NativeLibrary",
    "NoSuchFileException",
    "Object",
    "Path",
    "Random",
    "Record",
    "StandardCharsets",
    "String",
    "Struct",
    "SymbolLookup",
    "Text",
    "ThreadLocalRandom",
    "ValueLayout",
    "Vvars",
];

/// A declaration.
#[derive(Debug, Serialize)]
pub(super) struct Module {
    /// The module's name: `weather`.
    name: String,
    /// The class's name: `Weather`.
    class: String,
    soname: String,
    version: String,
    /// A prefix that the derive macro would not choose by itself.
    prefix: String,
    doc: String,
    /// Whether any variable is, or any field has, an array or a text.
    has_arrays: bool,
    has_records: bool,
    has_texts: bool,
    has_floats: bool,
    /// The layout hash, in hexadecimal digits.
    layout: String,
    offsets: Offsets,
    variables: Vec<Item>,
    functions: Functions,
}

/// Where the header's words lie.
#[derive(Debug, Serialize)]
struct Offsets {
    magic: u64,
    state: usize,
    updated: usize,
    stale_after: usize,
    copies: usize,
}

/// The symbols of the functions that every image has.
#[derive(Debug, Serialize)]
struct Functions {
    condition: String,
    updated: String,
    stale_after: String,
}

/// A variable or a field.
#[derive(Debug, Serialize)]
struct Item {
    /// Its name as declared.
    declared: String,
    /// Its name in the language.
    name: String,
    /// Whether the declared name is a keyword of the language.
    is_keyword: bool,
    /// The name of its function in the image.
    symbol: String,
    /// The record's class; empty for a variable that is none.
    record: String,
    /// Documentation and unit in one sentence.
    about: String,
    doc: String,
    unit: String,
    /// Its version node, if it differs from the module's.
    version: String,
    /// `scalar`, `array`, `text` or `record`.
    form: &'static str,
    /// The scalar's name here: `f64`; of a text, `u8`.
    scalar: &'static str,
    /// The language's type of the scalar.
    ty: minijinja::Value,
    /// What the language calls the scalar elsewhere, such as where it is loaded from memory.
    load: minijinja::Value,
    width: usize,
    count: usize,
    /// Bytes of the value.
    size: usize,
    /// Of a variable, the offset of its scalar or its latch in the pages; of a field, from the
    /// start of the record.
    offset: usize,
    /// Bytes between a latch's copies.
    stride: usize,
    fields: Vec<Item>,
}

pub(super) fn module(declaration: &Declaration, language: &Language) -> Module {
    let prefix = declaration.prefix();
    let name = default_prefix(declaration.soname());
    let name = name.trim_matches('_').to_ascii_lowercase();
    let note = declaration.directory().expect("`parse` has tried it");
    let directory = Directory::parse(&note).expect("a directory that `encode` wrote");
    let mut cursor = Cursor::PAGES;
    let mut names = Names::new(language, language.members);
    let mut classes = Names::new(language, CLASSES);
    let class = classes.class(&name);
    let records: Vec<String> = declaration
        .variables()
        .iter()
        .map(|variable| match variable.kind {
            Kind::Plain(_) => String::new(),
            Kind::Record(_) => classes.class(&variable.name),
        })
        .collect();
    // A method and a class of one name are no conflict in Go, where all begin with a capital.
    if language.case != Case::Pascal {
        names.taken.extend_from_slice(&classes.taken);
    }
    let variables: Vec<Item> = declaration
        .variables()
        .iter()
        .zip(records)
        .map(|(variable, record)| {
            let offset = variable.kind.with_shape(|shape| cursor.variable(&shape));
            let mut item = item(language, variable, offset);
            item.name = names.member(&variable.name);
            item.record = record;
            item.symbol = format!("{prefix}{}", variable.name);
            if variable.version != declaration.version() {
                item.version.clone_from(&variable.version);
            }
            item
        })
        .collect();
    let all = || {
        let fields = variables.iter().flat_map(|variable| &variable.fields);
        variables.iter().chain(fields)
    };
    let function = |name: &str| format!("{prefix}{name}");
    Module {
        class,
        soname: declaration.soname().to_owned(),
        version: declaration.version().to_owned(),
        prefix: prefix.to_owned(),
        doc: match declaration.doc() {
            "" => format!("The vDSO {}.", declaration.soname()),
            doc => doc.to_owned(),
        },
        has_arrays: all().any(|item| item.form == "array"),
        has_records: all().any(|item| item.form == "record"),
        has_texts: all().any(|item| item.form == "text"),
        has_floats: all().any(|item| item.scalar.starts_with('f')),
        layout: format!("{:x}", directory.layout()),
        offsets: Offsets {
            magic: header::MAGIC,
            state: header::STATE_OFFSET,
            updated: header::UPDATED_OFFSET,
            stale_after: header::STALE_AFTER_OFFSET,
            copies: latch::COPIES,
        },
        functions: Functions {
            condition: function("condition"),
            updated: function("updated"),
            stale_after: function("stale_after"),
        },
        variables,
        name: language.module_name(&name),
    }
}

/// Documentation, or a sentence in its place: linters want one.
fn described(name: &str, about: String) -> String {
    match about.trim() {
        "" => format!("The value of {name}."),
        _ => about,
    }
}

fn item(language: &Language, variable: &Variable, offset: usize) -> Item {
    let size = variable.kind.with_shape(|shape| shape.size());
    let typed = match &variable.kind {
        Kind::Plain(ty) => of_type(language, *ty),
        Kind::Record(list) => {
            let mut names = Names::new(language, language.field_members);
            let fields = list
                .iter()
                .map(|field| field_item(language, field, &mut names));
            Item {
                form: "record",
                fields: fields.collect(),
                ..of_type(language, Type::Array(ScalarType::U8, 1))
            }
        }
    };
    Item {
        declared: variable.name.clone(),
        is_keyword: language.keywords.contains(&variable.name.as_str()),
        about: described(&variable.name, about(&variable.doc, &variable.unit)),

        doc: described(&variable.name, variable.doc.clone()),
        unit: variable.unit.clone(),
        size,
        offset,
        stride: latch::stride(size),
        ..typed
    }
}

fn field_item(language: &Language, field: &Field, names: &mut Names<'_>) -> Item {
    Item {
        declared: field.name.clone(),
        is_keyword: language.keywords.contains(&field.name.as_str()),
        name: names.member(&field.name),
        about: described(&field.name, about(&field.doc, &field.unit)),
        doc: described(&field.name, field.doc.clone()),
        unit: field.unit.clone(),
        offset: field.offset,
        ..of_type(language, field.ty)
    }
}

/// What follows from a type alone.
fn of_type(language: &Language, ty: Type) -> Item {
    let (form, scalar, count) = match ty {
        Type::Scalar(scalar) => ("scalar", scalar, 1),
        Type::Array(scalar, count) => ("array", scalar, count as usize),
        Type::Text(bytes) => ("text", ScalarType::U8, bytes as usize),
    };
    let safe = |name: &str| minijinja::Value::from_safe_string(name.to_owned());
    Item {
        declared: String::new(),
        name: String::new(),
        is_keyword: false,
        symbol: String::new(),
        record: String::new(),
        about: String::new(),
        doc: String::new(),
        unit: String::new(),
        version: String::new(),
        form,
        scalar: scalar.name(),
        ty: safe(language.types[scalar as usize - 1].0),
        load: safe(language.types[scalar as usize - 1].1),
        width: scalar.size(),
        count,
        size: ty.size(),
        offset: 0,
        stride: 0,
        fields: Vec::new(),
    }
}

/// Names in the language, each different from the others.
struct Names<'l> {
    language: &'l Language,
    taken: Vec<String>,
}

impl<'l> Names<'l> {
    fn new(language: &'l Language, taken: &[&str]) -> Self {
        Self {
            language,
            taken: taken.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// The name of a method, property or field.
    fn member(&mut self, declared: &str) -> String {
        let name = match self.language.case {
            Case::Snake => declared.to_owned(),
            Case::Camel => camel(declared, false),
            Case::Pascal => camel(declared, true),
        };
        self.unique(name)
    }

    /// The name of a class.
    fn class(&mut self, declared: &str) -> String {
        self.unique(camel(declared, true))
    }

    fn unique(&mut self, mut name: String) -> String {
        // Python's named tuples and exported names of Go begin with no underscore.
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            name.insert(
                0,
                if self.language.case == Case::Pascal {
                    'X'
                } else {
                    'x'
                },
            );
        }
        while self.language.keywords.contains(&name.as_str()) || self.taken.contains(&name) {
            name.push('_');
        }
        self.taken.push(name.clone());
        name
    }
}

/// `wind_speed` as `windSpeed` or `WindSpeed`.
fn camel(name: &str, capital: bool) -> String {
    let mut upper = capital;
    let mut out = String::new();
    for letter in name.chars() {
        if letter == '_' {
            upper = !out.is_empty() || capital;
            continue;
        }
        out.push(if upper {
            letter.to_ascii_uppercase()
        } else {
            letter
        });
        upper = false;
    }
    out
}
