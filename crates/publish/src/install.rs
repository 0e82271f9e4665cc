//! Installing an image that no process publishes.

use crate::error::Error;
use crate::lock::Lock;
use crate::open::Existing;
use crate::{file, place, replace};
use std::path::Path;

/// Puts `image` at `path` as it was built, in one step. An image that was there is marked
/// as replaced, so that its readers know to open the path again. A file of the same image that
/// has a publisher is left as it is.
///
/// # Errors
/// [`Error::Unfit`] when another user could replace files in the directory, since programs
/// load the image from there; [`Error::Busy`] when the existing file of another image has a publisher; and as
/// [`crate::Publisher::create`], which keeps the values instead. A file at `path` that is
/// not a vDSO is left alone.
pub fn install(path: impl AsRef<Path>, image: &[u8]) -> Result<(), Error> {
    let (directory, name) = place::split(path.as_ref())?;
    let path = directory.join(&name);
    let contents = file::examine(&path, image)?;
    let dir = place::open_for_install(&directory)?;
    let lock = Lock::take(&dir, &name);
    let old = Existing::open(&dir, &name)?;
    let claimed = lock.and_then(|lock| {
        old.as_ref().map_or(Ok(()), Existing::claim)?;
        Ok(lock)
    });
    let _lock = match claimed {
        Err(Error::Busy { .. }) if old.as_ref().is_some_and(|old| old.is(image, &contents)) => {
            return Ok(());
        }
        claimed => claimed?,
    };
    let replaced = old.as_ref().map(|old| &old.file);
    replace::New::write(&dir, &name, image, replaced)?.rename()?;
    if let Some(old) = old {
        old.mapping.header().replace();
    }
    Ok(())
}
