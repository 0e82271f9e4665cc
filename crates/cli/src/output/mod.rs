//! Printing: text, JSON, warnings, reports and progress.
//!
//! Text goes through `anstream`, which removes styles where the output is not a terminal or NO_COLOR
//! is set. Nothing here panics. A reader that closed the pipe is not an error, since `| head -1` is a
//! usual way to end a command; a failed write is.
//!
//! Names and paths come from files and processes that other users control, so control characters in
//! them are escaped: on a terminal they could move the cursor, or change its title.

mod layout;

pub(crate) use layout::{
    BAD, BOLD, Cell, DIM, GOOD, NOTE, Side, WIDTH, nanoseconds, paragraph, styled, table,
};

use indicatif::{ProgressBar, ProgressStyle};
use miette::{Diagnostic, IntoDiagnostic, Report, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use thiserror::Error;

/// The standard output could not be written.
#[derive(Debug, Diagnostic, Error)]
#[error("the standard output could not be written")]
pub(crate) struct WriteError(#[source] io::Error);

/// Prints text that may contain styles. Returns false when the reader has closed the pipe.
pub(crate) fn show(text: &str) -> Result<bool> {
    write(&without_controls(text))
}

/// Prints a line. Returns false when the reader has closed the pipe.
pub(crate) fn line(text: impl Display) -> Result<bool> {
    show(&format!("{text}\n"))
}

/// Prints a value as one line of JSON. Returns false when the reader has closed the pipe.
pub(crate) fn json(value: &impl Serialize) -> Result<bool> {
    let text = serde_json::to_string(value).into_diagnostic()?;
    // serde_json escapes the control characters below U+0020 only. Outside of strings JSON has none.
    let mut escaped = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character.is_control() {
            // Writing to a string does not fail.
            true => _ = write!(escaped, "\\u{:04x}", u32::from(character)),
            false => escaped.push(character),
        }
    }
    escaped.push('\n');
    write(&escaped)
}

/// Draws a screen on a terminal in place of the one before, without flicker.
pub(crate) fn redraw(text: &str) -> Result<bool> {
    let text = without_controls(text);
    // Cursor to the top left; erase the rest of each line, and of the screen (ECMA-48).
    write(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")))
}

fn write(text: &str) -> Result<bool> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(WriteError(error).into()),
    }
}

/// Prints a line on the standard error. A failure is ignored: there is no other place to report it.
pub(crate) fn warn(text: impl Display) {
    let text = without_controls(&text.to_string()).into_owned() + "\n";
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Prints an error with its causes and its help on the standard error.
pub(crate) fn report(report: &Report) {
    warn(format!("{report:?}").trim_end());
    // By its text: a wrapper such as `into_diagnostic` hides the error's type.
    let limit = io::Error::from_raw_os_error(libc::EFBIG).to_string();
    let is_limit = |error: &(dyn std::error::Error + 'static)| error.to_string().contains(&limit);
    // Any write and any memfd may meet it.
    if report.chain().any(is_limit) {
        warn("vdso: the limit on the size of files is in force: `ulimit -f unlimited` raises it");
    }
}

/// A path for people: control characters and bytes that are not UTF-8 are escaped.
pub(crate) fn path(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&escaped(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A name for people: control characters, line breaks and marks that reverse the direction of the
/// text are escaped as Rust writes them.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for character in text.chars() {
        match is_unsafe(character) {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, and the explicit directional marks of Unicode's UAX #9.
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes what the output of `vdso` never contains: every control character but line breaks, tabs and the
/// sequences that select a style (ECMA-48, SGR). Messages of other crates contain paths as they are.
fn without_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        match character {
            '\n' | '\t' => clean.push(character),
            '\x1b' if is_style(&text[at..]) => clean.push(character),
            _ if is_unsafe(character) => clean.extend(character.escape_default()),
            _ => clean.push(character),
        }
    }
    Cow::Owned(clean)
}

fn is_style(text: &str) -> bool {
    text.strip_prefix("\x1b[").is_some_and(|parameters| {
        parameters
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
            .starts_with('m')
    })
}

/// A sign of work of unknown length on the standard error; nothing is drawn where that is not a
/// terminal.
#[cfg(feature = "feed")]
pub(crate) fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(std::time::Duration::from_millis(100));
    spinner
}

/// A progress bar on the standard error; nothing is drawn where that is not a terminal.
pub(crate) fn progress(length: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(what);
    match ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn names_contain_no_control_characters() {
        let path = Path::new(OsStr::from_bytes(b"a\x1b[2J\n\xff\xc2\x9b"));
        assert_eq!(super::path(path), r"a\u{1b}[2J\n\xff\u{9b}");
        assert_eq!(escaped("wind \u{202e}"), r"wind \u{202e}");
        assert_eq!(escaped("wörter"), "wörter");
    }

    #[test]
    fn text_contains_no_control_sequences_but_styles() {
        let text = without_controls("\x1b[1;31mred\x1b[0m \x1b[2J\x1b]0;title\x07\r\n\tend");
        assert_eq!(
            text,
            "\x1b[1;31mred\x1b[0m \\u{1b}[2J\\u{1b}]0;title\\u{7}\\r\n\tend"
        );
    }
}
