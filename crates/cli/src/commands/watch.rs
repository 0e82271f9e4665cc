//! `vdso watch`: the values of a published vDSO as they change.

use super::serve::duration;
use crate::output::{self, BOLD, Cell, Side};
use crate::published::{self, Located};
use crate::signals;
use crate::values::{self, Row};
use miette::Result;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use vdsokit_publish::{Condition, Dynamic, Vdso};

/// Show the values of a published vDSO as they change
///
/// A `*` marks what changed since the line or table before. When a publisher replaces the file, the
/// new one is shown from then on. Ends when its output is closed, or after --count.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO, `system`, `clock` or `kernel`
    file: PathBuf,
    /// Variables or fields (`wind.speed`); without them all variables
    names: Vec<String>,
    /// Time between two readings
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "500ms")]
    every: Duration,
    /// End after this number of readings
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print status and values as JSON, a line for each reading; `changed` names what changed
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let located = published::locate(&arguments.file)?;
    signals::exit_on_truncation(located.path());
    let mut vdso = located.open()?;
    // Of a file that takes the place of this one.
    let successor = Located::at(located.path().to_owned());
    let redraw = std::io::stdout().is_terminal();
    let mut before: Option<HashMap<String, String>> = None;
    let mut readings = 0;
    loop {
        if vdso.status().condition == Condition::Replaced
            && vdso.is_replaced()
            && let Ok(new) = successor.open()
        {
            vdso = new;
        }
        let values = values::values_of(&vdso, &arguments.names)?;
        let is_open = if arguments.json {
            let mut snapshot = values::snapshot(&vdso, &values);
            snapshot["changed"] = values
                .iter()
                .filter(|(name, value)| has_changed(before.as_ref(), name, &value.to_string()))
                .map(|(name, _)| name.as_str())
                .collect();
            output::json(&snapshot)?
        } else {
            let table = table(&vdso, &values, before.as_ref());
            match redraw {
                true => output::redraw(&table)?,
                false => output::show(&(table + "\n"))?,
            }
        };
        readings += 1;
        if !is_open || arguments.count.is_some_and(|count| readings >= count) {
            return Ok(ExitCode::SUCCESS);
        }
        before = Some(texts(&vdso, &values, arguments.json));
        std::thread::sleep(arguments.every);
    }
}

/// The values as text: by variable for JSON, by row for tables.
fn texts(vdso: &Vdso, values: &[(String, Dynamic)], by_variable: bool) -> HashMap<String, String> {
    if by_variable {
        let texts = values.iter();
        return texts
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
    }
    let rows = values.iter().flat_map(|(name, value)| {
        let rows = Row::of(vdso, name, value).into_iter();
        rows.map(move |row| (format!("{name}{}", row.name), row.value))
    });
    rows.collect()
}

fn has_changed(before: Option<&HashMap<String, String>>, key: &str, value: &str) -> bool {
    before.is_some_and(|before| before.get(key).is_none_or(|old| old != value))
}

fn table(
    vdso: &Vdso,
    values: &[(String, Dynamic)],
    before: Option<&HashMap<String, String>>,
) -> String {
    let mut rows = vec![
        ["", "variable", "type", "unit", "value"]
            .map(Cell::new)
            .to_vec(),
    ];
    for (name, value) in values {
        for row in Row::of(vdso, name, value) {
            let changed = has_changed(before, &format!("{name}{}", row.name), &row.value);
            let (mark, value) = match changed {
                true => ("*", Cell::styled(BOLD, row.value)),
                false => ("", Cell::new(row.value)),
            };
            rows.push(vec![
                Cell::new(mark),
                Cell::new(row.name),
                Cell::new(row.ty),
                Cell::new(row.unit),
                value,
            ]);
        }
    }
    let path = output::path(vdso.path());
    let sides = [Side::Left, Side::Left, Side::Left, Side::Left, Side::Value];
    format!(
        "{path}: {}\n\n{}",
        vdso.status(),
        output::table(&sides, 0, &rows)
    )
}
