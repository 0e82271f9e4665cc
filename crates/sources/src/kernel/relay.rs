//! From the map that the kernel fills to the pages of the vDSO's file.

use super::{conclude, open};
use crate::Error;
use std::path::Path;
use std::time::Duration;
use vdsokit_bpf::MappedPages;
use vdsokit_publish::serve::{End, Source, Update};
use vdsokit_publish::{Error as PublishError, Publisher};
use vdsokit_vvar::header::State;

/// The source of a vDSO's file whose values the kernel publishes in a map: copies them, for
/// all that load the file.
///
/// Each value in the file is one that the kernel published, whole, and at most one period
/// late. The file's heartbeat is the kernel's own: when the kernel stops filling the map,
/// the file becomes stale.
#[derive(Debug)]
pub struct Relay {
    pages: MappedPages,
    period: Duration,
    /// Dropped last: the kernel's programs, when this process set them up.
    kernel: Option<vdsokit_bpf::Publisher>,
}

impl Relay {
    /// The publisher of the vDSO's file at `path`, and a relay to it that copies once each
    /// `period`, when another process has set up the kernel as publisher. `None` when none
    /// has, or this process can't reach the map.
    ///
    /// # Errors
    /// As [`Publisher::open`].
    pub fn open(path: &Path, period: Duration) -> Result<Option<(Publisher, Self)>, Error> {
        let Some(pages) = open(path) else {
            return Ok(None);
        };
        let file = Publisher::options()
            .stale_after(super::PATIENCE)
            .open(path)?;
        let relay = Self::new(&file, pages, period, None)?;
        Ok(Some((file, relay)))
    }

    /// Copies once, so that the file has the kernel's values when this returns.
    pub(super) fn new(
        file: &Publisher,
        pages: MappedPages,
        period: Duration,
        kernel: Option<vdsokit_bpf::Publisher>,
    ) -> Result<Self, Error> {
        let relay = Self {
            pages,
            period,
            kernel,
        };
        relay.copy(file)?;
        Ok(relay)
    }

    /// Copies what has changed: whether the kernel still publishes, and when it last did.
    fn copy(&self, file: &Publisher) -> Result<(State, u64), Error> {
        let pages = self.pages.pages().map_err(|source| PublishError::Pages {
            path: file.path().to_owned(),
            source,
        })?;
        let header = pages.header();
        // Before the values: the heartbeat says that they were up to date at that time.
        let heartbeat = (header.state(), header.updated());
        file.copy_from(pages)?;
        Ok(heartbeat)
    }
}

impl Source for Relay {
    type Error = Error;

    fn period(&self) -> Duration {
        self.period
    }

    fn update(&mut self, file: &Publisher) -> Result<Update, Error> {
        Ok(match self.copy(file)? {
            (State::Stopped, _) => Update::Retired,
            (_, updated) => Update::AsOf(updated),
        })
    }

    /// Ends the kernel's part too, when this process set it up; otherwise the kernel goes on.
    fn finish(&mut self, file: &Publisher, end: End) -> Result<(), Error> {
        match self.kernel.take() {
            Some(kernel) => conclude(kernel, end, file.path()),
            None => Ok(()),
        }
    }
}
