//! The board: words behind the vvar pages that several processes write at any time, without the
//! lock on the pages.
//!
//! | words | what |
//! | --- | --- |
//! | [`HELD`] | 1 while time in which nothing runs is not to be skipped |
//! | [`SKIPS`] | 1 if such time is skipped |
//! | [`SERVERS`] | the processes that serve trees with this time: id and start time, 0 if free |
//! | [`REPORTS`] | what could not be served: a length word and text for each |
//!
//! Every slot is claimed by one compare-and-exchange and is complete after one store, so a process
//! that is killed leaves at most an unused slot.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use vdsokit_vvar::PAGE_SIZE;

/// Words of the board: a page.
pub(crate) const WORDS: usize = PAGE_SIZE / 8;

const HELD: usize = 0;
const SKIPS: usize = 1;
const SERVERS: Range<usize> = 2..64;
const REPORTS: Range<usize> = 64..WORDS;

/// Words of a report: its length, and the text.
const REPORT: usize = 32;
/// The most bytes of a text.
const TEXT: usize = (REPORT - 1) * 8;
/// The length of a report that is being written.
const CLAIMED: u64 = u64::MAX;

/// A board in shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Board<'m>(pub(crate) &'m [AtomicU64]);

impl Board<'_> {
    pub(crate) fn is_held(self) -> bool {
        self.0[HELD].load(Relaxed) != 0
    }

    pub(crate) fn hold(self, held: bool) {
        self.0[HELD].store(held.into(), Relaxed);
    }

    pub(crate) fn skips_idle(self) -> bool {
        self.0[SKIPS].load(Relaxed) != 0
    }

    pub(crate) fn set_skips_idle(self) {
        self.0[SKIPS].store(1, Relaxed);
    }

    /// Adds the process `pid` to the servers. False: there is no room.
    pub(crate) fn add_server(self, pid: u32) -> bool {
        let Some(entry) = server(pid) else {
            return false;
        };
        self.0[SERVERS].iter().any(|slot| {
            let held = slot.load(Relaxed);
            let is_free = held == 0 || pid_of(held).is_none();
            is_free && slot.compare_exchange(held, entry, Release, Relaxed).is_ok()
        })
    }

    /// The servers that live.
    pub(crate) fn servers(self) -> impl Iterator<Item = u32> {
        let slots = self.0[SERVERS].iter();
        slots.filter_map(|slot| pid_of(slot.load(Acquire)))
    }

    /// Adds a report, cut to its first 248 bytes, unless it is there already or there is no room.
    pub(crate) fn report(self, text: &str) {
        let text = cut(text);
        if text.is_empty() || self.reports().any(|known| known == text) {
            return;
        }
        let mut slots = self.0[REPORTS].chunks_exact(REPORT);
        let claimed = slots.find(|slot| {
            let claim = slot[0].compare_exchange(0, CLAIMED, Relaxed, Relaxed);
            claim.is_ok()
        });
        let Some((length, words)) = claimed.and_then(<[AtomicU64]>::split_first) else {
            return;
        };
        for (word, bytes) in words.iter().zip(text.as_bytes().chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        length.store(text.len() as u64, Release);
    }

    /// All reports, in the order in which they were begun.
    pub(crate) fn reports(self) -> impl Iterator<Item = String> {
        let slots = self.0[REPORTS].chunks_exact(REPORT);
        slots.filter_map(|slot| {
            let length = usize::try_from(slot[0].load(Acquire)).ok()?;
            let words = slot[1..].iter().map(|word| word.load(Relaxed));
            let bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
            let text = bytes.get(..length).filter(|text| !text.is_empty())?;
            Some(String::from_utf8_lossy(text).into_owned())
        })
    }
}

/// `text` as far as a report has room for it.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

/// Bits of a server's entry that are its process id, which is at most 2²² (proc(5),
/// `/proc/sys/kernel/pid_max`); its start time is above.
const PID_BITS: u32 = 22;

/// The entry of a process that lives.
fn server(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22 (proc_pid_stat(5)); the first two are the id and a name with any characters.
    let (_, fields) = stat.rsplit_once(") ")?;
    let started: u64 = fields.split(' ').nth(19)?.parse().ok()?;
    Some(u64::from(pid) | started << PID_BITS)
}

/// The process of an entry, if it lives: another one may have its id by now.
fn pid_of(entry: u64) -> Option<u32> {
    let pid = (entry & ((1 << PID_BITS) - 1)) as u32;
    (entry != 0 && server(pid) == Some(entry)).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_report_is_kept_once_and_cut_at_a_character() {
        let words = words();
        let board = Board(&words);
        board.report("one");
        board.report("one");
        let long = format!("{}é", "x".repeat(TEXT - 1));
        board.report(&long);
        let expected = ["one".to_owned(), "x".repeat(TEXT - 1)];
        assert_eq!(board.reports().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_board_that_is_full_keeps_what_it_has() {
        let words = words();
        let board = Board(&words);
        for number in 0..100 {
            board.report(&number.to_string());
        }
        let reports: Vec<String> = board.reports().collect();
        assert_eq!(reports.len(), REPORTS.len() / REPORT);
        assert_eq!(reports.last().map(String::as_str), Some("13"));
    }

    #[test]
    fn a_report_whose_writer_was_killed_is_not_shown() {
        let words = words();
        words[REPORTS.start].store(CLAIMED, Relaxed);
        let board = Board(&words);
        board.report("next");
        assert_eq!(board.reports().collect::<Vec<_>>(), ["next"]);
    }

    /// A process id is given again; the time at which a process began tells them apart.
    #[test]
    fn a_server_keeps_its_place_and_is_told_from_a_later_process_of_its_id() {
        let words = words();
        let board = Board(&words);
        let servers = [std::process::id(), std::os::unix::process::parent_id()];
        for server in servers {
            assert!(board.add_server(server));
        }
        assert_eq!(board.servers().collect::<Vec<_>>(), servers);
        let entry = words[SERVERS.start].load(Relaxed);
        assert_ne!(entry >> PID_BITS, 0);
        words[SERVERS.start].store(entry + (1 << PID_BITS), Relaxed);
        assert_eq!(board.servers().collect::<Vec<_>>(), servers[1..]);
    }

    #[test]
    fn the_place_of_a_server_that_ended_is_free() {
        let words = words();
        let board = Board(&words);
        // No process has started so late.
        for slot in &words[SERVERS] {
            slot.store(1 | u64::MAX << PID_BITS, Relaxed);
        }
        let this = std::process::id();
        assert_eq!(board.servers().count(), 0);
        assert!(board.add_server(this));
        assert_eq!(board.servers().collect::<Vec<_>>(), [this]);
    }
}
