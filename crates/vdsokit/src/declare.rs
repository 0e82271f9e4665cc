//! A declaration in Rust: what `#[derive(Vvars)]` makes of a struct.

use crate::{Error, Publisher, Vdso};
use std::fmt::Write;
use std::path::Path;
#[cfg(feature = "declare")]
use vdsokit_build::declaration::{Field, Kind, Problem, Variable, initial};
#[cfg(feature = "declare")]
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_vvar::directory;
use vdsokit_vvar::layout::{Cursor, Hash, Shape};

/// The head of a declaration: the vDSO as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The name by which loaders know it, and its file's name.
    pub soname: &'static str,
    /// The version node of every function that names no other.
    pub version: &'static str,
    /// Its documentation, or the empty string.
    pub doc: &'static str,
}

/// A variable of a declaration.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// Its unit, or the empty string.
    pub unit: &'static str,
    /// Its documentation, or the empty string.
    pub doc: &'static str,
    /// The version node of its function, if it differs from the vDSO's.
    pub version: Option<&'static str>,
    /// Its initial value in TOML's notation.
    pub init: Option<&'static str>,
    /// Its type.
    pub shape: Shape<'static>,
}

/// A set of variables, declared once in Rust: derive it.
///
/// ```
/// use vdsokit::{Record, Vvars};
///
/// #[derive(Clone, Copy, Record)]
/// struct Wind {
///     #[vvar(unit = "m/s")]
///     speed: f64,
///     from: u16,
/// }
///
/// /// The weather outside.
/// #[derive(Clone, Copy, Vvars)]
/// #[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
/// struct Weather {
///     /// Outside temperature.
///     #[vvar(unit = "degC", init = 1.5)]
///     temperature: f64,
///     wind: Wind,
/// }
///
/// # let directory = tempfile::tempdir_in(vdsokit::place::base().unwrap()).unwrap();
/// # let path = directory.path().join("libweather.so.1");
/// let mut publisher = Weather::create(&path)?; // builds it, if it is not there
/// let reader = Weather::open(&path)?; // in any other process
/// assert_eq!(reader.temperature.get(), 1.5);
///
/// publisher.temperature.set(21.5);
/// publisher.wind.set(Wind { speed: 3.0, from: 270 });
/// assert_eq!(reader.temperature.get(), 21.5);
/// assert_eq!(reader.wind.get().from, 270);
/// # Ok::<(), vdsokit::Error>(())
/// ```
pub trait Vvars: Sized {
    /// A handle for each variable, to read it with.
    type Reader;
    /// A handle for each variable, to write it with.
    type Publisher;

    /// The vDSO as a whole.
    const HEAD: Head;
    /// The variables, in their order.
    const VARIABLES: &'static [Declared];

    /// The handles on an open vDSO.
    ///
    /// # Errors
    /// [`Error::Unknown`] and [`Error::Mismatch`].
    fn reader(vdso: Vdso) -> Result<Self::Reader, Error>;

    /// The handles of its publisher.
    ///
    /// # Errors
    /// As [`Vvars::reader`], and [`Error::Taken`].
    fn publisher(publisher: Publisher) -> Result<Self::Publisher, Error>;

    /// The value of every variable now. Each is whole, but they may be of different writes:
    /// only the fields of one record are always of the same one.
    fn get(reader: &Self::Reader) -> Self;

    /// Writes every variable, one after the other.
    fn set(&self, publisher: &mut Self::Publisher);

    /// Opens the vDSO at `path` for reading. Its layout version may be older or newer than
    /// this declaration, as long as it has every variable of this one, with the same type.
    ///
    /// # Errors
    /// As [`Vdso::open`]; [`Error::Unknown`] and [`Error::Mismatch`] say which variable
    /// differs, and in what.
    fn open(path: impl AsRef<Path>) -> Result<Self::Reader, Error> {
        let vdso = Vdso::open(path)?;
        vdso.expect(layout::<Self>(), &variables::<Self>())?;
        Self::reader(vdso)
    }

    /// Becomes the publisher of this declaration at `path`: builds its image, resumes the
    /// file at `path` if it is the same image, and replaces another one.
    ///
    /// # Errors
    /// As [`Publisher::create`]; [`Error::Image`] for a declaration of which no image
    /// can be made.
    #[cfg(feature = "declare")]
    fn create(path: impl AsRef<Path>) -> Result<Self::Publisher, Error> {
        let why = |why: String| Error::Image {
            soname: Self::HEAD.soname.to_owned(),
            why,
        };
        let declaration = typed::<Self>().map_err(|problem| why(problem.to_string()))?;
        let host = Architecture::host()
            .ok_or_else(|| why(format!("none is made for {}", std::env::consts::ARCH)))?;
        let image = image(&declaration, host).map_err(|error| why(error.to_string()))?;
        Self::publisher(Publisher::create(path, &image)?)
    }

    /// The declaration as TOML, from which `vdso build` makes the C header, and images for
    /// other machines.
    #[must_use]
    fn declaration() -> String {
        let Head {
            soname,
            version,
            doc,
        } = Self::HEAD;
        let mut toml = String::from("[vdso]\n");
        put(&mut toml, "soname", &quoted(soname));
        put(&mut toml, "version", &quoted(version));
        put_some(&mut toml, "doc", doc);
        for variable in Self::VARIABLES {
            put_variable(&mut toml, variable);
        }
        toml
    }
}

/// The declaration, without a detour through TOML.
#[cfg(feature = "declare")]
fn typed<V: Vvars>() -> Result<Declaration, Problem> {
    let mut builder = Declaration::builder(V::HEAD.soname, V::HEAD.version).doc(V::HEAD.doc);
    for declared in V::VARIABLES {
        builder = builder.variable(typed_variable(declared)?);
    }
    builder.build()
}

#[cfg(feature = "declare")]
fn typed_variable(declared: &Declared) -> Result<Variable, Problem> {
    let kind = match declared.shape {
        Shape::Plain(ty) => Kind::Plain(ty),
        Shape::Record(fields) => Kind::record(fields.iter().map(|field| Field {
            unit: field.unit.to_owned(),
            doc: field.doc.to_owned(),
            ..Field::new(field.name, field.ty)
        })),
    };
    let variable = Variable::new(declared.name, kind);
    let init = match (declared.init, &variable.kind) {
        (Some(text), Kind::Plain(ty)) => initial(text, *ty)?,
        _ => variable.init,
    };
    Ok(Variable {
        unit: declared.unit.to_owned(),
        doc: declared.doc.to_owned(),
        version: declared.version.unwrap_or_default().to_owned(),
        init,
        ..variable
    })
}

fn variables<V: Vvars>() -> Vec<directory::Variable<'static>> {
    let variables = V::VARIABLES.iter();
    variables
        .map(|declared| directory::Variable {
            name: declared.name,
            unit: declared.unit,
            doc: declared.doc,
            version: declared.version.unwrap_or(V::HEAD.version),
            shape: declared.shape,
        })
        .collect()
}

fn layout<V: Vvars>() -> u64 {
    let mut cursor = Cursor::PAGES;
    let variables = V::VARIABLES.iter();
    variables
        .fold(Hash::EMPTY, |hash, variable| {
            let offset = cursor.variable(&variable.shape);
            hash.variable(variable.name, &variable.shape, offset)
        })
        .get()
}

fn put_variable(toml: &mut String, variable: &Declared) {
    let name = variable.name;
    // Writing to a string does not fail, here and below.
    let _ = write!(toml, "\n[var.{name}]\n");
    if let Shape::Plain(ty) = variable.shape {
        put(toml, "type", &quoted(&ty.to_string()));
    }
    put_some(toml, "unit", variable.unit);
    put_some(toml, "doc", variable.doc);
    put_some(toml, "version", variable.version.unwrap_or_default());
    if let Some(init) = variable.init {
        put(toml, "init", init);
    }
    if let Shape::Record(fields) = variable.shape {
        for field in fields {
            let _ = writeln!(toml, "[var.{name}.fields.{}]", field.name);
            put(toml, "type", &quoted(&field.ty.to_string()));
            put_some(toml, "unit", field.unit);
            put_some(toml, "doc", field.doc);
        }
    }
}

fn put(toml: &mut String, key: &str, value: &str) {
    let _ = writeln!(toml, "{key} = {value}");
}

fn put_some(toml: &mut String, key: &str, text: &str) {
    if !text.is_empty() {
        put(toml, key, &quoted(text));
    }
}

/// A basic string of TOML 1.0.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
