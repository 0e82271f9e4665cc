//! `[var.NAME]` and `[var.NAME.fields.FIELD]`.

use super::super::check;
use super::super::error::Problem;
use super::super::{Field, Kind, Variable, names};
use super::Defaults;
use super::table::{Reader, Table};
use super::value;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;
use vdsokit_vvar::layout::{Cursor, Type};

const VARIABLE: &[&str] = &[
    "type",
    "unit",
    "init",
    "doc",
    "version",
    "fields",
    "kernel",
    "after",
    "interpose",
    "key",
];
const RECORD: &[&str] = &[
    "unit",
    "doc",
    "version",
    "fields",
    "after",
    "interpose",
    "key",
];
const FIELD: &[&str] = &["type", "unit", "init", "doc", "kernel"];

impl Reader {
    /// The variable `name`; `place` is the name's position.
    pub(super) fn variable(
        &mut self,
        name: &str,
        place: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        defaults: &Defaults<'_>,
    ) -> Option<Variable> {
        let function = format!("{}{name}", defaults.prefix);
        let named = check::variable_name(name, &function);
        self.accept(named.map_err(|problem| (problem, place.clone())));
        let table = self.table(name, &format!("[var.{name}]"), place.clone(), value)?;
        self.unknown_keys(&table, VARIABLE);
        let unit = self.text(&table, "unit");
        let doc = self.text(&table, "doc");
        let kernel = self.text(&table, "kernel");
        let after = self.strings(&table, "after");
        let key = self.text(&table, "key");
        let interpose = self.flag(&table, "interpose", defaults.interpose);
        let version = match self.string(&table, "version") {
            Some(own) => self.checked(Some(own), check::version)?,
            None => defaults.version.to_owned(),
        };
        let (kind, init) = match (table.get("type"), table.get("fields")) {
            (Some(_), None) => {
                let (ty, init) = self.typed(&table)?;
                (Kind::Plain(ty), init)
            }
            (None, Some(fields)) => {
                self.only_in_fields(name, &table, "kernel");
                self.only_in_fields(name, &table, "init");
                self.record(name, &table, fields)?
            }
            (Some(ty), Some(_)) => {
                self.report(Problem::TypeAndFields(name.to_owned()), ty.span());
                return None;
            }
            (None, None) => {
                self.report(Problem::NeitherTypeNorFields(name.to_owned()), place);
                return None;
            }
        };
        let variable = Variable {
            name: name.to_owned(),
            unit,
            doc,
            version,
            kind,
            kernel,
            after,
            interpose,
            key,
            init,
        };
        if let (Some(after), false) = (table.get("after"), variable.has_source()) {
            let problem = Problem::Missing {
                table: table.title.clone(),
                key: "kernel",
            };
            self.report(problem, after.span());
        }
        Some(variable)
    }

    /// Reports `key` of a record: each of its fields can have one instead.
    fn only_in_fields(&mut self, record: &str, table: &Table<'_, '_>, key: &str) {
        if let Some(value) = table.get(key) {
            let problem = Problem::Unknown {
                key: key.into(),
                table: format!("the record [var.{record}]"),
                known: RECORD,
            };
            self.report(problem, value.span());
        }
    }

    /// `[var.NAME.fields]`: the fields in their order, and the record's initial bytes.
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
            let named = check::name(field, field);
            self.accept(named.map_err(|problem| (problem, place.clone())));
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
                self.report(problem, place);
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
        if list.len() < count {
            return None;
        }
        let kind = Kind::Record(list);
        let checked = check::kind(name, &kind);
        self.accept(checked.map_err(|problem| (problem, variable.place.clone())))?;
        init.resize(kind.with_shape(|shape| shape.size()), 0);
        Some((kind, init))
    }

    /// The `type` of a variable or field, and the bytes of its `init`.
    fn typed(&mut self, table: &Table<'_, '_>) -> Option<(Type, Vec<u8>)> {
        let (name, place) = self.string(table, "type")?;
        let ty = self.accept(names::parse_type(&name).map_err(|problem| (problem, place)))?;
        let init = match table.get("init") {
            Some(value) => self.accept(value::bytes(value, ty))?,
            None => vec![0; ty.size()],
        };
        Some((ty, init))
    }
}
