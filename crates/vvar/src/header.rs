//! The first 64 bytes of the vvar pages: layout, publisher, state and heartbeat.
//!
//! | offset | width | field | written |
//! | ---: | ---: | --- | --- |
//! | 0 | 8 | magic, the bytes `vvarpage` | when the image is built |
//! | 8 | 4 | format of this header, [`FORMAT`] | when the image is built |
//! | 12 | 4 | [`State`] | by the publisher |
//! | 16 | 8 | layout hash, see [`crate::layout`] | when the image is built |
//! | 24 | 4 | number of variables | when the image is built |
//! | 28 | 4 | bytes in use, this header included | when the image is built |
//! | 32 | 8 | process id of the publisher in its own PID namespace; 0 is a kernel | by the publisher |
//! | 40 | 8 | `updated`: `CLOCK_BOOTTIME` of the last heartbeat, in ns, initial time namespace | by the publisher |
//! | 48 | 8 | `stale_after`: ns after the last heartbeat at which the values become stale; 0 is never | by the publisher |
//! | 56 | 8 | `boot`: [`boot_hash`] of the publisher's boot; 0 is unknown | by the publisher |
//!
//! Numbers are in the machine's own byte order, as everything in the pages is.
//!
//! # Condition
//!
//! What a reader may expect of the values is one [`Condition`]. It follows from these
//! words and the clock alone, so that generated code computes the same number as
//! [`Header::condition`]:
//!
//! ```text
//! state       = load_acquire(u32 at 12)
//! boot        = load_acquire(u64 at 56)
//! stale_after = load_acquire(u64 at 48)
//! updated     = load_acquire(u64 at 40)
//! now         = CLOCK_BOOTTIME in ns, read after `updated` was loaded
//!
//! state == 0                                        0  never published
//! state == 3                                        4  replaced
//! state != 1                                        3  stopped
//! boot != 0 and own boot != 0 and boot != own boot  2  stale    (another boot's publisher)
//! updated > now                                     2  stale    (likewise, or a time namespace)
//! stale_after != 0 and now - updated > stale_after  2  stale
//! otherwise                                         1  live
//! ```
//!
//! * The order of the loads and of the clock matters: a heartbeat between reading the clock
//!   and loading `updated` would look like one from the future.
//! * Code that cannot open `/proc/sys/kernel/random/boot_id`, such as a function in an image,
//!   omits the comparison of boots. A publisher that died with an earlier boot is then
//!   taken for live only while this boot's uptime lies within `stale_after` of the uptime at
//!   its last heartbeat.
//! * `updated` counts in the initial time namespace (time_namespaces(7)). A publisher and a
//!   reader in another one subtract the boot-time offset of their namespace
//!   (`/proc/self/timens_offsets`) from their `CLOCK_BOOTTIME`. Code that cannot read the
//!   offset finds values stale that are live, except by a coincidence of the same width.
//! * The clock is the kernel's, by system call where the process's own vDSO may report
//!   virtual time.
//!
//! # Compatibility
//!
//! Offset 56 held zero and state 3 did not exist before `boot` and [`State::Replaced`] were
//! introduced. A file without them reads as one of an unknown boot, and a reader that
//! does not know state 3 reads [`State::Stopped`].

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::layout::Hash;

/// The bytes `vvarpage`, read as a number of this machine.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"vvarpage");
/// The only format so far.
pub const FORMAT: u32 = 1;
/// Bytes of the header; the first variable comes behind it.
pub const SIZE: usize = 64;
/// Offset of [`State`], for generated code.
pub const STATE_OFFSET: usize = core::mem::offset_of!(Header, state);
/// Offset of the time of the last heartbeat, for generated code.
pub const UPDATED_OFFSET: usize = core::mem::offset_of!(Header, updated);
/// Offset of the time after which a silent publisher's values are stale, for generated code.
pub const STALE_AFTER_OFFSET: usize = core::mem::offset_of!(Header, stale_after);
/// Offset of the boot's hash, for generated code.
pub const BOOT_OFFSET: usize = core::mem::offset_of!(Header, boot);

/// What the publisher last stated about the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No publisher has run yet: the values are the declaration's initial ones.
    NeverPublished = 0,
    /// A publisher keeps the values up to date, unless they are stale.
    Live = 1,
    /// The publisher ended in order. The values are its last ones and stay until another
    /// publisher starts.
    Stopped = 2,
    /// Another file took this one's name. Publishers use the new file from then on.
    Replaced = 3,
}

impl State {
    /// The state that a number in the header stands for. A number that this version
    /// does not know reads as stopped, so that no freshness is inferred from it.
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        match raw {
            0 => Self::NeverPublished,
            1 => Self::Live,
            3 => Self::Replaced,
            _ => Self::Stopped,
        }
    }
}

/// What a reader may expect of the values now.
///
/// The numbers are the same in every language: `PREFIX_condition()` of an image returns
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Condition {
    /// No publisher has run yet: the values are the declaration's initial ones.
    NeverPublished = 0,
    /// A publisher keeps the values up to date.
    Live = 1,
    /// The publisher's last heartbeat is older than it allowed for: it may have crashed. The
    /// values are its last ones.
    Stale = 2,
    /// The publisher ended in order. The values are its last ones and stay until another
    /// publisher starts.
    Stopped = 3,
    /// Another file took this one's name: open the name again.
    Replaced = 4,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NeverPublished => "never published",
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Stopped => "stopped",
            Self::Replaced => "replaced",
        })
    }
}

/// The hash that stands for a boot in the header: of the text of
/// `/proc/sys/kernel/random/boot_id` without its newline. Never 0.
#[must_use]
pub const fn boot_hash(boot_id: &str) -> u64 {
    match Hash::of_name(boot_id) {
        0 => 1,
        hash => hash,
    }
}

/// What a publisher writes into the header when it takes over the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Process id in its own PID namespace; 0 is a kernel.
    pub publisher: u64,
    /// [`boot_hash`] of the running boot; 0 is unknown.
    pub boot: u64,
    /// `CLOCK_BOOTTIME` in ns, in the initial time namespace.
    pub now: u64,
    /// Nanoseconds after a heartbeat at which the values become stale; 0 is never.
    pub stale_after: u64,
}

/// The header in memory. Readers hold `&Header` into a read-only mapping and use the
/// loads; the one writer uses the stores as well.
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
    boot: AtomicU64,
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
            boot: AtomicU64::new(0),
        }
    }

    /// The header's bytes, for an image that is built on a machine of this byte order.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let words = [
            (0, self.magic.load(Ordering::Relaxed)),
            (16, self.layout.load(Ordering::Relaxed)),
            (32, self.publisher.load(Ordering::Relaxed)),
            (40, self.updated.load(Ordering::Relaxed)),
            (48, self.stale_after.load(Ordering::Relaxed)),
            (56, self.boot.load(Ordering::Relaxed)),
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

    /// Checks that this is a header, of a format that this version reads.
    ///
    /// # Errors
    /// [`Unrecognised`] distinguishes memory that holds no vvar pages from pages of another
    /// format.
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

    /// The state. Acquire: a reader that loads [`State::Live`] sees everything that the
    /// publisher stored before it.
    #[must_use]
    pub fn state(&self) -> State {
        State::from_raw(self.state.load(Ordering::Acquire))
    }

    /// The publisher's process id in its own PID namespace; 0 is a kernel.
    #[must_use]
    pub fn publisher(&self) -> u64 {
        self.publisher.load(Ordering::Relaxed)
    }

    /// `CLOCK_BOOTTIME` in nanoseconds at the publisher's last heartbeat, in the initial time
    /// namespace.
    #[must_use]
    pub fn updated(&self) -> u64 {
        self.updated.load(Ordering::Acquire)
    }

    /// Nanoseconds after a heartbeat at which the values become stale; 0 is never.
    #[must_use]
    pub fn stale_after(&self) -> u64 {
        self.stale_after.load(Ordering::Acquire)
    }

    /// [`boot_hash`] of the boot in which the publisher runs or ran; 0 is unknown.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot.load(Ordering::Acquire)
    }

    /// The condition by the formula of this module. `own_boot` is [`boot_hash`] of the
    /// reader's boot, 0 where it is unknown; `now` reads `CLOCK_BOOTTIME` in nanoseconds,
    /// less the offset of the reader's time namespace.
    #[must_use]
    pub fn condition(&self, own_boot: u64, now: impl FnOnce() -> u64) -> Condition {
        match self.state() {
            State::NeverPublished => Condition::NeverPublished,
            State::Stopped => Condition::Stopped,
            State::Replaced => Condition::Replaced,
            State::Live => {
                let boot = self.boot();
                let limit = self.stale_after();
                let updated = self.updated();
                // After `updated` was loaded: see the module's documentation.
                let since = now().checked_sub(updated);
                let same_boot = boot == 0 || own_boot == 0 || boot == own_boot;
                match since {
                    Some(since) if same_boot && (limit == 0 || since <= limit) => Condition::Live,
                    _ => Condition::Stale,
                }
            }
        }
    }

    /// Writer: a publisher takes over the pages. A reader that sees [`State::Live`] sees
    /// everything that was stored before.
    ///
    /// The pages may still be live by a publisher that crashed. So each word is stored before
    /// those that a reader loads ahead of it: a reader that sees the new boot sees the new
    /// limit, and one that sees the new limit sees the new heartbeat.
    pub fn publish(&self, publication: Publication) {
        let Publication {
            publisher,
            boot,
            now,
            stale_after,
        } = publication;
        self.publisher.store(publisher, Ordering::Relaxed);
        self.updated.store(now, Ordering::Release);
        self.stale_after.store(stale_after, Ordering::Release);
        self.boot.store(boot, Ordering::Release);
        self.state.store(State::Live as u32, Ordering::Release);
    }

    /// Writer: replaces the publisher's process id, if it is still `expected`. Of several
    /// processes that try at the same time, one succeeds.
    #[must_use]
    pub fn claim(&self, expected: u64, publisher: u64) -> bool {
        self.publisher
            .compare_exchange(expected, publisher, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Writer: a heartbeat at `now` (`CLOCK_BOOTTIME` in ns, initial time namespace).
    pub fn beat(&self, now: u64) {
        self.updated.store(now, Ordering::Release);
    }

    /// Writer: an orderly end.
    pub fn stop(&self) {
        self.state.store(State::Stopped as u32, Ordering::Release);
    }

    /// Writer: another file has taken this one's name.
    pub fn replace(&self) {
        self.state.store(State::Replaced as u32, Ordering::Release);
    }
}

/// Why memory was not recognised as vvar pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecognised {
    /// The magic number is missing.
    Foreign,
    /// The format is one that this version does not know.
    Format(u32),
}

impl fmt::Display for Unrecognised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not vvar pages: the magic number is missing"),
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

    const PUBLICATION: Publication = Publication {
        publisher: 42,
        boot: 7,
        now: 1_000,
        stale_after: 50,
    };

    #[test]
    fn bytes_are_the_memory_image() {
        let header = Header::new(0x1122_3344_5566_7788, 7, 200);
        header.publish(PUBLICATION);
        let bytes = header.to_bytes();
        let word = |offset: usize| u64::from_ne_bytes(*bytes[offset..].first_chunk().unwrap());
        let half = |offset: usize| u32::from_ne_bytes(*bytes[offset..].first_chunk().unwrap());
        assert_eq!(&bytes[..8], b"vvarpage");
        assert_eq!((half(8), half(12)), (1, 1));
        assert_eq!(word(16), 0x1122_3344_5566_7788);
        assert_eq!((half(24), half(28)), (7, 200));
        assert_eq!([32, 40, 48, 56].map(word), [42, 1_000, 50, 7]);
        assert_eq!(
            [
                STATE_OFFSET,
                UPDATED_OFFSET,
                STALE_AFTER_OFFSET,
                BOOT_OFFSET
            ],
            [12, 40, 48, 56]
        );
    }

    #[test]
    fn the_condition_follows_from_the_header_and_the_clock() {
        let header = Header::new(1, 0, 64);
        assert_eq!(header.recognise(), Ok(()));
        assert_eq!(header.state(), State::NeverPublished);
        assert_eq!(header.condition(7, || 0), Condition::NeverPublished);
        header.publish(PUBLICATION);
        for (own_boot, now, expected) in [
            (7, 1_000, Condition::Live),
            (7, 1_050, Condition::Live),
            (7, 1_051, Condition::Stale),
            (7, 999, Condition::Stale),
            (8, 1_000, Condition::Stale),
            (0, 1_000, Condition::Live),
        ] {
            assert_eq!(
                header.condition(own_boot, || now),
                expected,
                "{own_boot} {now}"
            );
        }
        header.beat(1_051);
        assert_eq!(header.condition(7, || 1_101), Condition::Live);
        // Without a limit, and in an unknown boot, only the future is stale.
        header.publish(Publication {
            boot: 0,
            stale_after: 0,
            ..PUBLICATION
        });
        assert_eq!(header.condition(8, || u64::MAX), Condition::Live);
        assert_eq!(header.condition(8, || 999), Condition::Stale);
        header.stop();
        assert_eq!(header.condition(7, || 1_000), Condition::Stopped);
        header.replace();
        assert_eq!(header.condition(7, || 1_000), Condition::Replaced);
        assert_eq!(header.state(), State::Replaced);
    }

    #[test]
    fn a_heartbeat_while_the_condition_is_computed_is_not_from_the_future() {
        let header = Header::new(1, 0, 64);
        header.publish(PUBLICATION);
        let condition = header.condition(7, || {
            header.beat(1_020);
            1_010
        });
        assert_eq!(condition, Condition::Live);
    }

    #[test]
    fn the_header_has_the_numbers_of_its_image() {
        let header = Header::new(0x1122_3344_5566_7788, 7, 200);
        assert_eq!(header.layout(), 0x1122_3344_5566_7788);
        assert_eq!((header.count(), header.size()), (7, 200));
        assert_eq!((header.publisher(), header.boot()), (0, 0));
        header.publish(PUBLICATION);
        assert_eq!((header.publisher(), header.boot()), (42, 7));
        assert_eq!((header.updated(), header.stale_after()), (1_000, 50));
    }

    #[test]
    fn of_two_claims_one_succeeds() {
        let header = Header::new(1, 0, 64);
        header.publish(PUBLICATION);
        assert!(header.claim(42, 43));
        assert!(!header.claim(42, 44));
        assert_eq!(header.publisher(), 43);
    }

    #[test]
    fn an_unknown_state_is_stopped() {
        assert_eq!(State::from_raw(4), State::Stopped);
        assert_eq!(State::from_raw(u32::MAX), State::Stopped);
    }

    #[test]
    fn boots_are_told_apart() {
        let one = boot_hash("5f0c8d7e-7f5b-4f0f-9a68-2f6dbb3b7d11");
        assert_ne!(one, boot_hash("5f0c8d7e-7f5b-4f0f-9a68-2f6dbb3b7d12"));
        assert_ne!(one, 0);
    }
}
