//! Computes the bytes of whole values from assignments, before anything is written.

use crate::assign::Assignment;
use crate::dynamic;
use crate::error::Error;
use crate::mapped_vvar::MappedVvar;
use crate::{find, raw};
use std::path::Path;
use vdsokit_vvar::directory::Kind;

/// A whole value to be written.
pub(crate) struct Change {
    /// The variable's index.
    pub(crate) index: usize,
    /// The value's bytes in memory.
    pub(crate) bytes: Vec<u8>,
}

/// Checks `assignments` and computes the values to write. Fields that are not assigned keep
/// their current values. Nothing is written.
pub(crate) fn plan(
    mapping: &MappedVvar,
    path: &Path,
    assignments: &[Assignment],
) -> Result<Vec<Change>, Error> {
    let directory = mapping.directory();
    let mut changes: Vec<Change> = Vec::new();
    for assignment in assignments {
        let entry = find::named(directory, path, &assignment.name)?;
        let invalid = |ty: String, why: String| Error::Value {
            name: match &assignment.field {
                Some(field) => format!("{}.{field}", assignment.name),
                None => assignment.name.clone(),
            },
            text: assignment.value.clone(),
            ty,
            why,
        };
        let (ty, offset) = match (&entry.kind, &assignment.field) {
            (Kind::Plain(ty), None) => (*ty, 0),
            (Kind::Plain(ty), Some(_)) => {
                return Err(invalid(ty.to_string(), "it has no fields".into()));
            }
            (Kind::Record(fields), Some(name)) => fields
                .clone()
                .find(|field| field.name == *name)
                .map(|field| (field.ty, field.offset))
                .ok_or_else(|| invalid(dynamic::type_of(&entry), "it has no such field".into()))?,
            (Kind::Record(_), None) => {
                return Err(invalid(
                    dynamic::type_of(&entry),
                    "it is a record: assign its fields, `name.field=value`".into(),
                ));
            }
        };
        let bytes =
            dynamic::encode(ty, &assignment.value).map_err(|why| invalid(ty.to_string(), why))?;
        let planned = changes
            .iter()
            .position(|change| change.index == entry.index);
        let at = match planned {
            Some(at) => at,
            None => {
                changes.push(Change {
                    index: entry.index,
                    bytes: raw::read(mapping.pages(), &entry)
                        .ok_or_else(|| find::outside(path, entry.name))?,
                });
                changes.len() - 1
            }
        };
        changes[at].bytes[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    Ok(changes)
}
