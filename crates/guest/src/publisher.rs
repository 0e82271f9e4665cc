//! The publisher: the words that it stores, and their order.

use vdsokit_clock::page::{RECORD_SIZE, record_offset, source_offset};
use vdsokit_clock::{Clock, Line, Record, Shape, Source, Timekeeper};
use vdsokit_vvar::header::{FORMAT, MAGIC, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::process::FLAG;

use crate::page::{Page, WORDS};

/// The layout hash of the page, which every reader of this format compares: the names, types and
/// places of its variables.
pub const LAYOUT: u64 = 0x0b61_7a34_34b7_0b1e;
/// The number of variables in the page.
pub const VARIABLES: u32 = 25;

/// The clocks that have a record. Those of alarms are left to the system call, which alone knows
/// whether there is a device for them (Linux kernel/time/alarmtimer.c, `alarm_clock_get_timespec()`).
const CLOCKS: [Clock; 7] = [
    Clock::Realtime,
    Clock::Monotonic,
    Clock::MonotonicRaw,
    Clock::RealtimeCoarse,
    Clock::MonotonicCoarse,
    Clock::Boottime,
    Clock::Tai,
];

/// How many publications in a row may have the same counter before it counts as stopped.
const STOPPED: u8 = 8;

// Behind all that the clocks and random bytes have.
const _: () = assert!(FLAG == vdsokit_random::page::SIZE);

/// Keeps the page of all processes: publishes the records of a [`Timekeeper`].
///
/// There is one publisher for a page. It belongs to the lock that the kernel has around its
/// timekeeper; readers take no lock and are never waited for.
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use vdsokit_clock::{Moment, Start, Timekeeper};
/// use vdsokit_guest::{Publisher, WORDS};
///
/// // A frame that no process has mapped yet.
/// let page = [const { AtomicU64::new(0) }; WORDS];
/// let mut publisher = Publisher::new(&page);
/// let mut keeper = Timekeeper::new(Start {
///     frequency: 10_000_000,
///     ticks: 0,
///     monotonic: Moment::from_seconds(0),
///     wall: Moment::from_seconds(1_700_000_000),
///     // Timer interrupts come every 10 ms; one may be missed.
///     promise: 25_000_000,
///     tai: 37,
/// })?;
/// // The timer interrupt: the counter, the timekeeper's new state, the page.
/// let ticks = 100_000;
/// keeper.update(ticks);
/// publisher.publish(&keeper);
/// # Ok::<(), vdsokit_clock::Error>(())
/// ```
///
/// After every change of the timekeeper (`set_wall`, `set_leap`, `resumed`, …) its state has to be
/// published as well, before the call that made the change returns to a program.
///
/// # What readers see
/// Each record is in a latch: two copies, and a sequence number that names the one in use. A
/// publication fills the other copy of every record and then stores the numbers. So a publisher
/// that is stopped at any store, for as long as it may be, leaves every reader a whole record of
/// this publication or of the one before; and which of the two makes no difference to time, as is
/// argued at [`Timekeeper`]. The number of stores is fixed.
#[derive(Debug)]
pub struct Publisher<P> {
    page: P,
    /// The sequence number of every record: all are written each time.
    sequence: u64,
    /// The counter of the last publication, and how many there were with it.
    last: (u64, u8),
    /// Whether the records are those of a counter.
    is_counter: bool,
    /// What is in each copy of the records: none if it can only be replaced as a whole.
    copies: [Option<Shape>; 2],
}

impl<P: Page> Publisher<P> {
    /// Initialises the page: all clocks and random bytes are the system call's.
    ///
    /// To be called before the page is mapped into a process.
    pub fn new(page: P) -> Self {
        for index in 0..WORDS {
            page.store(index, 0);
        }
        let size = vdsokit_random::page::SIZE as u64;
        page.store(0, MAGIC);
        page.store(2, LAYOUT);
        page.store(3, u64::from(VARIABLES) | size << 32);
        page.fence();
        page.store(1, u64::from(FORMAT) | (State::Live as u64) << 32);
        Self {
            page,
            sequence: 0,
            last: (0, 0),
            is_counter: false,
            copies: [None; 2],
        }
    }

    /// The page.
    pub fn page(&self) -> &P {
        &self.page
    }

    /// Says that every process has a page of its own ([`Process`](crate::Process)): to be called
    /// before the first program starts, by a kernel that maps one into each.
    pub fn process_pages(&mut self) {
        self.page.store(FLAG / 8, 1);
    }

    /// Publishes the timekeeper's records: at each timer interrupt after
    /// [`update`](Timekeeper::update), and after each change of the timekeeper.
    ///
    /// When a counter has not moved for eight publications, it counts as stopped: programs then
    /// make system calls until it moves.
    pub fn publish(&mut self, keeper: &Timekeeper) {
        let ticks = keeper.updated();
        self.last = match self.last {
            (last, times) if last == ticks => (ticks, times.saturating_add(1)),
            _ => (ticks, 1),
        };
        if self.last.1 > STOPPED {
            self.system_calls();
            return;
        }
        let copy = self.begin();
        match &self.copies[copy] {
            Some(stored) if keeper.has(stored) => {
                keeper.extend(stored, |clock, index, word| {
                    self.page.store(copy_of(clock, copy) + index, word);
                });
            }
            _ => {
                self.store(keeper, copy);
                self.copies[copy] = keeper.shape();
            }
        }
        self.end();
        if !self.is_counter {
            self.is_counter = true;
            for clock in CLOCKS {
                self.page
                    .store(source_offset(clock.id()) / 8, source(clock));
            }
        }
    }

    /// Stores whole records: twice for each change of the timekeeper, and for each second that
    /// begins. Its size matters more than its speed.
    #[cold]
    #[inline(never)]
    fn store(&self, keeper: &Timekeeper, copy: usize) {
        for clock in CLOCKS {
            self.store_record(clock, copy, &keeper.record(clock).to_words());
        }
    }

    fn store_record(&self, clock: Clock, copy: usize, words: &[u64; Record::WORDS]) {
        // The words that a reader of a clock that stands loads.
        const STANDING: u64 = 1 << Record::SOURCE
            | 1 << (Record::FIRST + Line::SECONDS)
            | 1 << (Record::FIRST + Line::ORIGIN)
            | 1 << Record::ERROR;
        let stored = match clock {
            Clock::RealtimeCoarse | Clock::MonotonicCoarse => STANDING,
            _ => u64::MAX,
        };
        let start = copy_of(clock, copy);
        for (index, word) in words.iter().enumerate() {
            if stored >> index & 1 != 0 {
                self.page.store(start + index, *word);
            }
        }
    }

    /// Makes every clock the system call's: where there is no counter that all CPUs agree on, or
    /// no longer one.
    ///
    /// The system call has to continue where readers of the page have come to, as
    /// [`Timekeeper::at`] does.
    pub fn system_calls(&mut self) {
        let copy = self.begin();
        for clock in CLOCKS {
            self.page
                .store(copy_of(clock, copy) + Record::SOURCE, SYSTEM_CALL);
        }
        self.copies[copy] = None;
        self.end();
        self.is_counter = false;
        for clock in CLOCKS {
            self.page.store(source_offset(clock.id()) / 8, SYSTEM_CALL);
        }
    }

    /// Begins to write every record: the copy to fill.
    #[inline(always)]
    fn begin(&mut self) -> usize {
        self.sequence = self.sequence.wrapping_add(1);
        // The numbers of the last publication become visible before a word of the copies that
        // they took out of use: a reader that meets such a word sees that the number has moved on
        // (`vdsokit_vvar::latch`, "A torn copy is never returned").
        self.page.fence();
        (self.sequence & 1) as usize
    }

    /// Puts the copies in use that were filled.
    #[inline(always)]
    fn end(&self) {
        // One fence for all records: it orders each of their words before each of the numbers.
        self.page.fence();
        for clock in CLOCKS {
            self.page
                .store(record_offset(clock.id()) / 8, self.sequence);
        }
    }
}

/// The source of a clock while there is a counter.
fn source(clock: Clock) -> u64 {
    match clock {
        Clock::RealtimeCoarse | Clock::MonotonicCoarse => Source::Fixed,
        _ => Source::Counter {
            monotonic: !clock.is_wall(),
        },
    }
    .to_word()
}

/// The word of a record that is the system call's.
const SYSTEM_CALL: u64 = Source::SystemCall.to_word();

/// The index of the first word of a copy of a clock's record.
#[inline(always)]
const fn copy_of(clock: Clock, copy: usize) -> usize {
    (record_offset(clock.id()) + latch::COPIES) / 8 + copy * latch::stride(RECORD_SIZE) / 8
}
