//! From the map that the kernel fills to the pages of the vDSO's file.

use super::{PATIENCE, conclude, open};
use crate::error::Error;
use crate::publisher::Publisher;
use crate::raw;
use crate::serve::{End, Serve, is_stopped};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use vdsokit_bpf::Mapping;
use vdsokit_vvar::header::State;
use vdsokit_vvar::pages::PagesError;

/// Copies the kernel's values to a vDSO's file, for all that load it.
///
/// Each value in the file is one that the kernel published, whole, and at most the time
/// between two copies late. The file's sign of life is the kernel's own: when the map falls
/// silent, so does the file.
pub struct Relay {
    file: Publisher,
    pages: Mapping,
    /// Dropped last: the kernel's programs, when this process set them up.
    kernel: Option<vdsokit_bpf::Publisher>,
}

impl Relay {
    /// Relays to the vDSO at `path`, where a kernel publishes that somebody else has set up.
    /// `None` when there is none that this process can reach.
    ///
    /// # Errors
    /// As [`Publisher::open`].
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        match open(path) {
            Some(pages) => Self::new(Publisher::open(path)?, pages, None).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn new(
        file: Publisher,
        pages: Mapping,
        kernel: Option<vdsokit_bpf::Publisher>,
    ) -> Result<Self, Error> {
        let relay = Self {
            file,
            pages,
            kernel,
        };
        relay.copy().map_err(|source| Error::Pages {
            path: relay.file.path().to_owned(),
            source,
        })?;
        Ok(relay)
    }

    /// The vDSO's file.
    #[must_use]
    pub fn file(&self) -> &Publisher {
        &self.file
    }

    /// The map's number, as bpftool(8) shows it.
    #[must_use]
    pub fn map(&self) -> Option<u32> {
        self.pages.id().ok()
    }

    /// Copies what has changed.
    fn copy(&self) -> Result<State, PagesError> {
        let pages = self.pages.pages()?;
        let header = pages.header();
        // Before the values: a sign of life says that they were up to date then.
        let (state, updated) = (header.state(), header.updated());
        for entry in self.file.directory().iter() {
            // The directory is checked against the file's pages, and the map's layout is
            // the same: both have the variable.
            if let Some(bytes) = raw::read(pages, &entry) {
                self.file.store(&entry, &bytes);
            }
        }
        self.file.header().beat(updated);
        Ok(state)
    }

    /// Copies, `every` so often, until the end; then the file is retired. When this process
    /// set the kernel up, that ends too; otherwise the kernel goes on.
    ///
    /// # Errors
    /// When the kernel can't be waited for, or be told to end.
    pub fn run(self, stop: BorrowedFd<'_>, every: Duration) -> Result<End, Error> {
        self.file.stale_after(Serve::patience(every).max(PATIENCE));
        let failed = |error: Errno| Error::io("relay to", self.file.path(), error);
        let mut next = Instant::now();
        let end = loop {
            let state = self.copy().map_err(|source| Error::Pages {
                path: self.file.path().to_owned(),
                source,
            })?;
            if state == State::Retired {
                break End::Retired;
            }
            if self.file.is_displaced() {
                break End::Displaced;
            }
            let now = Instant::now();
            // What has been missed is not made up for.
            next = (next + every).max(now);
            if is_stopped(stop, next - now).map_err(failed)? {
                break End::Stopped;
            }
        };
        if let Some(kernel) = self.kernel {
            conclude(kernel, end, self.file.path())?;
        }
        self.file.retire();
        Ok(end)
    }
}
