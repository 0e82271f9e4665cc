//! From TOML to a declaration. Collects every mistake rather than the first.

mod table;
pub(super) mod value;
mod variable;

use super::error::{Invalid, Problem};
use super::{Declaration, Function, check, names};
use table::{Reader, Table};
use toml::Spanned;
use toml::de::DeTable;

const TOP: &[&str] = &["vdso", "var"];
const CRATE: &[&str] = &["var", "function"];
const FUNCTION: &[&str] = &["doc", "version", "c", "interpose"];
const VDSO: &[&str] = &["soname", "version", "prefix", "doc", "interpose"];

/// What `[vdso]` says for variables that say nothing else.
#[derive(Default)]
struct Defaults<'a> {
    version: &'a str,
    prefix: &'a str,
    interpose: bool,
}

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
            reader.report(Problem::NoMetadata, place);
            return None;
        };
        reader.head(&Table {
            title: "[package.metadata.vdso]".into(),
            place,
            table: vdso,
        })
    })?;
    let path = "what the crate's macros declare";
    read(path, text, |reader, table| {
        let top = top(table);
        reader.unknown_keys(&top, CRATE);
        let declaration = reader.body(&top, Some(head))?;
        let mut functions = reader.functions(&top, &declaration);
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        Some(Declaration {
            functions: Some(functions),
            ..declaration
        })
    })
}

/// Parses `text` and converts it with `convert`. The result is a declaration or a list of
/// mistakes, never both.
fn read(
    path: &str,
    text: &str,
    convert: impl FnOnce(&mut Reader, &Spanned<DeTable<'_>>) -> Option<Declaration>,
) -> Result<Declaration, Invalid> {
    let mut reader = Reader::default();
    let declaration = match DeTable::parse(text) {
        Ok(table) => convert(&mut reader, &table),
        Err(error) => {
            let place = error.span().unwrap_or(0..0);
            reader.report(Problem::Toml(error.message().to_owned()), place);
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
        title: "a declaration".into(),
        place: 0..0,
        table: text.get_ref(),
    }
}

impl Reader {
    /// `[vdso]`: a declaration without variables.
    fn head(&mut self, vdso: &Table<'_, '_>) -> Option<Declaration> {
        self.unknown_keys(vdso, VDSO);
        let soname = self.required_string(vdso, "soname");
        let version = self.required_string(vdso, "version");
        let prefix = self.string(vdso, "prefix");
        let doc = self.text(vdso, "doc");
        let interpose = self.flag(vdso, "interpose", false);
        let soname = self.checked(soname, check::soname);
        let version = self.checked(version, check::version);
        let prefix = match prefix {
            Some(given) => self.checked(Some(given), check::prefix),
            None => soname.as_deref().map(names::default_prefix),
        };
        Some(Declaration {
            soname: soname?,
            version: version?,
            prefix: prefix?,
            doc,
            interpose,
            variables: Vec::new(),
            functions: None,
        })
    }

    /// `[var]`: adds the variables to `head`. Without a head they are checked all the same.
    fn body(&mut self, top: &Table<'_, '_>, head: Option<Declaration>) -> Option<Declaration> {
        let defaults = match &head {
            Some(head) => Defaults {
                version: &head.version,
                prefix: &head.prefix,
                interpose: head.interpose,
            },
            None => Defaults::default(),
        };
        let mut variables = Vec::new();
        let var = top.get("var");
        if let Some(var) = var.and_then(|value| self.table("var", "[var]", value.span(), value)) {
            for (name, place, value) in var.entries() {
                variables.extend(self.variable(name, place, value, &defaults));
            }
        }
        let declaration = Declaration { variables, ..head? };
        if self.mistakes.is_empty() {
            if let Err(error) = declaration.directory() {
                self.report(Problem::Directory(error.to_string()), 0..0);
            }
        }
        Some(declaration)
    }

    /// `[function.NAME]`.
    fn functions(&mut self, top: &Table<'_, '_>, head: &Declaration) -> Vec<Function> {
        let Some(value) = top.get("function") else {
            return Vec::new();
        };
        let Some(all) = self.table("function", "[function]", value.span(), value) else {
            return Vec::new();
        };
        let mut functions = Vec::new();
        for (name, place, value) in all.entries() {
            let named = check::name(name, name);
            self.accept(named.map_err(|problem| (problem, place.clone())));
            let title = format!("[function.{name}]");
            let Some(table) = self.table(name, &title, place, value) else {
                continue;
            };
            self.unknown_keys(&table, FUNCTION);
            let own = self.string(&table, "version");
            let own = self.checked(own, check::version);
            functions.push(Function {
                name: name.to_owned(),
                doc: self.text(&table, "doc"),
                version: own.unwrap_or_else(|| head.version.clone()),
                prototype: self.text(&table, "c"),
                interpose: self.flag(&table, "interpose", head.interpose),
            });
        }
        functions
    }
}
