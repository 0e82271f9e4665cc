//! The first 64 bytes of the vvar pages: who publishes what, and since when.
//!
//! | offset | width | field | written |
//! | ---: | ---: | --- | --- |
//! | 0 | 8 | magic, the bytes `vvarpage` | when the image is built |
//! | 8 | 4 | format of this header, [`FORMAT`] | when the image is built |
//! | 12 | 4 | [`State`] | by the publisher |
//! | 16 | 8 | layout hash, see [`crate::layout`] | when the image is built |
//! | 24 | 4 | number of variables | when the image is built |
//! | 28 | 4 | bytes in use, this header included | when the image is built |
//! | 32 | 8 | process id of the publisher, as it sees itself; 0 is a kernel | by the publisher |
//! | 40 | 8 | `CLOCK_BOOTTIME` in ns when the publisher last said that it is well | by the publisher |
//! | 48 | 8 | ns after which a silent publisher's values are stale; 0 is never | by the publisher |
//! | 56 | 8 | zero | |
//!
//! Numbers are in the machine's own byte order, as everything in the pages is.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The bytes `vvarpage`, read as a number of this machine.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"vvarpage");
/// The only format so far.
pub const FORMAT: u32 = 1;
/// Bytes of the header; the first variable comes behind it.
pub const SIZE: usize = 64;
/// Where [`State`] lies, for code that is generated rather than compiled.
pub const STATE_OFFSET: usize = core::mem::offset_of!(Header, state);
/// Where the time of the last sign of life lies, for generated code.
pub const UPDATED_OFFSET: usize = core::mem::offset_of!(Header, updated);

/// What readers may expect of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nobody has published yet: the values are the declaration's initial ones.
    NeverPublished = 0,
    /// A publisher keeps the values up to date, unless they are stale.
    Live = 1,
    /// The publisher ended in order, or another file took this one's place: the
    /// values are the last ones and will not change again.
    Retired = 2,
}

impl State {
    /// The state that a number in the header stands for. A number that this version
    /// does not know reads as retired: nothing may be expected of the values.
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::NeverPublished,
            1 => Self::Live,
            _ => Self::Retired,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NeverPublished => "never published",
            Self::Live => "live",
            Self::Retired => "retired",
        })
    }
}

/// The header as it lies in memory. Readers hold `&Header` into a read-only mapping
/// and use the loads; the one writer uses the stores as well.
#[repr(C)]
pub struct Header {
    magic: AtomicU64,
    format: AtomicU32,
    state: AtomicU32,
    layout: AtomicU64,
    count: AtomicU32,
    size: AtomicU32,
    publisher: AtomicU64,
    updated: AtomicU64,
    stale_after: AtomicU64,
    zero: AtomicU64,
}

const _: () = assert!(core::mem::size_of::<Header>() == SIZE);

impl Header {
    /// The header of a fresh image, with nothing published.
    #[must_use]
    pub const fn new(layout: u64, count: u32, size: u32) -> Self {
        Self {
            magic: AtomicU64::new(MAGIC),
            format: AtomicU32::new(FORMAT),
            state: AtomicU32::new(State::NeverPublished as u32),
            layout: AtomicU64::new(layout),
            count: AtomicU32::new(count),
            size: AtomicU32::new(size),
            publisher: AtomicU64::new(0),
            updated: AtomicU64::new(0),
            stale_after: AtomicU64::new(0),
            zero: AtomicU64::new(0),
        }
    }

    /// Its bytes, for an image that is being built on a machine of this byte order.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let words = [
            (0, self.magic.load(Ordering::Relaxed)),
            (16, self.layout.load(Ordering::Relaxed)),
            (32, self.publisher.load(Ordering::Relaxed)),
            (40, self.updated.load(Ordering::Relaxed)),
            (48, self.stale_after.load(Ordering::Relaxed)),
        ];
        for (offset, word) in words {
            bytes[offset..offset + 8].copy_from_slice(&word.to_ne_bytes());
        }
        let halves = [
            (8, self.format.load(Ordering::Relaxed)),
            (12, self.state.load(Ordering::Relaxed)),
            (24, self.count.load(Ordering::Relaxed)),
            (28, self.size.load(Ordering::Relaxed)),
        ];
        for (offset, half) in halves {
            bytes[offset..offset + 4].copy_from_slice(&half.to_ne_bytes());
        }
        bytes
    }

    /// Is this a header at all, and of a format that this version reads?
    ///
    /// # Errors
    /// Tells apart memory that holds no vvar pages from pages of another format.
    pub fn recognise(&self) -> Result<(), Unrecognised> {
        if self.magic.load(Ordering::Relaxed) != MAGIC {
            return Err(Unrecognised::Foreign);
        }
        match self.format.load(Ordering::Relaxed) {
            FORMAT => Ok(()),
            other => Err(Unrecognised::Format(other)),
        }
    }

    /// The layout hash.
    #[must_use]
    pub fn layout(&self) -> u64 {
        self.layout.load(Ordering::Relaxed)
    }

    /// How many variables there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many bytes are in use, the header included.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size.load(Ordering::Relaxed)
    }

    /// The state. Acquire: who reads [`State::Live`] sees everything that was written
    /// before the publisher said so.
    #[must_use]
    pub fn state(&self) -> State {
        State::from_raw(self.state.load(Ordering::Acquire))
    }

    /// The publisher's process id in its own namespace; 0 is a kernel.
    #[must_use]
    pub fn publisher(&self) -> u64 {
        self.publisher.load(Ordering::Relaxed)
    }

    /// `CLOCK_BOOTTIME` in nanoseconds at the publisher's last sign of life.
    #[must_use]
    pub fn updated(&self) -> u64 {
        self.updated.load(Ordering::Acquire)
    }

    /// Nanoseconds after which a silent publisher's values are stale; 0 is never.
    #[must_use]
    pub fn stale_after(&self) -> u64 {
        self.stale_after.load(Ordering::Relaxed)
    }

    /// Live, and heard of within [`Header::stale_after`] at `now`
    /// (`CLOCK_BOOTTIME`, ns)?
    #[must_use]
    pub fn is_fresh(&self, now: u64) -> bool {
        let limit = self.stale_after();
        self.state() == State::Live && (limit == 0 || now.saturating_sub(self.updated()) <= limit)
    }

    /// Writer: a publisher takes the pages, at `now` (`CLOCK_BOOTTIME`, ns). What was
    /// stored before is visible to every reader that sees [`State::Live`].
    pub fn publish(&self, publisher: u64, now: u64, stale_after: u64) {
        self.publisher.store(publisher, Ordering::Relaxed);
        self.stale_after.store(stale_after, Ordering::Relaxed);
        self.updated.store(now, Ordering::Release);
        self.state.store(State::Live as u32, Ordering::Release);
    }

    /// Writer: a sign of life.
    pub fn beat(&self, now: u64) {
        self.updated.store(now, Ordering::Release);
    }

    /// Writer: no value will change again.
    pub fn retire(&self) {
        self.state.store(State::Retired as u32, Ordering::Release);
    }
}

/// Why memory was not taken for vvar pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecognised {
    /// It does not begin with the magic number.
    Foreign,
    /// It does, but the format is one that this version does not know.
    Format(u32),
}

impl fmt::Display for Unrecognised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("these are no vvar pages: the magic number is missing"),
            Self::Format(other) => write!(
                f,
                "vvar pages of format {other}; this version reads format {FORMAT}"
            ),
        }
    }
}

impl core::error::Error for Unrecognised {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_memory_image() {
        let header = Header::new(0x1122_3344_5566_7788, 7, 200);
        header.publish(42, 1_000, 50);
        let bytes = header.to_bytes();
        assert_eq!(&bytes[..8], b"vvarpage");
        assert_eq!(bytes[STATE_OFFSET], State::Live as u8);
        assert_eq!(bytes[UPDATED_OFFSET..][..8], 1_000_u64.to_ne_bytes());
        assert_eq!(bytes[24], 7);
        assert_eq!(bytes[28], 200);
        assert_eq!(bytes[32], 42);
        assert_eq!(bytes[48], 50);
    }

    #[test]
    fn a_life() {
        let header = Header::new(1, 0, 64);
        assert_eq!(header.recognise(), Ok(()));
        assert_eq!(header.state(), State::NeverPublished);
        assert!(!header.is_fresh(0));
        header.publish(1, 100, 10);
        assert!(header.is_fresh(110));
        assert!(!header.is_fresh(111));
        header.beat(105);
        assert!(header.is_fresh(115));
        header.retire();
        assert!(!header.is_fresh(105));
        assert_eq!(header.state(), State::Retired);
    }

    #[test]
    fn an_unknown_state_promises_nothing() {
        assert_eq!(State::from_raw(3), State::Retired);
        assert_eq!(State::from_raw(u32::MAX), State::Retired);
    }
}
