//! The post-link check: every image passes it before it leaves this crate.

use miette::Diagnostic;
use std::fmt;
use thiserror::Error;
use vdsokit_elf::check::{Finding, Profile, check};
use vdsokit_elf::{Image, ParseError};
use vdsokit_vvar::directory::{Directory, Malformed};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_NAME};

/// Why a file is not an image that vdsokit publishes or delivers.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Unsound {
    /// It is not an ELF image.
    #[error("this is not a vDSO: {0}")]
    #[diagnostic(help("name the image itself, a file such as libweather.so.1"))]
    Parse(#[from] ParseError),
    /// It breaks rules for the shape of an image.
    #[error("the image breaks {}", count(.0))]
    #[diagnostic(help("{}", list(.0)))]
    Shape(Vec<Finding>),
    /// The directory is malformed.
    #[error("the image's note cannot be read: {0}")]
    #[diagnostic(help("build the image again with this version of vdso"))]
    Directory(#[from] Malformed),
    /// It has no directory.
    #[error("the image has no directory, so its variables are unknown")]
    #[diagnostic(help("build it with `vdso build`"))]
    NoDirectory,
}

fn count(findings: &[Finding]) -> String {
    match findings.len() {
        1 => "a rule".to_owned(),
        count => format!("{count} rules"),
    }
}

fn list(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        // Writing to a string does not fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{finding}\n"));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Checks an image that vdsokit built: its shape by every rule of
/// [`vdsokit_elf::check`], and its directory.
///
/// # Errors
/// [`Unsound`] says what is wrong and where.
pub fn verify(bytes: &[u8]) -> Result<(), Unsound> {
    let image = Image::parse(bytes)?;
    let findings = check(&image, Profile::Own);
    if !findings.is_empty() {
        return Err(Unsound::Shape(findings));
    }
    directory(&image)?;
    Ok(())
}

/// The directory of an image.
///
/// # Errors
/// [`Unsound::NoDirectory`] and [`Unsound::Directory`].
pub fn directory<'a>(image: &Image<'a>) -> Result<Directory<'a>, Unsound> {
    let note = image
        .notes()
        .find(|note| note.kind == NOTE_DIRECTORY && note.name.to_str() == Some(NOTE_NAME))
        .ok_or(Unsound::NoDirectory)?;
    Ok(Directory::parse(note.desc)?)
}
