//! The kernel's own clocks, to the nanosecond.

use super::{Kernel, Started, conclude, start_with};
use crate::Error;
use std::path::Path;
use vdsokit_bpf::{Content, KernelVariable, MappedPages};
use vdsokit_clock::Clock;
use vdsokit_clock::page::{record_name, source_name};
use vdsokit_publish::Publisher;
use vdsokit_publish::serve::End;
use vdsokit_vvar::header::State;

/// Makes `kernel` publish its clocks in a clock `image`: at each tick, the coefficients that
/// it writes for its own vDSO, so that both show the same time to the nanosecond. Where the
/// kernel's own vDSO can't read the CPU's counter, the records send readers to the kernel.
///
/// # Errors
/// As [`start`](super::start); [`Error::Unbound`] when it is no clock image.
pub fn start_clock(kernel: &Kernel, image: &[u8]) -> Result<Started, Error> {
    start_with(kernel, image, |directory| {
        let place = |name: &'static str| {
            let entry = directory.find(name);
            let entry = entry.ok_or_else(|| Error::Unbound { name: name.into() })?;
            Ok::<_, Error>(entry.offset)
        };
        let clock = |clock: Clock| {
            let name = record_name(clock.id());
            let source = place(source_name(clock.id()))?;
            Ok(KernelVariable {
                name: name.to_owned(),
                offset: place(name)?,
                content: Content::Clock(Box::new(kernel.timeline(clock, source)?)),
                events: Vec::new(),
            })
        };
        Clock::ALL.into_iter().map(clock).collect()
    })
}

/// The kernel's timekeeper, publishing under the name of a clock's file.
///
/// The map is for programs to which it is delivered at exec. The file's own pages are no copy of
/// it: they send readers to the kernel's own vDSO in the same process, which shows the same time.
/// A copy that is some milliseconds late could step back.
#[derive(Debug)]
pub struct Timekeeper {
    kernel: vdsokit_bpf::Publisher,
    pages: MappedPages,
}

impl Started {
    /// Gives the map a name beside `file`, in which this process publishes source `kernel`. A
    /// kernel that publishes there already is retired.
    ///
    /// # Errors
    /// As [`Started::serve`].
    pub fn beside(mut self, file: &Publisher) -> Result<Timekeeper, Error> {
        self.name(file.path())?;
        let pages = self.publisher.mapping()?;
        Ok(Timekeeper {
            kernel: self.publisher,
            pages,
        })
    }
}

impl Timekeeper {
    /// Whether the kernel was retired, by `vdso retire` or another publisher.
    pub(crate) fn is_retired(&self) -> bool {
        let state = self.pages.pages().map(|pages| pages.header().state());
        matches!(state, Ok(State::Stopped))
    }

    /// Ends the kernel's part when the publisher of the file at `path` ends.
    pub(crate) fn conclude(self, end: End, path: &Path) -> Result<(), Error> {
        conclude(self.kernel, end, path)
    }
}
