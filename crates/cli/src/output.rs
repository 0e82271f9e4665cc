//! What commands print: columns and paragraphs that fit [`WIDTH`], JSON, a bar while it lasts.
//!
//! Printed through `anstream`, which takes the styles away where nobody would see them: not on a
//! terminal, or with NO_COLOR set.

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, Result};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Columns of a terminal that everything fits into.
pub(crate) const WIDTH: usize = 80;

/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters least.
pub(crate) const DIM: Style = Style::new().dimmed();
/// All is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Worth a look.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
/// Not well.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Text in a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Left,
    Right,
}

/// A cell: its text, and the style that it is printed in.
#[derive(Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::styled(Style::new(), text)
    }

    pub(crate) fn styled(style: Style, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

/// Rows in columns, two spaces apart and each row behind so many spaces. The first row is the
/// heading. What of the last column doesn't fit is cut off.
pub(crate) fn table(sides: &[Side], indent: usize, rows: &[Vec<Cell>]) -> String {
    let widths: Vec<usize> = (0..sides.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut lines = String::new();
    for (number, row) in rows.iter().enumerate() {
        lines.push_str(&" ".repeat(indent));
        let mut at = indent;
        let last = row.len().saturating_sub(1);
        for (column, ((cell, side), width)) in row.iter().zip(sides).zip(&widths).enumerate() {
            let style = if number == 0 { BOLD } else { cell.style };
            let text = if column == last {
                cut(&cell.text, WIDTH.saturating_sub(at))
            } else {
                cell.text.clone()
            };
            let gap = " ".repeat(width.saturating_sub(text.chars().count()));
            let text = styled(style, &text);
            match side {
                Side::Left if column == last => lines.push_str(&text),
                Side::Left => lines.push_str(&format!("{text}{gap}  ")),
                Side::Right if column == last => lines.push_str(&format!("{gap}{text}")),
                Side::Right => lines.push_str(&format!("{gap}{text}  ")),
            }
            at += width + 2;
        }
        lines.push('\n');
    }
    lines
}

/// At most so many characters, the last of which says that there were more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}\u{2026}")
}

/// Breaks a text into lines that fit [`WIDTH`] behind so many spaces. A word that is longer than
/// a line, such as a path that someone has to copy, stays whole.
pub(crate) fn paragraph(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut lines = vec![];
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && indent + length > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    let lines: Vec<String> = lines.iter().map(|line| format!("{margin}{line}")).collect();
    lines.join("\n")
}

/// Prints text. That nobody reads it any more is no error.
pub(crate) fn show(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).into_diagnostic(),
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub(crate) fn show_json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).into_diagnostic()?;
    text.push('\n');
    show(&text)
}

/// A bar on standard error; nothing is drawn where that is no terminal.
pub(crate) fn progress(length: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(what);
    match ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Nanoseconds in four significant digits or fewer.
pub(crate) fn nanoseconds(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value < 99.95 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_fit() {
        let text = "word ".repeat(100) + &"x".repeat(90);
        let broken = paragraph(&text, 4);
        let (words, long): (Vec<&str>, Vec<&str>) =
            broken.lines().partition(|line| line.contains("word"));
        assert!(words.iter().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(long.len(), 1);
        assert_eq!(broken.split_whitespace().count(), 101);
    }

    #[test]
    fn tables_fit() {
        let rows = [
            vec![Cell::new("a"), Cell::new("heading")],
            vec![Cell::styled(BAD, "left"), Cell::new("x".repeat(90))],
        ];
        let table = table(&[Side::Right, Side::Left], 2, &rows);
        let plain = anstream::adapter::strip_str(&table).to_string();
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines[0], "     a  heading");
        assert_eq!(lines[1].chars().count(), WIDTH);
        assert!(lines[1].starts_with("  left  xxx") && lines[1].ends_with('\u{2026}'));
    }

    #[test]
    fn nanoseconds_have_few_digits() {
        assert_eq!(nanoseconds(Some(31.24)), "31.2");
        assert_eq!(nanoseconds(Some(99.96)), "100");
        assert_eq!(nanoseconds(None), "-");
    }
}
