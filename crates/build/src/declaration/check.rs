//! The rules that a declaration keeps however it was made: read from TOML or built in Rust.

use super::error::Problem;
use super::{Kind, names};
use vdsokit_vvar::directory::MAX_STRING;
use vdsokit_vvar::layout::{MAX_VALUE, Type};

/// A unit, a doc or another text that the directory holds, found at `key`.
pub(super) fn string(key: &str, text: &str) -> Result<(), Problem> {
    if text.contains('\0') {
        return Err(Problem::Nul(key.to_owned()));
    }
    if text.len() > MAX_STRING {
        return Err(Problem::LongString {
            key: key.chars().take(40).collect(),
            bytes: text.len(),
        });
    }
    Ok(())
}

/// The name of a variable, field or function, which C code knows as `in_c`.
pub(super) fn name(name: &str, in_c: &str) -> Result<(), Problem> {
    if !names::is_identifier(name) {
        return Err(Problem::Identifier(name.to_owned()));
    }
    if names::is_keyword(in_c) {
        return Err(Problem::Keyword(in_c.to_owned()));
    }
    string(name, name)
}

/// The name of a variable whose function is called `in_c`.
pub(super) fn variable_name(variable: &str, in_c: &str) -> Result<(), Problem> {
    if names::is_function(variable) {
        return Err(Problem::Reserved(variable.to_owned()));
    }
    name(variable, in_c)
}

pub(super) fn soname(soname: &str) -> Result<(), Problem> {
    match names::is_soname(soname) {
        true => Ok(()),
        false => Err(Problem::Soname(soname.to_owned())),
    }
}

pub(super) fn version(version: &str) -> Result<(), Problem> {
    match names::is_version(version) {
        true => Ok(()),
        false => Err(Problem::Version(version.to_owned())),
    }
}

pub(super) fn prefix(prefix: &str) -> Result<(), Problem> {
    match prefix.is_empty() || names::is_identifier(prefix) {
        true => Ok(()),
        false => Err(Problem::Prefix(prefix.to_owned())),
    }
}

/// A type that messages call `name`.
pub(super) fn ty(name: &str, ty: Type) -> Result<(), Problem> {
    match ty.size() {
        0 => Err(Problem::Empty(name.to_owned())),
        size => fits(name, size),
    }
}

/// What the variable `name` consists of.
pub(super) fn kind(name: &str, kind: &Kind) -> Result<(), Problem> {
    if matches!(kind, Kind::Record(fields) if fields.is_empty()) {
        return Err(Problem::NoFields(name.to_owned()));
    }
    fits(name, kind.with_shape(|shape| shape.size()))
}

fn fits(name: &str, size: usize) -> Result<(), Problem> {
    if size > MAX_VALUE {
        let name = name.to_owned();
        return Err(Problem::TooLarge { name, size });
    }
    Ok(())
}
