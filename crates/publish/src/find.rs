//! Looking up variables by name and type.

use crate::dynamic::{describe, type_of};
use crate::error::Error;
use crate::file::foreign;
use std::path::Path;
use vdsokit_vvar::directory::{Directory, Entry, Variable};
use vdsokit_vvar::layout::{Shape, Type};
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// The largest number of names that an error lists.
const LISTED: usize = 12;

/// Finds the variable `name`.
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

/// The hint that lists the names of a directory.
fn names(directory: Directory<'_>) -> String {
    let mut names: Vec<&str> = directory.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    match names.len() {
        0 => "it has no variables".into(),
        all if all <= LISTED => format!("it has {}", names.join(", ")),
        all => format!(
            "it has {all} variables, such as {}; `vdso get` lists all of them",
            names[..LISTED].join(", ")
        ),
    }
}

/// Finds the scalar `name`, which must be a `T`.
pub(crate) fn scalar<'d, T: Scalar>(
    directory: Directory<'d>,
    path: &Path,
    name: &str,
) -> Result<Entry<'d>, Error> {
    entry_of_shape(directory, path, name, &Shape::Plain(Type::Scalar(T::TYPE)))
}

/// Finds the latched variable `name`, which must be a `T`.
pub(crate) fn value<'d, T: Value>(
    directory: Directory<'d>,
    path: &Path,
    name: &str,
) -> Result<Entry<'d>, Error> {
    entry_of_shape(directory, path, name, &T::SHAPE)
}

/// Finds the variable `name`, which must have this shape.
fn entry_of_shape<'d>(
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

/// Checks the layout that a program was built against: see [`crate::Vdso::expect`].
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
        entry_of_shape(directory, path, variable.name, &variable.shape).map(|_| ())
    })
}

/// The error for a directory with an offset outside the pages.
pub(crate) fn outside(path: &Path, name: &str) -> Error {
    foreign(path, format!("`{name}` is outside its pages"))
}
