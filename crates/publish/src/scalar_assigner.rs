//! Assigning text to one scalar again and again.

use crate::dynamic::{Number, type_of};
use crate::error::Error;
use crate::publisher::Inner;
use crate::{find, raw};
use std::fmt;
use std::sync::Arc;
use vdsokit_vvar::directory::Entry;
use vdsokit_vvar::scalar::ScalarType;

/// A handle that assigns text to one scalar, as [`Publisher::assign`](crate::Publisher::assign) does.
///
/// May be cloned and sent to other threads: each assignment is one atomic store, release.
#[derive(Clone)]
pub struct ScalarAssigner {
    inner: Arc<Inner>,
    name: Box<str>,
    offset: usize,
    ty: ScalarType,
}

impl ScalarAssigner {
    pub(crate) fn new(inner: &Arc<Inner>, entry: &Entry<'_>) -> Result<Self, Error> {
        let ty = raw::scalar(entry).ok_or_else(|| Error::Mismatch {
            path: inner.path.clone(),
            name: entry.name.to_owned(),
            found: type_of(entry),
            wanted: "a scalar".into(),
        })?;
        match raw::read(inner.mapping.pages(), entry) {
            Some(_) => Ok(Self {
                inner: inner.clone(),
                name: entry.name.into(),
                offset: entry.offset,
                ty,
            }),
            None => Err(find::outside(&inner.path, entry.name)),
        }
    }

    /// Parses the text as a value of the variable's type, and writes it.
    ///
    /// # Errors
    /// [`Error::Value`]; then nothing was written.
    pub fn assign(&self, text: &str) -> Result<(), Error> {
        let number = Number::parse(self.ty, text).map_err(|why| Error::Value {
            name: self.name.to_string(),
            text: text.to_owned(),
            ty: self.ty.name().to_owned(),
            why,
        })?;
        let writer = self.inner.mapping.writer();
        // The constructor has read it there.
        raw::store(&writer, self.offset, self.ty, number.to_bits())
            .ok_or_else(|| find::outside(&self.inner.path, &self.name))
    }
}

impl fmt::Debug for ScalarAssigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarAssigner")
            .field("path", &self.inner.path)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
