//! Declarations: the names, types, units and initial values from which an image is built.
//!
//! ```toml
//! [vdso]
//! soname  = "libweather.so.1"
//! version = "WEATHER_1.0"      # version node of the functions without one of their own
//! prefix  = "weather_"         # optional: this is what the soname gives
//! doc     = "The weather outside"
//!
//! [var.temperature]
//! type = "f64"                 # bool, i8 to i64, u8 to u64, f32, f64
//! unit = "degC"
//! init = 1.5                   # optional: 0, false or "" without it
//! doc  = "Outside temperature"
//!
//! [var.gusts]
//! type = "f32[3]"              # an array
//! version = "WEATHER_1.1"      # added in that version
//!
//! [var.station]
//! type = "str[16]"             # text of at most 15 bytes
//!
//! [var.wind]                   # a record: its fields are always read together
//! doc = "Wind, ten minutes' mean"
//! [var.wind.fields.speed]
//! type = "f64"
//! unit = "m/s"
//! [var.wind.fields.from]
//! type = "u16"
//! unit = "deg"
//! ```
//!
//! With `kernel`, a variable names a variable of the running kernel. The kernel is then the
//! publisher of all variables of the vDSO:
//!
//! ```toml
//! [var.threads]
//! type   = "i32"
//! kernel = "nr_threads"                # a symbol, and fields: "init_uts_ns.name.release"
//! after  = "sched_process_fork"        # exact at once after this event, or a list of them
//! ```
//!
//! Variables are laid out in the order of their declaration, so a new one belongs at the
//! end.

mod builder;
mod check;
mod error;
mod names;
mod parse;
mod print;

pub use builder::{Builder, initial};
pub use error::{Invalid, Mistake, Problem};
pub use names::{FUNCTIONS, default_prefix, usable_name};

use std::io;
use std::path::Path;
use vdsokit_elf::file::read_text;
use vdsokit_vvar::directory;
use vdsokit_vvar::layout::{self, Shape, Type};

/// A declaration that has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub(crate) soname: String,
    pub(crate) version: String,
    pub(crate) prefix: String,
    pub(crate) doc: String,
    /// The default of [`Variable::interpose`] and [`Function::interpose`].
    pub(crate) interpose: bool,
    pub(crate) variables: Vec<Variable>,
    pub(crate) functions: Option<Vec<Function>>,
}

/// A function that a crate's image exports.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// A C identifier: the weak name. The strong one has [`STRONG`] before it.
    pub name: String,
    /// Its documentation, or nothing.
    pub doc: String,
    /// Its version node.
    pub version: String,
    /// Its declaration in C; empty if it has types that C does not have.
    pub prototype: String,
    /// Whether it takes the place of the C library's function of its name.
    pub interpose: bool,
}

/// The prefix of a function's strong name, as in Linux's own vDSO.
pub const STRONG: &str = "__vdso_";

/// A variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// A C identifier.
    pub name: String,
    /// Its unit, or nothing.
    pub unit: String,
    /// Its documentation, or nothing.
    pub doc: String,
    /// The version node of its function.
    pub version: String,
    /// What it consists of.
    pub kind: Kind,
    /// The expression for its value in the running kernel, or nothing; of a record, each
    /// field has one.
    pub kernel: String,
    /// Kernel events right after which the kernel updates it.
    pub after: Vec<String>,
    /// Whether its function takes the place of the C library's of that name.
    pub interpose: bool,
    /// Its key in a store that feeds it, or nothing where that is its name.
    pub key: String,
    /// The value before the first publication: its bytes in the pages, little-endian.
    pub init: Vec<u8>,
}

/// What a variable consists of: [`Shape`], owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// One value of a type.
    Plain(Type),
    /// Fields that are read together.
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// A C identifier.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Bytes from the start of the record, by C's rules of layout.
    pub offset: usize,
    /// Its unit, or nothing.
    pub unit: String,
    /// Its documentation, or nothing.
    pub doc: String,
    /// The expression for its value in the running kernel, or nothing.
    pub kernel: String,
}

/// Reads the text of a declaration: a regular file, or a pipe that this process has inherited, of at most
/// 16 MiB.
///
/// # Errors
/// Those of [`read_text`].
pub fn read_declaration(path: &Path) -> io::Result<String> {
    const MOST: u64 = 16 << 20;
    read_text(path, MOST)
}

impl Declaration {
    /// Begins a declaration that is made in Rust rather than read from TOML.
    ///
    /// ```
    /// use vdsokit_build::Declaration;
    /// use vdsokit_build::declaration::{Kind, Variable};
    /// use vdsokit_vvar::layout::Type;
    /// use vdsokit_vvar::scalar::ScalarType;
    ///
    /// let temperature = Variable {
    ///     unit: "degC".to_owned(),
    ///     ..Variable::new("temperature", Kind::Plain(Type::Scalar(ScalarType::F64)))
    /// };
    /// let weather = Declaration::builder("libweather.so.1", "WEATHER_1.0")
    ///     .variable(temperature)
    ///     .build()?;
    /// assert_eq!(weather.variables().len(), 1);
    /// # Ok::<(), vdsokit_build::declaration::Problem>(())
    /// ```
    #[must_use]
    pub fn builder(soname: &str, version: &str) -> Builder {
        Builder::new(soname, version)
    }

    /// The declaration in TOML, as [`Declaration::parse`] reads it, but for a crate's functions.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }

    /// Reads a declaration in TOML; `path` is its name in messages.
    ///
    /// # Errors
    /// [`Invalid`] lists every mistake with its place and what to do about it.
    pub fn parse(path: &str, text: &str) -> Result<Self, Invalid> {
        parse::parse(path, text)
    }

    /// Puts together what a crate's manifest and its macros declare: `manifest`'s table
    /// `package.metadata.vdso` is `[vdso]`, and `declared` is the rest.
    ///
    /// # Errors
    /// [`Invalid`], about the one or the other.
    pub(crate) fn of_crate(path: &str, manifest: &str, declared: &str) -> Result<Self, Invalid> {
        parse::of_crate(path, manifest, declared)
    }

    /// The name by which the loader knows the image, and its file's name.
    #[must_use]
    pub fn soname(&self) -> &str {
        &self.soname
    }

    /// The version node of the functions without one of their own.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The start of every function's name, before the variable's name.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Its documentation, or nothing.
    #[must_use]
    pub fn doc(&self) -> &str {
        &self.doc
    }

    /// The variables, in the order of their declaration.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The functions that a crate's image exports, by name; `None` for an image of
    /// variables alone, which exports one function for each.
    #[must_use]
    pub fn functions(&self) -> Option<&[Function]> {
        self.functions.as_deref()
    }

    /// The name of the library for `-l` and of the header and pkg-config files:
    /// `weather` for `libweather.so.1`.
    #[must_use]
    pub fn library(&self) -> &str {
        names::library(&self.soname)
    }

    /// The version nodes: the declaration's own first, then the others in the order of their
    /// first use.
    #[must_use]
    pub fn versions(&self) -> Vec<&str> {
        let mut versions = vec![self.version.as_str()];
        let of_variables = self.variables.iter().map(|variable| &variable.version);
        let of_functions = self.functions.iter().flatten().map(|one| &one.version);
        for version in of_variables.chain(of_functions) {
            // A linear search: there are few versions however many variables there are.
            if !versions.contains(&version.as_str()) {
                versions.push(version);
            }
        }
        versions
    }

    /// The directory note's description.
    ///
    /// # Errors
    /// [`directory::Unencodable`] only when all variables together are more than 4 GiB:
    /// `parse` has checked everything else.
    pub fn directory(&self) -> Result<Vec<u8>, directory::Unencodable> {
        let fields: Vec<Vec<layout::Field<'_>>> = self
            .variables
            .iter()
            .map(|variable| variable.kind.fields().iter().map(Field::borrow).collect())
            .collect();
        let variables: Vec<directory::Variable<'_>> = self
            .variables
            .iter()
            .zip(&fields)
            .map(|(variable, fields)| directory::Variable {
                name: &variable.name,
                unit: &variable.unit,
                doc: &variable.doc,
                version: &variable.version,
                shape: match variable.kind {
                    Kind::Plain(ty) => Shape::Plain(ty),
                    Kind::Record(_) => Shape::Record(fields),
                },
            })
            .collect();
        let mut note = vec![0; directory::encoded_len(&self.prefix, &variables)?];
        directory::encode(&self.prefix, &variables, &mut note)?;
        Ok(note)
    }
}

impl Variable {
    /// Whether the running kernel has a value for all of it.
    pub(crate) fn has_source(&self) -> bool {
        match &self.kind {
            Kind::Plain(_) => !self.kernel.is_empty(),
            Kind::Record(fields) => fields.iter().all(|field| !field.kernel.is_empty()),
        }
    }
}

impl Kind {
    /// A record's fields.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match self {
            Self::Plain(_) => &[],
            Self::Record(fields) => fields,
        }
    }

    /// Calls `with` with the shape, which borrows.
    pub fn with_shape<R>(&self, with: impl FnOnce(Shape<'_>) -> R) -> R {
        match self {
            Self::Plain(ty) => with(Shape::Plain(*ty)),
            Self::Record(fields) => {
                let fields: Vec<_> = fields.iter().map(Field::borrow).collect();
                with(Shape::Record(&fields))
            }
        }
    }
}

impl Field {
    fn borrow(&self) -> layout::Field<'_> {
        layout::Field {
            name: &self.name,
            ty: self.ty,
            offset: self.offset,
            unit: &self.unit,
            doc: &self.doc,
        }
    }
}
