//! The pages: records for the programs, and the state behind them for the next publisher.
//!
//! | bytes | what | mapped by programs |
//! | --- | --- | --- |
//! | 0 .. | the vvar pages of the image: header, and a record for each clock | read-only |
//! | behind, a page | the state: a latch of [`State::WORDS`] words | no |
//! | behind that, a page | the [`Board`] | no |

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use vdsokit_clock::page::{RECORD_SIZE, record_offset, source_offset};
use vdsokit_clock::{Clock, Moment, Record, Source, VirtualTime};
use vdsokit_elf::Image;
use vdsokit_vvar::PAGE_SIZE;
use vdsokit_vvar::header::{Publication, State as Condition};
use vdsokit_vvar::pages::PagesMut;
use vdsokit_vvar::scalar::Scalar;

use crate::board::{self, Board};
use crate::clock_pages::ClockPages;
use crate::{IMAGE, kernel};

/// A publisher's state besides the records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) time: VirtualTime,
    /// The rate after a freeze: numerator and denominator.
    pub(crate) rate: (u32, u32),
}

impl State {
    const WORDS: usize = VirtualTime::WORDS + 2;
    /// The size in bytes.
    const SIZE: usize = Self::WORDS * 8;

    fn to_words(self) -> Vec<u64> {
        let mut words = vec![
            FORMAT,
            u64::from(self.rate.0) | u64::from(self.rate.1) << 32,
        ];
        words.extend(self.time.to_words());
        words
    }

    fn from_words(words: &[u64]) -> Option<State> {
        let [FORMAT, rate, time @ ..] = words else {
            return None;
        };
        Some(State {
            time: VirtualTime::from_words(time.try_into().ok()?)?,
            rate: (*rate as u32, (rate >> 32) as u32),
        })
    }
}

/// The first word of a state. It changes with the format of the state.
const FORMAT: u64 = u64::from_ne_bytes(*b"vtstate3");

/// The initial vvar pages of the image.
fn initial() -> io::Result<&'static [u8]> {
    let broken = || io::Error::other("the clock image has no vvar pages");
    let image = Image::parse(IMAGE).map_err(|_| broken())?;
    let vvar = image
        .segments()
        .filter(|segment| segment.is_load())
        .nth(1)
        .ok_or_else(broken)?;
    let (start, end) = (vvar.offset as usize, (vvar.offset + vvar.filesz) as usize);
    IMAGE.get(start..end).ok_or_else(broken)
}

/// Bytes behind the vvar pages.
const BEHIND: usize = 2 * PAGE_SIZE;

/// The file and its memory.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    mapping: ClockPages,
    /// The offset of the state.
    behind: usize,
}

impl Store {
    /// New pages in a memfd called `name`, which only this user can open, and whose length
    /// is sealed.
    pub(crate) fn new(name: &str) -> io::Result<Store> {
        let vvar = initial()?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create(name, flags)?);
        fchmod(&file, Mode::RUSR | Mode::WUSR)?;
        file.lock()?;
        file.write_all(vvar)?;
        file.set_len((vvar.len() + BEHIND) as u64)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        let store = Store::of(file)?;
        store.file.unlock()?;
        Ok(store)
    }

    /// The pages in a file that [`Store::new`] made.
    pub(crate) fn of(file: File) -> io::Result<Store> {
        let behind = initial()?.len();
        let mapping = ClockPages::new(&file, behind + BEHIND)?;
        Ok(Store {
            file,
            mapping,
            behind,
        })
    }

    /// Another descriptor of the file.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(File::open(path)?.into())
    }

    /// The file, for the lock.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The pages.
    pub(crate) fn mapping(&self) -> &ClockPages {
        &self.mapping
    }

    /// Another mapping of the pages, which needs no descriptor.
    pub(crate) fn map(&self) -> io::Result<ClockPages> {
        ClockPages::new(&self.file, self.behind + BEHIND)
    }

    /// The board behind the state.
    pub(crate) fn board(&self) -> Board<'_> {
        board(&self.mapping, self.behind)
    }

    /// The offset of the state.
    pub(crate) fn behind(&self) -> usize {
        self.behind
    }

    /// Calls `work` while the pages are locked against other publishers; `None` if these are
    /// not vvar pages.
    pub(crate) fn locked<R>(
        &mut self,
        work: impl FnOnce(&Locked<'_>) -> R,
    ) -> io::Result<Option<R>> {
        self.file.lock()?;
        let behind = self.behind;
        let pages = self.mapping.pages();
        let done = pages.map(|pages| work(&Locked { pages, behind }));
        self.file.unlock()?;
        Ok(done)
    }
}

/// The board in `mapping`, whose state is at `behind`.
pub(crate) fn board(mapping: &ClockPages, behind: usize) -> Board<'_> {
    Board(mapping.words(behind + PAGE_SIZE, board::WORDS))
}

/// The record of `clock` in `mapping`.
pub(crate) fn record(mapping: &ClockPages, clock: Clock) -> Option<Record> {
    let latch = mapping
        .read()?
        .latch(record_offset(clock.id()), RECORD_SIZE)?;
    Some(latch.read(|copy| {
        let mut words = [0; Record::WORDS];
        for (at, word) in words.iter_mut().enumerate() {
            *word = copy.word(at);
        }
        Record::from_words(&words)
    }))
}

/// The virtual time of `clock` by its record in `mapping`; `None` where it is the
/// kernel's.
pub(crate) fn read(mapping: &ClockPages, clock: Clock) -> Option<Moment> {
    let record = record(mapping, clock)?;
    match record.source {
        Source::KernelClock(driver) => {
            let driver = Clock::from_id(driver.into())?;
            record.at(kernel::read(driver).ok()?.try_into().ok()?)
        }
        Source::Fixed => Some(record.current.base),
        Source::KernelMoved => Some(record.current.base.moved(kernel::read(clock).ok()?.into())),
        Source::SystemCall | Source::Kernel | Source::Counter { .. } | Source::Reads => None,
    }
}

/// The pages, locked.
pub(crate) struct Locked<'m> {
    pages: PagesMut<'m>,
    behind: usize,
}

impl Locked<'_> {
    /// The state; `None` if it is of another version, or the pages are not published yet.
    pub(crate) fn state(&self) -> Option<State> {
        if self.pages.header().state() != Condition::Live {
            return None;
        }
        let latch = self.pages.pages().latch(self.behind, State::SIZE)?;
        let words = latch.read(|copy| {
            (0..State::WORDS)
                .map(|at| copy.word(at))
                .collect::<Vec<_>>()
        });
        State::from_words(&words)
    }

    /// Publishes `state`: first itself, so that a successor can complete the change if this
    /// publisher is killed, then the record of each clock.
    pub(crate) fn publish(&self, state: &State) -> io::Result<()> {
        let missing = || io::Error::other("the vvar pages are too short");
        let write = |offset, size, words: &[u64]| {
            let mut latch = self.pages.latch(offset, size).ok_or_else(missing)?;
            latch.write(|copy| copy.set_words(words));
            Ok::<_, io::Error>(())
        };
        write(self.behind, State::SIZE, &state.to_words())?;
        for clock in Clock::ALL {
            let record = state.time.record(clock);
            write(record_offset(clock.id()), RECORD_SIZE, &record.to_words())?;
            let source = self.pages.scalar::<u64>(source_offset(clock.id()));
            u64::store(source.ok_or_else(missing)?, record.source.to_word());
        }
        // Never stale: time advances without a publisher.
        let publication = Publication {
            publisher: std::process::id().into(),
            // Unknown: the pages are memory of this boot, and no file.
            boot: 0,
            now: kernel::boottime()?,
            stale_after: 0,
        };
        self.pages.header().publish(publication);
        Ok(())
    }
}
