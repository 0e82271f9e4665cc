//! The rig that all figures are measured with, and the table that they end in.
//!
//! Contenders take turns: A B A B …, and B A in every other round, so that what else the machine
//! does, and a change of its frequency, meets all of them alike. Two contenders are compared by
//! the median of their ratios, one ratio a round.
//!
//! A benchmark ends with [`finish`]: it prints the table and returns the exit status, which is
//! not 0 when a bound was missed. `cargo xtask figures` runs benchmarks with [`FILE`] in their
//! environment and makes one table of all.

mod turns;

pub use turns::{Turns, batch, costs, rounds, take_turns, thread_time};

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

/// Names the file that figures are appended to, in place of the table.
pub const FILE: &str = "VDSOKIT_FIGURES";

/// A figure: what was measured, and what it may be at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    name: String,
    /// Nothing when it could not be measured; the note says why.
    measured: Option<f64>,
    /// Nothing when nothing is promised.
    bound: Option<f64>,
    unit: String,
    note: String,
}

/// What became of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The figure is within it.
    Held,
    /// It is not.
    Missed,
    /// There is no bound.
    Unbounded,
    /// The figure could not be measured here.
    Skipped,
}

impl Figure {
    /// How many times as much the first takes as the second.
    pub fn ratio(
        name: impl Into<String>,
        ours: &Turns,
        peer: &Turns,
        bound: impl Into<Option<f64>>,
    ) -> Self {
        Self {
            note: format!("{:.4} and {:.4}, medians", ours.median(), peer.median()),
            ..Self::number(name, ours.ratio_to(peer), "x", bound)
        }
    }

    /// How much more the first takes than the second, as the median of the differences.
    pub fn difference(
        name: impl Into<String>,
        ours: &Turns,
        peer: &Turns,
        unit: &str,
        bound: impl Into<Option<f64>>,
    ) -> Self {
        Self {
            note: format!("{:.4} and {:.4}, medians", ours.median(), peer.median()),
            ..Self::number(name, ours.difference_to(peer), unit, bound)
        }
    }

    /// What one turn takes, as the median of turns in nanoseconds.
    pub fn time(name: impl Into<String>, turns: &Turns, bound: Option<Duration>) -> Self {
        let bound = bound.map(|bound| bound.as_nanos() as f64 / 1e3);
        Self {
            note: format!("least {:.3} us", turns.least() / 1e3),
            ..Self::number(name, turns.median() / 1e3, "us", bound)
        }
    }

    /// A number that was measured in another way.
    pub fn number(
        name: impl Into<String>,
        measured: f64,
        unit: &str,
        bound: impl Into<Option<f64>>,
    ) -> Self {
        Self {
            name: name.into(),
            measured: Some(measured),
            bound: bound.into(),
            unit: unit.to_owned(),
            note: String::new(),
        }
    }

    /// A figure that can't be measured here, for this reason.
    pub fn skipped(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            measured: None,
            bound: None,
            unit: String::new(),
            note: why.into(),
        }
    }

    /// What became of its bound.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.measured, self.bound) {
            (None, _) => Verdict::Skipped,
            (Some(_), None) => Verdict::Unbounded,
            // A number that is not one holds no bound.
            (Some(measured), Some(bound)) if measured <= bound => Verdict::Held,
            (Some(_), Some(_)) => Verdict::Missed,
        }
    }

    /// One line of a file, from which [`Figure::parse`] makes the same figure.
    fn line(&self) -> String {
        let number = |number: Option<f64>| number.map_or_else(String::new, |n| n.to_string());
        let text = |text: &str| text.replace(['\t', '\n'], " ");
        [
            text(&self.name),
            number(self.measured),
            number(self.bound),
            text(&self.unit),
            text(&self.note),
        ]
        .join("\t")
    }

    /// Reads a line that [`finish`] wrote to [`FILE`]; nothing when it is none.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let [name, measured, bound, unit, note] =
            line.split('\t').collect::<Vec<_>>().try_into().ok()?;
        let number = |text: &str| match text {
            "" => Some(None),
            text => text.parse().map(Some).ok(),
        };
        Some(Self {
            name: name.to_owned(),
            measured: number(measured)?,
            bound: number(bound)?,
            unit: unit.to_owned(),
            note: note.to_owned(),
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Held => "held",
            Self::Missed => "MISSED",
            Self::Unbounded => "-",
            Self::Skipped => "skipped",
        })
    }
}

/// The figures as a table of name, measured, bound and verdict.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let widest = figures.iter().map(|figure| figure.name.chars().count());
    let width = widest.max().unwrap_or(0).max(4);
    let mut table = format!(
        "{:width$}  {:>12}  {:>12}  verdict\n",
        "name", "measured", "bound"
    );
    for figure in figures {
        let unit = &figure.unit;
        let number = |number: Option<f64>| match number {
            Some(number) => format!("{number:.3} {unit:2}"),
            None => "-   ".to_owned(),
        };
        let (measured, bound) = (number(figure.measured), number(figure.bound));
        let verdict = figure.verdict();
        let line = format!(
            "{:width$}  {measured:>12}  {bound:>12}  {verdict:8}",
            figure.name
        );
        let note = match figure.note.as_str() {
            "" => String::new(),
            note => format!("({note})"),
        };
        table += format!("{line}{note}").trim_end();
        table.push('\n');
    }
    table
}

/// Ends a benchmark: prints the table, or appends the figures to the file that [`FILE`] names.
/// The status is that of a failure when a bound was missed.
#[must_use]
pub fn finish(figures: &[Figure]) -> ExitCode {
    let written = match std::env::var_os(FILE) {
        Some(file) => append(&file, figures),
        None => io::stdout().write_all(table(figures).as_bytes()),
    };
    if let Err(error) = written {
        eprintln!("figures: {error}");
        return ExitCode::FAILURE;
    }
    status(figures)
}

/// Failure when a bound was missed.
#[must_use]
pub fn status(figures: &[Figure]) -> ExitCode {
    let missed = |figure: &Figure| figure.verdict() == Verdict::Missed;
    ExitCode::from(u8::from(figures.iter().any(missed)))
}

fn append(file: &std::ffi::OsStr, figures: &[Figure]) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(file)?;
    for figure in figures {
        writeln!(file, "{}", figure.line())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_over_its_bound_or_without_a_number_is_missed() {
        let verdict = |measured, bound| Figure::number("a", measured, "x", bound).verdict();
        assert_eq!(verdict(1.0, Some(1.0)), Verdict::Held);
        assert_eq!(verdict(1.1, Some(1.0)), Verdict::Missed);
        assert_eq!(verdict(f64::NAN, Some(1.0)), Verdict::Missed);
        assert_eq!(verdict(1.1, None), Verdict::Unbounded);
        assert_eq!(Figure::skipped("a", "why").verdict(), Verdict::Skipped);
    }

    #[test]
    fn figures_come_back_from_their_lines() {
        let figures = [
            Figure::number("a : b", 1.25, "x", 1.5),
            Figure::number("c", 3.0, "us", None),
            Figure::skipped("d", "there is no\tsuch option"),
        ];
        for figure in figures {
            let back = Figure::parse(&figure.line()).unwrap();
            assert_eq!(back.line(), figure.line());
            assert_eq!(back.verdict(), figure.verdict());
        }
        assert_eq!(Figure::parse("no figure"), None);
    }

    #[test]
    fn the_table_has_name_measured_bound_and_verdict() {
        let table = table(&[
            Figure::number("a read", 1.25, "x", 1.0),
            Figure::skipped("b", "no counter"),
        ]);
        assert_eq!(
            table,
            "name        measured         bound  verdict\n\
             a read      1.250 x       1.000 x   MISSED\n\
             b               -             -     skipped (no counter)\n"
        );
    }
}
