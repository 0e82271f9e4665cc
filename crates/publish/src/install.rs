//! Putting an image where nobody publishes.

use crate::error::Error;
use crate::file;
use crate::lock::Lock;
use crate::mapping::{Access, Mapping};
use crate::{place, replace};
use std::path::Path;

/// Puts `image` at `path` as it was built, in one step. An image that is there is
/// retired, so that whoever reads it knows that its values won't change again.
///
/// # Errors
/// [`Error::Unfit`] when another user could replace files in the directory, since programs load
/// the image from there; [`Error::Busy`] when the one that is there has a publisher, and as
/// [`crate::Publisher::create`], which keeps the values instead; a file at `path` that
/// is no vDSO is left alone.
pub fn install(path: impl AsRef<Path>, image: &[u8]) -> Result<(), Error> {
    let path = place::resolve(path.as_ref())?;
    file::examine(&path, image)?;
    if let Some(directory) = path.parent() {
        place::check_owners(directory)?;
    }
    let lock = Lock::take(&path)?;
    let result = replace(&path, image);
    lock.release();
    result
}

/// The caller holds the lock.
fn replace(path: &Path, image: &[u8]) -> Result<(), Error> {
    let old = match file::open(path, true) {
        Err(Error::Missing { .. }) => None,
        Err(error) => return Err(error),
        Ok(file) => {
            let contents = file::examine(path, &file::bytes(&file, path)?)?;
            Some(Mapping::new(&file, path, &contents, Access::Write)?)
        }
    };
    replace::New::write(path, image)?.rename(path)?;
    if let Some(old) = old {
        old.writer().header().replace();
    }
    Ok(())
}
