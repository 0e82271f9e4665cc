//! Looking up variables by name and type.

use crate::dynamic::{describe, type_of};
use crate::error::Error;
use crate::file::foreign;
use std::path::Path;
use vdsokit_vvar::directory::{Directory, Entry, Variable};
use vdsokit_vvar::layout::{Shape, Type};
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// The number of names that an error lists.
const LISTED: usize = 12;

/// The variable `name`.
pub(crate) fn named<'d>(
    directory: Directory<'d>,
    path: &Path,
    name: &str,
) -> Result<Entry<'d>, Error> {
    directory.find(name).ok_or_else(|| Error::Unknown {
        path: path.to_owned(),
        name: name.to_owned(),
        help: names(directory),
    })
}

fn names(directory: Directory<'_>) -> String {
    let mut names: Vec<&str> = directory.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    match names.len() {
        0 => "it has no variables at all".into(),
        all if all <= LISTED => format!("it has {}", names.join(", ")),
        all => format!(
            "it has {all} variables, {} … among them; `vdso get` shows all",
            names[..LISTED].join(", ")
        ),
    }
}

/// The scalar `name`, which must be a `T`.
pub(crate) fn scalar<'d, T: Scalar>(
    directory: Directory<'d>,
    path: &Path,
    name: &str,
) -> Result<Entry<'d>, Error> {
    shaped(directory, path, name, &Shape::Plain(Type::Scalar(T::TYPE)))
}

/// The latched variable `name`, which must be a `T`.
pub(crate) fn value<'d, T: Value>(
    directory: Directory<'d>,
    path: &Path,
    name: &str,
) -> Result<Entry<'d>, Error> {
    shaped(directory, path, name, &T::SHAPE)
}

fn shaped<'d>(
    directory: Directory<'d>,
    path: &Path,
    name: &str,
    shape: &Shape<'_>,
) -> Result<Entry<'d>, Error> {
    let entry = named(directory, path, name)?;
    if entry.is(shape) {
        return Ok(entry);
    }
    Err(Error::Mismatch {
        path: path.to_owned(),
        name: name.to_owned(),
        found: type_of(&entry),
        wanted: match shape {
            Shape::Plain(ty) => ty.to_string(),
            Shape::Record(fields) => describe(fields.iter().copied()),
        },
    })
}

/// See [`crate::Vdso::expect`].
pub(crate) fn expect(
    directory: Directory<'_>,
    path: &Path,
    layout: u64,
    variables: &[Variable<'_>],
) -> Result<(), Error> {
    if directory.layout_after(variables.len()) == Some(layout) {
        return Ok(());
    }
    variables.iter().try_for_each(|variable| {
        shaped(directory, path, variable.name, &variable.shape).map(|_| ())
    })
}

/// The error for a directory with an offset outside the pages.
pub(crate) fn outside(path: &Path, name: &str) -> Error {
    foreign(path, format!("`{name}` is outside its pages"))
}
