//! The TOML reader: a table with a title for messages, and a list of the mistakes found.

use super::super::check;
use super::super::error::{Mistake, Problem};
use super::value::{self, Placed};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A TOML table and the title by which messages refer to it, such as "[var.wind]".
pub(super) struct Table<'t, 'i> {
    pub(super) title: String,
    pub(super) place: Range<usize>,
    pub(super) table: &'t DeTable<'i>,
}

/// A key, the key's position in the text, and its value.
type Entry<'t, 'i> = (&'t str, Range<usize>, &'t Spanned<DeValue<'i>>);

impl<'t, 'i> Table<'t, 'i> {
    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// All entries in the order of the text.
    pub(super) fn entries(&self) -> Vec<Entry<'t, 'i>> {
        let entries = self.table.iter();
        let mut entries: Vec<_> = entries
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
            .collect();
        entries.sort_by_key(|(_, place, _)| place.start);
        entries
    }
}

/// Reads values out of tables and collects every mistake instead of stopping at the first.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn report(&mut self, problem: Problem, place: Range<usize>) {
        self.mistakes.push(Mistake {
            problem,
            place: place.into(),
        });
    }

    /// The value of `result`, or `None` after its error was reported.
    pub(super) fn accept<T>(&mut self, result: Result<T, Placed>) -> Option<T> {
        result
            .map_err(|(problem, place)| self.report(problem, place))
            .ok()
    }

    /// The string, if `check` accepts it.
    pub(super) fn checked(
        &mut self,
        string: Option<(String, Range<usize>)>,
        check: fn(&str) -> Result<(), Problem>,
    ) -> Option<String> {
        let (string, place) = string?;
        self.accept(check(&string).map_err(|problem| (problem, place)))?;
        Some(string)
    }

    pub(super) fn unknown_keys(&mut self, table: &Table<'_, '_>, known: &'static [&'static str]) {
        for (key, place, _) in table.entries() {
            if !known.contains(&key) {
                let problem = Problem::Unknown {
                    key: key.to_owned(),
                    table: table.title.clone(),
                    known,
                };
                self.report(problem, place);
            }
        }
    }

    /// `value` as a table, which is `key` of another.
    pub(super) fn table<'t, 'i>(
        &mut self,
        key: &str,
        title: &str,
        place: Range<usize>,
        value: &'t Spanned<DeValue<'i>>,
    ) -> Option<Table<'t, 'i>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_kind(key, value, "a table");
            return None;
        };
        Some(Table {
            title: title.to_owned(),
            place,
            table,
        })
    }

    pub(super) fn required_table<'t, 'i>(
        &mut self,
        parent: &Table<'t, 'i>,
        key: &'static str,
        title: &str,
    ) -> Option<Table<'t, 'i>> {
        let Some(value) = parent.get(key) else {
            self.missing(parent, key);
            return None;
        };
        self.table(key, title, value.span(), value)
    }

    fn missing(&mut self, table: &Table<'_, '_>, key: &'static str) {
        let problem = Problem::Missing {
            table: table.title.clone(),
            key,
        };
        self.report(problem, table.place.clone());
    }

    fn wrong_kind(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &'static str) {
        let problem = Problem::Kind {
            key: key.to_owned(),
            found: value::kind(value.get_ref()),
            wanted,
        };
        self.report(problem, value.span());
    }

    /// The string at `key` and its position, if it is present and a directory can hold it.
    pub(super) fn string(
        &mut self,
        table: &Table<'_, '_>,
        key: &str,
    ) -> Option<(String, Range<usize>)> {
        let value = table.get(key)?;
        let DeValue::String(string) = value.get_ref() else {
            self.wrong_kind(key, value, "a string");
            return None;
        };
        let checked = check::string(key, string).map_err(|problem| (problem, value.span()));
        self.accept(checked)?;
        Some((string.to_string(), value.span()))
    }

    pub(super) fn required_string(
        &mut self,
        table: &Table<'_, '_>,
        key: &'static str,
    ) -> Option<(String, Range<usize>)> {
        if table.get(key).is_none() {
            self.missing(table, key);
        }
        self.string(table, key)
    }

    /// The string at `key`, or the strings of an array there, or none.
    pub(super) fn strings(&mut self, table: &Table<'_, '_>, key: &str) -> Vec<String> {
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

    /// The truth value at `key`, or `default`.
    pub(super) fn flag(&mut self, table: &Table<'_, '_>, key: &str, default: bool) -> bool {
        let Some(value) = table.get(key) else {
            return default;
        };
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            _ => {
                self.wrong_kind(key, value, "true or false");
                default
            }
        }
    }

    /// The string at `key`, or the empty string.
    pub(super) fn text(&mut self, table: &Table<'_, '_>, key: &str) -> String {
        self.string(table, key)
            .map(|(text, _)| text)
            .unwrap_or_default()
    }
}
