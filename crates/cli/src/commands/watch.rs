//! `vdso watch`: the values of a published vDSO as they change.

use super::serve::duration;
use crate::published;
use crate::start::ExitCode;
use miette::Result;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
use vdsokit_publish::{Condition, Vdso, type_of};

/// Show the values of a published vDSO as they change
///
/// When another file takes its place, that one is shown from then on. Ends when nobody
/// reads the output any more, or after --count.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSO, `system`, or `kernel`
    file: PathBuf,
    /// Variables, or fields (`wind.speed`); all variables when none is named
    names: Vec<String>,
    /// Time between looks
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "500ms")]
    every: Duration,
    /// End after so many looks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print status and values as JSON, a line for each look
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = published::path(&arguments.file)?;
    let mut vdso = published::open(&path)?;
    let redraw = std::io::stdout().is_terminal();
    let mut looks = 0;
    loop {
        if vdso.status().condition == Condition::Replaced
            && vdso.is_replaced()
            && let Ok(new) = published::open(&path)
        {
            vdso = new;
        }
        let open = if arguments.json {
            published::line(published::snapshot(&vdso, &arguments.names)?)?
        } else {
            let table = table(&vdso, &arguments.names)?;
            // Home, the table, and clear what is left below it.
            published::line(match redraw {
                true => format!("\x1b[H{}\x1b[J", table.replace('\n', "\x1b[K\n")),
                false => table,
            })?
        };
        looks += 1;
        if !open || arguments.count.is_some_and(|count| looks >= count) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(arguments.every);
    }
}

fn table(vdso: &Vdso, names: &[String]) -> Result<String> {
    let values = published::values_of(vdso, names)?;
    let width = values.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut table = format!("{}: {}\n", vdso.path().display(), vdso.status());
    for (name, value) in values {
        let variable = name.split('.').next().unwrap_or_default();
        let entry = vdso.directory().find(variable);
        let (unit, ty) = entry.map_or_else(Default::default, |entry| {
            (entry.unit.to_owned(), type_of(&entry))
        });
        let value = value.to_string();
        // Writing to a string does not fail.
        let _ = write!(table, "\n{name:width$}  {value:>20} {unit:6} {ty}");
    }
    Ok(table)
}
