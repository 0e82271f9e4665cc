//! Columns and paragraphs that fit [`WIDTH`].

use super::escaped;
use anstyle::{AnsiColor, Style};
use std::io::IsTerminal;

/// The columns of the narrowest terminal that is supported.
pub(crate) const WIDTH: usize = 80;

/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// Secondary text.
pub(crate) const DIM: Style = Style::new().dimmed();
/// A good result.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// A result that deserves attention.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
/// A bad result.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Text in a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// How the cells of a column are aligned.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    Left,
    Right,
    /// Left, for values: printed whole where the output is not a terminal, and with at least
    /// [`MIN_VALUE`] characters where it is.
    Value,
}

/// The least width of a column of values.
const MIN_VALUE: usize = 20;

/// A cell: its text with control characters escaped, and its style.
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
            text: escaped(&text.into()).into_owned(),
            style,
        }
    }
}

/// Lays rows out in columns two spaces apart, each row indented by `indent` spaces. The first row is
/// the heading. Cells of the last column are cut at [`WIDTH`].
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
            let room = WIDTH.saturating_sub(at);
            let text = match side {
                _ if column != last => cell.text.clone(),
                Side::Left | Side::Right => cut(&cell.text, room),
                Side::Value if std::io::stdout().is_terminal() => {
                    cut(&cell.text, room.max(MIN_VALUE))
                }
                Side::Value => cell.text.clone(),
            };
            let gap = " ".repeat(width.saturating_sub(text.chars().count()));
            let text = styled(style, &text);
            match side {
                Side::Left | Side::Value if column == last => lines.push_str(&text),
                Side::Left | Side::Value => lines.push_str(&format!("{text}{gap}  ")),
                Side::Right if column == last => lines.push_str(&format!("{gap}{text}")),
                Side::Right => lines.push_str(&format!("{gap}{text}  ")),
            }
            at += width + 2;
        }
        lines.push('\n');
    }
    lines
}

/// Cuts a text to `width` characters, of which the last is `…` when it was longer.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}\u{2026}")
}

/// Breaks a text into lines that fit [`WIDTH`], each indented by `indent` spaces. A word that is
/// longer than a line stays whole, so that a path can be copied.
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

/// Nanoseconds with at most four significant digits.
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
