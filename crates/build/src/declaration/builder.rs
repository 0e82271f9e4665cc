//! Declarations made in Rust.

use super::error::Problem;
use super::{Declaration, Field, Kind, Variable, check, names, parse};
use toml::de::DeValue;
use vdsokit_vvar::layout::{Cursor, Type};

/// A declaration in the making: see [`Declaration::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    soname: String,
    version: String,
    prefix: Option<String>,
    doc: String,
    variables: Vec<Variable>,
}

impl Builder {
    pub(super) fn new(soname: &str, version: &str) -> Self {
        Self {
            soname: soname.to_owned(),
            version: version.to_owned(),
            prefix: None,
            doc: String::new(),
            variables: Vec::new(),
        }
    }

    /// The start of every function's name; by default [`super::default_prefix`].
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// The documentation of the vDSO as a whole.
    #[must_use]
    pub fn doc(mut self, doc: &str) -> Self {
        doc.clone_into(&mut self.doc);
        self
    }

    /// Adds a variable after all others.
    #[must_use]
    pub fn variable(mut self, variable: Variable) -> Self {
        self.variables.push(variable);
        self
    }

    /// The declaration, if it keeps every rule that [`Declaration::parse`] checks.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn build(self) -> Result<Declaration, Problem> {
        check::soname(&self.soname)?;
        check::version(&self.version)?;
        check::string("soname", &self.soname)?;
        check::string("version", &self.version)?;
        check::string("doc", &self.doc)?;
        let prefix = match self.prefix {
            Some(prefix) => prefix,
            None => names::default_prefix(&self.soname),
        };
        check::prefix(&prefix)?;
        let mut variables = self.variables;
        for variable in &mut variables {
            if variable.version.is_empty() {
                variable.version.clone_from(&self.version);
            }
            check_variable(variable, &prefix)?;
        }
        let mut sorted: Vec<&str> = variables.iter().map(|one| one.name.as_str()).collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Problem::Duplicate(pair[0].to_owned()));
        }
        let declaration = Declaration {
            soname: self.soname,
            version: self.version,
            prefix,
            doc: self.doc,
            interpose: false,
            variables,
            functions: None,
        };
        match declaration.directory() {
            Ok(_) => Ok(declaration),
            Err(error) => Err(Problem::Directory(error.to_string())),
        }
    }
}

fn check_variable(variable: &Variable, prefix: &str) -> Result<(), Problem> {
    check::variable_name(&variable.name, &format!("{prefix}{}", variable.name))?;
    check::version(&variable.version)?;
    let texts = [
        ("unit", &variable.unit),
        ("doc", &variable.doc),
        ("kernel", &variable.kernel),
        ("version", &variable.version),
        ("key", &variable.key),
    ];
    for (key, text) in texts {
        check::string(key, text)?;
    }
    for field in variable.kind.fields() {
        check::name(&field.name, &field.name)?;
        check::ty(&field.name, field.ty)?;
        check::string("unit", &field.unit)?;
        check::string("doc", &field.doc)?;
        check::string("kernel", &field.kernel)?;
    }
    if let Kind::Plain(ty) = variable.kind {
        check::ty(&variable.name, ty)?;
    }
    check::kind(&variable.name, &variable.kind)?;
    let size = variable.kind.with_shape(|shape| shape.size());
    if variable.init.len() != size {
        return Err(Problem::InitSize {
            name: variable.name.clone(),
            found: variable.init.len(),
            wanted: size,
        });
    }
    Ok(())
}

impl Variable {
    /// A variable of the declaration's version, whose initial value is 0, false or empty.
    /// Other fields can be set by struct update.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        let init = vec![0; kind.with_shape(|shape| shape.size())];
        Self {
            name: name.to_owned(),
            unit: String::new(),
            doc: String::new(),
            version: String::new(),
            kind,
            kernel: String::new(),
            after: Vec::new(),
            interpose: false,
            key: String::new(),
            init,
        }
    }
}

impl Kind {
    /// A record of these fields, laid out in their order as C does.
    #[must_use]
    pub fn record(fields: impl IntoIterator<Item = Field>) -> Self {
        let mut cursor = Cursor::RECORD;
        let place = |field: Field| Field {
            offset: cursor.field(field.ty),
            ..field
        };
        Self::Record(fields.into_iter().map(place).collect())
    }
}

impl Field {
    /// A field; [`Kind::record`] gives it its offset.
    #[must_use]
    pub fn new(name: &str, ty: Type) -> Self {
        Self {
            name: name.to_owned(),
            ty,
            offset: 0,
            unit: String::new(),
            doc: String::new(),
            kernel: String::new(),
        }
    }
}

/// The bytes of an initial value that is written as in a declaration: `1.5`, `"text"`,
/// `[1, 2]`.
///
/// # Errors
/// [`Problem::Toml`] for what is no value, [`Problem::Init`] and others for one that the type
/// can't hold.
pub fn initial(text: &str, ty: Type) -> Result<Vec<u8>, Problem> {
    let value = DeValue::parse(text).map_err(|error| Problem::Toml(error.message().to_owned()))?;
    parse::value::bytes(&value, ty).map_err(|(problem, _)| problem)
}
