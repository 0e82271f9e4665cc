//! What is exported: open vDSOs, their metrics, and their values for the page.

use crate::metrics::{Format, Metrics, as_f64};
use crate::published::{self, CLOCK, KERNEL, SYSTEM};
use crate::{output, values};
use serde_json::{Value, json};
use std::path::PathBuf;
use vdsokit_inspect::inspect::{ClockView, VariableView};
use vdsokit_publish::{Condition, Dynamic, Vdso};
use vdsokit_sources::clock::view;

/// The vDSOs that are exported.
pub(super) struct Exported {
    files: Vec<File>,
    /// Whether files that don't exist are left out: they were not named.
    only_published: bool,
}

/// A vDSO by the name that it was given. It may not exist yet, or be replaced.
struct File {
    given: PathBuf,
    vdso: Option<Vdso>,
}

impl Exported {
    /// The vDSOs named, or those of `clock`, `system` and `kernel` that are published.
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let all = [CLOCK, SYSTEM, KERNEL].map(PathBuf::from);
        let only_published = files.is_empty();
        let files = match only_published {
            true => &all,
            false => files,
        };
        let file = |given: &PathBuf| File {
            given: given.clone(),
            vdso: None,
        };
        Self {
            files: files.iter().map(file).collect(),
            only_published,
        }
    }

    /// The names as they were given, for people.
    pub(super) fn names(&self) -> String {
        let names = self.files.iter().map(|file| output::path(&file.given));
        names.collect::<Vec<_>>().join(", ")
    }

    /// State and values as metrics.
    pub(super) fn metrics(&mut self, format: Format) -> String {
        let mut metrics = Metrics::default();
        for file in &mut self.files {
            match file.current() {
                Some(vdso) => {
                    let name = vdso.path().to_string_lossy();
                    let clocks = clocks(vdso);
                    metrics.add_state(&name, Some(&vdso.status()), &clocks);
                    // A clock's variables are words of its records: their names and errors are
                    // what its state has.
                    if clocks.is_empty() {
                        metrics.add_values(vdso);
                    }
                }
                None if self.only_published => {}
                None => metrics.add_state(&file.given.to_string_lossy(), None, &[]),
            }
        }
        metrics.text(format)
    }

    /// State and values as the page wants them.
    pub(super) fn page(&mut self) -> Value {
        let only_published = self.only_published;
        let files = self.files.iter_mut();
        let all = files.filter_map(|file| match file.current() {
            Some(vdso) => Some(describe(vdso)),
            None if only_published => None,
            None => Some(json!({
                "file": file.given.to_string_lossy(),
                "state": "never published",
                "variables": [],
            })),
        });
        all.collect()
    }
}

impl File {
    /// The vDSO that has the name now, opened where it is not open yet or was replaced.
    fn current(&mut self) -> Option<&Vdso> {
        let is_replaced = self.vdso.as_ref().is_some_and(|vdso| {
            vdso.status().condition == Condition::Replaced && vdso.is_replaced()
        });
        if self.vdso.is_none() || is_replaced {
            let found = published::resolve(&self.given).ok().flatten();
            if let Some(vdso) = found.and_then(|located| located.open().ok()) {
                self.vdso = Some(vdso);
            }
        }
        self.vdso.as_ref()
    }
}

fn clocks(vdso: &Vdso) -> Vec<ClockView> {
    let views = view(vdso).unwrap_or_default();
    views.into_iter().map(ClockView::from).collect()
}

fn describe(vdso: &Vdso) -> Value {
    let status = vdso.status();
    let clocks = clocks(vdso);
    let variables: Vec<Value> = match clocks.is_empty() {
        true => vdso
            .directory()
            .iter()
            .filter_map(|entry| {
                let value = vdso.get(entry.name).ok()?;
                Some(variable(&VariableView::from(&entry), &value))
            })
            .collect(),
        false => clocks
            .iter()
            .map(|clock| {
                let error = clock.error_ns.map(|error| error as f64);
                json!({
                    "name": clock.clock,
                    "doc": format!("source {}; the bound of its error", clock.source),
                    "unit": "ns",
                    "text": super::super::ls::error_of(clock),
                    "number": error,
                })
            })
            .collect(),
    };
    let mut all = values::status(&status);
    all["file"] = vdso.path().to_string_lossy().into();
    all["variables"] = variables.into();
    all
}

fn variable(view: &VariableView, value: &Dynamic) -> Value {
    let number = match value {
        Dynamic::Scalar(number) => Some(as_f64(number)),
        _ => None,
    };
    let text = match value {
        Dynamic::Text(text) => text.clone(),
        value => value.to_string(),
    };
    json!({
        "name": view.name,
        "unit": view.unit,
        "doc": view.doc,
        "text": text,
        "number": number,
    })
}
