//! From TOML to a declaration. Collects every mistake rather than the first.

use super::error::{Invalid, Mistake, Problem};
use super::names::{self, FUNCTIONS};
use super::value::{self, Placed};
use super::{Declaration, Field, Function, Kind, Variable};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vdsokit_vvar::directory::MAX_STRING;
use vdsokit_vvar::layout::{Cursor, MAX_VALUE, Type};
use vdsokit_vvar::scalar::ScalarType;

const TOP: &[&str] = &["vdso", "var"];
const CRATE: &[&str] = &["var", "function"];
const FUNCTION: &[&str] = &["doc", "version", "c"];
const VDSO: &[&str] = &["soname", "version", "prefix", "doc"];
const VARIABLE: &[&str] = &[
    "type", "unit", "init", "doc", "version", "fields", "kernel", "after",
];
const FIELD: &[&str] = &["type", "unit", "init", "doc", "kernel"];

/// See [`Declaration::parse`].
pub(super) fn parse(path: &str, text: &str) -> Result<Declaration, Invalid> {
    read(path, text, |reader, table| {
        let top = top(table);
        reader.unknown_keys(&top, TOP);
        let vdso = reader.required_table(&top, "vdso", "[vdso]");
        let head = vdso.and_then(|vdso| reader.head(&vdso));
        reader.body(&top, head)
    })
}

/// See [`Declaration::of_crate`].
pub(super) fn of_crate(path: &str, manifest: &str, text: &str) -> Result<Declaration, Invalid> {
    let head = read(path, manifest, |reader, table| {
        let top = top(table);
        let package = reader.required_table(&top, "package", "[package]")?;
        let place = package.place.clone();
        let vdso = package
            .get("metadata")
            .and_then(|metadata| metadata.get_ref().get("vdso"))
            .and_then(|vdso| vdso.get_ref().as_table());
        let Some(vdso) = vdso else {
            reader.add(Problem::NoMetadata, place);
            return None;
        };
        reader.head(&Table {
            name: "[package.metadata.vdso]".into(),
            place,
            table: vdso,
        })
    })?;
    let path = "what the crate's macros declare";
    read(path, text, |reader, table| {
        let top = top(table);
        reader.unknown_keys(&top, CRATE);
        let declaration = reader.body(&top, Some(head))?;
        let mut functions = reader.functions(&top, &declaration.version);
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        Some(Declaration {
            functions: Some(functions),
            ..declaration
        })
    })
}

/// Reads with `with`; no result without mistakes, and no mistakes with a result.
fn read(
    path: &str,
    text: &str,
    with: impl FnOnce(&mut Reader, &Spanned<DeTable<'_>>) -> Option<Declaration>,
) -> Result<Declaration, Invalid> {
    let mut reader = Reader::default();
    let declaration = match DeTable::parse(text) {
        Ok(table) => with(&mut reader, &table),
        Err(error) => {
            let place = error.span().unwrap_or(0..0);
            reader.add(Problem::Toml(error.message().to_owned()), place);
            None
        }
    };
    match declaration {
        Some(declaration) if reader.mistakes.is_empty() => Ok(declaration),
        _ => Err(Invalid::new(path, text, reader.mistakes)),
    }
}

fn top<'t, 'i>(text: &'t Spanned<DeTable<'i>>) -> Table<'t, 'i> {
    Table {
        name: "a declaration".into(),
        place: 0..0,
        table: text.get_ref(),
    }
}

/// A table under a name, in words: "[var.wind]".
struct Table<'t, 'i> {
    name: String,
    place: Range<usize>,
    table: &'t DeTable<'i>,
}

/// A key, with its place, and its value.
type Entry<'t, 'i> = (&'t str, Range<usize>, &'t Spanned<DeValue<'i>>);

impl<'t, 'i> Table<'t, 'i> {
    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// In the order of the text.
    fn entries(&self) -> Vec<Entry<'t, 'i>> {
        let entries = self.table.iter();
        let mut entries: Vec<_> = entries
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
            .collect();
        entries.sort_by_key(|(_, place, _)| place.start);
        entries
    }
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn add(&mut self, problem: Problem, place: Range<usize>) {
        self.mistakes.push(Mistake {
            problem,
            place: place.into(),
        });
    }

    /// The value, or its mistake noted.
    fn take<T>(&mut self, result: Result<T, Placed>) -> Option<T> {
        result
            .map_err(|(problem, place)| self.add(problem, place))
            .ok()
    }

    /// Everything but `[vdso]`.
    fn body(&mut self, top: &Table<'_, '_>, head: Option<Declaration>) -> Option<Declaration> {
        let (version, prefix) = match &head {
            Some(head) => (head.version.clone(), head.prefix.clone()),
            None => Default::default(),
        };
        let mut variables = Vec::new();
        if let Some(value) = top.get("var")
            && let Some(var) = self.table("var", "[var]", value.span(), value)
        {
            for (name, place, value) in var.entries() {
                let function = format!("{prefix}{name}");
                self.name(name, &function, place.clone());
                variables.extend(self.variable(name, place, value, &version));
            }
        }
        let declaration = Declaration { variables, ..head? };
        if self.mistakes.is_empty()
            && let Err(error) = declaration.directory()
        {
            self.add(Problem::Directory(error.to_string()), 0..0);
        }
        Some(declaration)
    }

    /// `[function.NAME]`.
    fn functions(&mut self, top: &Table<'_, '_>, version: &str) -> Vec<Function> {
        let Some(value) = top.get("function") else {
            return Vec::new();
        };
        let Some(all) = self.table("function", "[function]", value.span(), value) else {
            return Vec::new();
        };
        let mut functions = Vec::new();
        for (name, place, value) in all.entries() {
            self.name(name, name, place.clone());
            let title = format!("[function.{name}]");
            let Some(table) = self.table(name, &title, place, value) else {
                continue;
            };
            self.unknown_keys(&table, FUNCTION);
            let own = self.string(&table, "version");
            let own = self.checked(own, names::is_version, Problem::Version);
            functions.push(Function {
                name: name.to_owned(),
                doc: self.text(&table, "doc"),
                version: own.unwrap_or_else(|| version.to_owned()),
                prototype: self.text(&table, "c"),
            });
        }
        functions
    }

    /// `[vdso]`.
    fn head(&mut self, vdso: &Table<'_, '_>) -> Option<Declaration> {
        self.unknown_keys(vdso, VDSO);
        let soname = self.required_string(vdso, "soname");
        let version = self.required_string(vdso, "version");
        let prefix = self.string(vdso, "prefix");
        let doc = self.string(vdso, "doc").map(|(doc, _)| doc);
        let soname = self.checked(soname, names::is_soname, Problem::Soname);
        let version = self.checked(version, names::is_version, Problem::Version);
        let prefix = match prefix {
            Some(given) => {
                let fits = |prefix: &str| prefix.is_empty() || names::is_identifier(prefix);
                self.checked(Some(given), fits, Problem::Prefix)
            }
            None => soname.as_deref().map(names::default_prefix),
        };
        Some(Declaration {
            soname: soname?,
            version: version?,
            prefix: prefix?,
            doc: doc.unwrap_or_default(),
            variables: Vec::new(),
            functions: None,
        })
    }

    fn checked(
        &mut self,
        string: Option<(String, Range<usize>)>,
        fits: fn(&str) -> bool,
        problem: fn(String) -> Problem,
    ) -> Option<String> {
        let (string, place) = string?;
        if fits(&string) {
            return Some(string);
        }
        self.add(problem(string), place);
        None
    }

    fn variable(
        &mut self,
        name: &str,
        place: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        version: &str,
    ) -> Option<Variable> {
        if FUNCTIONS.contains(&name) {
            self.add(Problem::Reserved(name.to_owned()), place.clone());
        }
        let table = self.table(name, &format!("[var.{name}]"), place.clone(), value)?;
        self.unknown_keys(&table, VARIABLE);
        let unit = self.text(&table, "unit");
        let doc = self.text(&table, "doc");
        let kernel = self.text(&table, "kernel");
        let after = self.strings(&table, "after");
        let own_version = self.string(&table, "version");
        let version = match own_version {
            Some(own) => self.checked(Some(own), names::is_version, Problem::Version)?,
            None => version.to_owned(),
        };
        let (kind, init) = match (table.get("type"), table.get("fields")) {
            (Some(_), None) => {
                let (ty, init) = self.typed(&table)?;
                (Kind::Plain(ty), init)
            }
            (None, Some(fields)) => {
                if let Some(kernel) = table.get("kernel") {
                    let problem = Problem::Unknown {
                        key: "kernel".into(),
                        table: format!("the record [var.{name}]"),
                        known: &["unit", "doc", "version", "fields", "after"],
                    };
                    self.add(problem, kernel.span());
                }
                if let Some(init) = table.get("init") {
                    let problem = Problem::Unknown {
                        key: "init".into(),
                        table: format!("the record [var.{name}]"),
                        known: &["unit", "doc", "version", "fields", "after"],
                    };
                    self.add(problem, init.span());
                }
                self.record(name, &table, fields)?
            }
            (Some(ty), Some(_)) => {
                self.add(Problem::TypeAndFields(name.to_owned()), ty.span());
                return None;
            }
            (None, None) => {
                self.add(Problem::NeitherTypeNorFields(name.to_owned()), place);
                return None;
            }
        };
        let has_source = match &kind {
            Kind::Plain(_) => !kernel.is_empty(),
            Kind::Record(fields) => fields.iter().all(|field| !field.kernel.is_empty()),
        };
        if let (Some(after), false) = (table.get("after"), has_source) {
            let problem = Problem::Missing {
                table: table.name.clone(),
                key: "kernel",
            };
            self.add(problem, after.span());
        }
        Some(Variable {
            name: name.to_owned(),
            unit,
            doc,
            version,
            kind,
            kernel,
            after,
            init,
        })
    }

    /// `[var.NAME.fields]`.
    fn record(
        &mut self,
        name: &str,
        variable: &Table<'_, '_>,
        fields: &Spanned<DeValue<'_>>,
    ) -> Option<(Kind, Vec<u8>)> {
        let title = format!("[var.{name}.fields]");
        let table = self.table("fields", &title, fields.span(), fields)?;
        let mut cursor = Cursor::RECORD;
        let (mut list, mut init) = (Vec::new(), Vec::new());
        let entries = table.entries();
        let count = entries.len();
        for (field, place, value) in entries {
            self.name(field, field, place.clone());
            let title = format!("[var.{name}.fields.{field}]");
            let Some(table) = self.table(field, &title, place.clone(), value) else {
                continue;
            };
            self.unknown_keys(&table, FIELD);
            let unit = self.text(&table, "unit");
            let doc = self.text(&table, "doc");
            let kernel = self.text(&table, "kernel");
            if table.get("type").is_none() {
                let problem = Problem::Missing {
                    table: title,
                    key: "type",
                };
                self.add(problem, place);
                continue;
            }
            let Some((ty, bytes)) = self.typed(&table) else {
                continue;
            };
            let offset = cursor.field(ty);
            init.resize(offset, 0);
            init.extend(bytes);
            list.push(Field {
                name: field.to_owned(),
                ty,
                offset,
                unit,
                doc,
                kernel,
            });
        }
        if count == 0 {
            self.add(Problem::NoFields(name.to_owned()), variable.place.clone());
        }
        if list.len() < count || count == 0 {
            return None;
        }
        let kind = Kind::Record(list);
        let size = kind.with_shape(|shape| shape.size());
        if size > MAX_VALUE {
            let name = name.to_owned();
            self.add(Problem::TooLarge { name, size }, variable.place.clone());
            return None;
        }
        init.resize(size, 0);
        Some((kind, init))
    }

    /// The `type` of a variable or field, and the bytes of its `init`.
    fn typed(&mut self, table: &Table<'_, '_>) -> Option<(Type, Vec<u8>)> {
        let (name, place) = self.string(table, "type")?;
        let ty = self.take(parse_type(&name).map_err(|problem| (problem, place)))?;
        let init = match table.get("init") {
            Some(value) => self.take(value::bytes(value, ty))?,
            None => vec![0; ty.size()],
        };
        Some((ty, init))
    }

    /// A name, and what C calls it.
    fn name(&mut self, name: &str, in_c: &str, place: Range<usize>) {
        if !names::is_identifier(name) {
            self.add(Problem::Identifier(name.to_owned()), place);
        } else if names::is_keyword(in_c) {
            self.add(Problem::Keyword(in_c.to_owned()), place);
        } else if name.len() > MAX_STRING {
            self.long(name, name.len(), place);
        }
    }

    fn long(&mut self, key: &str, bytes: usize, place: Range<usize>) {
        let key: String = key.chars().take(40).collect();
        self.add(Problem::LongString { key, bytes }, place);
    }

    fn unknown_keys(&mut self, table: &Table<'_, '_>, known: &'static [&'static str]) {
        for (key, place, _) in table.entries() {
            if !known.contains(&key) {
                let problem = Problem::Unknown {
                    key: key.to_owned(),
                    table: table.name.clone(),
                    known,
                };
                self.add(problem, place);
            }
        }
    }

    fn table<'t, 'i>(
        &mut self,
        key: &str,
        name: &str,
        place: Range<usize>,
        value: &'t Spanned<DeValue<'i>>,
    ) -> Option<Table<'t, 'i>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_kind(key, value, "a table");
            return None;
        };
        Some(Table {
            name: name.to_owned(),
            place,
            table,
        })
    }

    fn required_table<'t, 'i>(
        &mut self,
        parent: &Table<'t, 'i>,
        key: &'static str,
        name: &str,
    ) -> Option<Table<'t, 'i>> {
        let Some(value) = parent.get(key) else {
            self.missing(parent, key);
            return None;
        };
        self.table(key, name, value.span(), value)
    }

    fn missing(&mut self, table: &Table<'_, '_>, key: &'static str) {
        let problem = Problem::Missing {
            table: table.name.clone(),
            key,
        };
        self.add(problem, table.place.clone());
    }

    fn wrong_kind(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &'static str) {
        let problem = Problem::Kind {
            key: key.to_owned(),
            found: value::kind(value.get_ref()),
            wanted,
        };
        self.add(problem, value.span());
    }

    /// A string that is there, and fits into a directory.
    fn string(&mut self, table: &Table<'_, '_>, key: &str) -> Option<(String, Range<usize>)> {
        let value = table.get(key)?;
        let DeValue::String(string) = value.get_ref() else {
            self.wrong_kind(key, value, "a string");
            return None;
        };
        if string.contains('\0') {
            self.add(Problem::Nul(key.to_owned()), value.span());
            return None;
        }
        if string.len() > MAX_STRING {
            self.long(key, string.len(), value.span());
            return None;
        }
        Some((string.to_string(), value.span()))
    }

    fn required_string(
        &mut self,
        table: &Table<'_, '_>,
        key: &'static str,
    ) -> Option<(String, Range<usize>)> {
        if table.get(key).is_none() {
            self.missing(table, key);
        }
        self.string(table, key)
    }

    /// A string, or the empty one.
    /// A string, or several in [ ].
    fn strings(&mut self, table: &Table<'_, '_>, key: &str) -> Vec<String> {
        let Some(DeValue::Array(array)) = table.get(key).map(Spanned::get_ref) else {
            return self
                .string(table, key)
                .into_iter()
                .map(|(one, _)| one)
                .collect();
        };
        let mut strings = Vec::new();
        for value in array.iter() {
            match value.get_ref() {
                DeValue::String(string) => strings.push(string.to_string()),
                _ => self.wrong_kind(key, value, "a string, or several in [ ]"),
            }
        }
        strings
    }

    fn text(&mut self, table: &Table<'_, '_>, key: &str) -> String {
        self.string(table, key)
            .map(|(text, _)| text)
            .unwrap_or_default()
    }
}

/// `f64`, `f64[3]`, `str[16]`.
fn parse_type(text: &str) -> Result<Type, Problem> {
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
    let size = ty.size();
    if size == 0 {
        return Err(Problem::Empty(text.to_owned()));
    }
    if size > MAX_VALUE {
        let name = text.to_owned();
        return Err(Problem::TooLarge { name, size });
    }
    Ok(ty)
}
