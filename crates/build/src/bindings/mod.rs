//! Typed modules that read a vDSO from other languages.
//!
//! There is one model of a declaration ([`model`]), a [`Language`] for each language with its
//! names of types and its rules for identifiers ([`languages`]), and a template for each
//! generated file. A template can write letters, digits and `_.+-` of the model as they are.
//! Everything else, such as a doc, is an error unless it went through one of the filters here,
//! which make it fit for a comment or a string of that language: no template can forget to.
//! The filter `code` is for expressions that a template itself put together.
//!
//! Blanks before a tag that begins a line are removed, and so is a line end behind a tag. A line of the
//! module whose indentation means something therefore doesn't begin with a tag.

mod languages;
mod model;

use crate::declaration::Declaration;
use crate::output::{OutputError, write_file};
use crate::text::comment_lines;
use languages::{LANGUAGES, Language};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use std::path::{Path, PathBuf};

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its path below the directory of all bindings.
    pub path: PathBuf,
    /// Its contents.
    pub text: String,
}

/// The modules of `declaration` for every language for which there are templates: each in a directory
/// that is named after the language.
#[must_use]
pub fn bindings(declaration: &Declaration) -> Vec<Binding> {
    LANGUAGES
        .iter()
        .flat_map(|language| files(declaration, language))
        .collect()
}

/// Writes the modules of `declaration` below `directory` and returns their paths.
///
/// # Errors
/// [`OutputError`] names the file.
pub fn write_bindings(
    declaration: &Declaration,
    directory: &Path,
) -> Result<Vec<PathBuf>, OutputError> {
    write(bindings(declaration), directory)
}

/// As [`write_bindings`], for the functions of a library that keeps its values elsewhere than in pages of its file:
/// the languages whose modules call the library's functions, which are all but Go and Rust.
///
/// # Errors
/// [`OutputError`] names the file.
pub fn write_loader_bindings(
    declaration: &Declaration,
    directory: &Path,
) -> Result<Vec<PathBuf>, OutputError> {
    let languages = LANGUAGES.iter().filter(|language| !language.maps_pages);
    let bindings = languages.flat_map(|language| files(declaration, language));
    write(bindings.collect(), directory)
}

fn write(bindings: Vec<Binding>, directory: &Path) -> Result<Vec<PathBuf>, OutputError> {
    let mut written = Vec::new();
    for binding in bindings {
        let path = directory.join(&binding.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|source| OutputError {
                path: parent.to_owned(),
                source,
            })?;
        }
        write_file(&path, binding.text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

fn files(declaration: &Declaration, language: &Language) -> Vec<Binding> {
    let module = model::module(declaration, language);
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_formatter(write_checked);
    // What a macro writes has gone through the formatter: with any kind of escaping it is safe.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("code"));
    environment.add_filter("code", |own: &str| Value::from_safe_string(own.to_owned()));
    environment.add_filter("comment", comment);
    environment.add_filter("docstring", docstring);
    environment.add_filter("rust_string", rust_string);
    let file = |(path, template): &(&str, &str)| {
        let render = |template: &str| {
            environment
                .render_str(template, &module)
                .unwrap_or_else(|error| panic!("a template of {}: {error:#}", language.name))
        };
        Binding {
            path: Path::new(language.name).join(render(path)),
            text: render(template),
        }
    };
    language.files.iter().map(file).collect()
}

/// Refuses text that no filter made safe, unless it cannot end a token of any language.
fn write_checked(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let is_plain = |text: &str| {
        text.chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "_.+-".contains(letter))
    };
    let text = value
        .as_str()
        .filter(|text| !value.is_safe() && !is_plain(text));
    if let Some(text) = text {
        let message = format!("{text:?} reached the output without a filter");
        return Err(Error::new(ErrorKind::BadEscape, message));
    }
    write!(out, "{value}").map_err(|_| ErrorKind::WriteFailure.into())
}

/// The lines of `text`, with `prefix` before each but the first.
fn comment(text: &str, prefix: &str) -> Value {
    let lines: Vec<String> = comment_lines(text)
        .iter()
        .map(|line| line.trim().to_owned())
        .collect();
    let joined = lines.join(&format!("\n{prefix}"));
    let trimmed: Vec<&str> = joined.lines().map(str::trim_end).collect();
    Value::from_safe_string(trimmed.join("\n"))
}

/// As [`comment`], inside of a string in `"""` (Python).
fn docstring(text: &str, prefix: &str) -> Value {
    let text = comment(text, prefix).to_string();
    Value::from_safe_string(text.replace('"', "\\\""))
}

/// A string literal of Rust.
fn rust_string(text: &str) -> Value {
    Value::from_safe_string(format!("{text:?}"))
}
