//! `vdso init`: a first declaration, from a sample of the values.

use crate::output;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vdsokit_build::declaration::{Field, Kind, Variable, usable_name};
use vdsokit_build::{Declaration, read_declaration};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// Write a first declaration
///
/// Each key of the sample becomes a variable, an object a record, in the order of the sample. Edit
/// what comes out: add units and documentation, choose smaller types, and give texts the room that
/// they need.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A JSON object with a value for each variable
    #[arg(long, value_name = "SAMPLE")]
    from_json: PathBuf,
    /// The declaration; by default NAME.toml in this directory, for NAME.json. It must not exist
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The members of a JSON object in the order of the text, which becomes that of the pages.
struct Members<V>(Vec<(String, V)>);

/// The sample of a variable.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sample {
    Object(Members<Value>),
    Plain(Value),
}

impl<V> Members<V> {
    /// The members, unless two have the same key: which of them is meant is not known.
    fn unique(&self) -> Result<&[(String, V)]> {
        for (at, (key, _)) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(miette!("`{key}` is there twice in one object"));
            }
        }
        Ok(&self.0)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<V> {
    type Value = Members<V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Room for a text, at least.
const SHORTEST: usize = 16;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let sample = &arguments.from_json;
    let text = read_declaration(sample)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} could not be read", output::path(sample)))?;
    let name = output::path(sample);
    let object: Members<Sample> = serde_json::from_str(&text).map_err(|error| {
        let what = match error.classify() {
            Category::Data => "is not a JSON object with a value for each variable",
            _ => "is not JSON",
        };
        miette!(
            help = "write the values of all variables as one object: {{\"temperature\": 21.5}}",
            "{name} {what}: {error}"
        )
    })?;
    let stem = sample.file_stem().unwrap_or_default().to_string_lossy();
    let declaration = declaration(&stem, &object)?;
    let file = arguments
        .output
        .clone()
        .unwrap_or_else(|| Path::new(&*stem).with_extension("toml"));
    let written = File::create_new(&file)
        .and_then(|mut created| created.write_all(declaration.to_toml().as_bytes()));
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(miette!(
            help = "name another file: `--output FILE`",
            "{} exists already",
            output::path(&file)
        )),
        written => written
            .into_diagnostic()
            .wrap_err_with(|| format!("{} could not be written", output::path(&file))),
    }?;
    output::line(output::path(&file))?;
    Ok(ExitCode::SUCCESS)
}

fn declaration(stem: &str, object: &Members<Sample>) -> Result<Declaration> {
    let library = usable_name(stem, &[]);
    let soname = format!("lib{library}.so.1");
    let version = format!("{}_1.0", library.to_ascii_uppercase());
    let mut builder = Declaration::builder(&soname, &version);
    let mut names = Vec::new();
    for (key, value) in object.unique()? {
        let kind = match value {
            Sample::Object(fields) => record(key, fields)?,
            Sample::Plain(value) => Kind::Plain(plain(key, value)?),
        };
        let name = usable_name(key, &names);
        builder = builder.variable(Variable {
            doc: doc(key, &name),
            ..Variable::new(&name, kind)
        });
        names.push(name);
    }
    builder
        .build()
        .map_err(|problem| miette!(help = problem.help(), "{problem}"))
}

fn record(key: &str, object: &Members<Value>) -> Result<Kind> {
    let mut names = Vec::new();
    let mut fields = Vec::new();
    for (field, value) in object.unique()? {
        let name = usable_name(field, &names);
        fields.push(Field {
            doc: doc(field, &name),
            ..Field::new(&name, plain(&format!("{key}.{field}"), value)?)
        });
        names.push(name);
    }
    Ok(Kind::record(fields))
}

/// The key, where the name had to differ from it.
fn doc(key: &str, name: &str) -> String {
    match key == name {
        true => String::new(),
        false => format!("`{key}` in the sample"),
    }
}

fn plain(key: &str, value: &Value) -> Result<Type> {
    let refused =
        |what: &str, help: &str| Err(miette!(help = help.to_owned(), "`{key}` is {what}"));
    match value {
        Value::Array(values) => {
            let scalars: Option<Vec<ScalarType>> = values.iter().map(scalar).collect();
            match scalars.as_deref().and_then(common) {
                Some(scalar) => Ok(Type::Array(scalar, values.len() as u32)),
                None => refused(
                    "not an array of numbers or of truth values",
                    "declare several variables, or a record, in its place",
                ),
            }
        }
        Value::String(text) => {
            let room = (text.len() + 1).next_power_of_two().max(SHORTEST);
            Ok(Type::Text(room as u32))
        }
        Value::Object(_) => refused(
            "an object in an object",
            "a record's fields are numbers, truth values, texts and arrays: make several records",
        ),
        Value::Null => refused(
            "null",
            "give the sample a value of the type that it will have",
        ),
        value => match scalar(value) {
            Some(scalar) => Ok(Type::Scalar(scalar)),
            None => refused(
                "a number that no type holds",
                "give the sample another value",
            ),
        },
    }
}

fn scalar(value: &Value) -> Option<ScalarType> {
    match value {
        Value::Bool(_) => Some(ScalarType::Bool),
        Value::Number(number) if number.is_i64() => Some(ScalarType::I64),
        Value::Number(number) if number.is_u64() => Some(ScalarType::U64),
        Value::Number(_) => Some(ScalarType::F64),
        _ => None,
    }
}

/// The type that holds the values of all these types.
fn common(types: &[ScalarType]) -> Option<ScalarType> {
    let first = *types.first()?;
    let all = |wanted: &[ScalarType]| types.iter().all(|ty| wanted.contains(ty));
    match () {
        () if all(&[first]) => Some(first),
        () if all(&[ScalarType::I64, ScalarType::U64, ScalarType::F64]) => Some(ScalarType::F64),
        () => None,
    }
}
