//! From assignments to the bytes of whole values, before anything is written.

use crate::assign::Assignment;
use crate::dynamic;
use crate::error::Error;
use crate::publisher::{Inner, Turn};
use crate::{find, raw};
use std::sync::Arc;
use vdsokit_vvar::directory::Kind;

/// A whole value to be written, and the right to write it.
pub(crate) struct Change {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    _turn: Option<Turn>,
}

/// What `assignments` come to. Fields that are not assigned keep their values.
pub(crate) fn plan(inner: &Arc<Inner>, assignments: &[Assignment]) -> Result<Vec<Change>, Error> {
    let directory = inner.mapping.directory();
    let mut changes: Vec<Change> = Vec::new();
    for assignment in assignments {
        let entry = find::named(directory, &inner.path, &assignment.name)?;
        let wrong = |ty: String, why: String| Error::Value {
            name: match &assignment.field {
                Some(field) => format!("{}.{field}", assignment.name),
                None => assignment.name.clone(),
            },
            text: assignment.value.clone(),
            ty,
            why,
        };
        let place = match (&entry.kind, &assignment.field) {
            (Kind::Plain(ty), None) => (*ty, 0),
            (Kind::Plain(ty), Some(_)) => {
                return Err(wrong(ty.to_string(), "it has no fields".into()));
            }
            (Kind::Record(fields), Some(name)) => fields
                .clone()
                .find(|field| field.name == *name)
                .map(|field| (field.ty, field.offset))
                .ok_or_else(|| wrong(dynamic::type_of(&entry), "it has no such field".into()))?,
            (Kind::Record(_), None) => {
                return Err(wrong(
                    dynamic::type_of(&entry),
                    "it is a record: assign its fields, `name.field=value`".into(),
                ));
            }
        };
        let (ty, offset) = place;
        let bytes =
            dynamic::encode(ty, &assignment.value).map_err(|why| wrong(ty.to_string(), why))?;
        let known = changes
            .iter()
            .position(|change| change.name == assignment.name);
        let at = match known {
            Some(at) => at,
            None => {
                let turn = if entry.is_latched() {
                    Some(inner.take(&entry)?)
                } else {
                    None
                };
                changes.push(Change {
                    index: entry.index,
                    name: assignment.name.clone(),
                    bytes: raw::read(inner.mapping.pages(), &entry)
                        .ok_or_else(|| find::outside(&inner.path, entry.name))?,
                    _turn: turn,
                });
                changes.len() - 1
            }
        };
        changes[at].bytes[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    Ok(changes)
}
