//! Time from a counter.
//!
//! A CPU counts ticks; programs need seconds and nanoseconds. This crate is the
//! arithmetic between the two, for both sides:
//!
//! - the **reader's** side, which a vDSO's image runs in the caller: ticks → a
//!   [`Line`] → `timespec`. One multiplication, no division, no overflow, and no
//!   time outside a line's validity interval;
//! - the **writer's** side: a kernel's counter, wall time, NTP correction, slew,
//!   leap second and TAI offset ([`Timekeeper`]); a counter that is disciplined to
//!   another clock ([`Discipline`]); or time that is moved, scaled or frozen
//!   ([`VirtualTime`]).
//!
//! Between them are [`Record`]s: 16 words for each clock, which the writer
//! publishes through the latch of the data page, and which are all that a reader
//! needs. `no_std`, no allocation, no floating point.
//!
//! The crate reads no counter, maps no page and has no lock: the caller does that.
//!
//! # What is promised
//! | | |
//! | --- | --- |
//! | rounding | a reader's time is off from the exact quotient by less than 1 ns, plus half a nanosecond in 2⁶⁴ ticks |
//! | longest interval | 2⁶⁴ ns, 584 years, between a line's base and a reading, whatever the counter's frequency from 1 Hz up |
//! | accumulation | none: bases carry 2⁻⁶⁴ ns, and moving one along its line is exact |
//! | order | time never runs backwards, for any reader on any CPU, across any update: the argument is at [`Timekeeper`] |
//! | staleness | a record is valid up to the end of its promise; after that the reader makes the system call |
//!
//! # For a kernel
//! You have a counter that all CPUs agree on, a timer interrupt, and pages that
//! you map read-only into every process. At boot, make a [`Timekeeper`]; at each
//! timer interrupt, [`update`](Timekeeper::update) it and
//! [`publish`](Timekeeper::publish) the record of every clock. Your own
//! `clock_gettime` system call uses [`Timekeeper::at`], which continues where a
//! record's promise ends.
//!
//! ```
//! use vdsokit_clock::{Clock, Leap, Moment, Record, Start, Timekeeper};
//!
//! // A counter of 2.1 GHz. The clock chip's wall time is 59 s before midnight of the last day of 2016, in wall time.
//! const HERTZ: u64 = 2_100_000_000;
//! let boot = 77_000_000_000_000;
//! let mut keeper = Timekeeper::new(Start {
//!     frequency: HERTZ,
//!     ticks: boot,
//!     monotonic: Moment::from_seconds(0),
//!     wall: Moment::from_seconds(1_483_228_800 - 59),
//!     // Timer interrupts come every 10 ms; one may be missed.
//!     promise: 25_000_000,
//!     tai: 36,
//! })?;
//! // By NTP the counter is slow by 3 parts in a million, and there is a leap second
//! // at midnight.
//! keeper.correct(3 << 16)?;
//! keeper.set_leap(Some(Leap::Insert(1_483_228_800)));
//!
//! // The page: 16 words for each clock, through a latch.
//! let mut page = [[0; Record::WORDS]; Clock::RECORDS];
//! let mut interrupt = |ticks: u64| {
//!     keeper.update(ticks);
//!     keeper.publish(|clock, words| page[clock.id() as usize] = *words);
//! };
//!
//! // A minute of timer interrupts.
//! for tick in 1..=6000 {
//!     interrupt(boot + tick * (HERTZ / 100));
//! }
//!
//! // A reader, one microsecond after the last.
//! let ticks = boot + 60 * HERTZ + HERTZ / 1_000_000;
//! let read = |clock: Clock| Record::from_words(&page[clock.id() as usize]).at(ticks);
//! let wall = read(Clock::Realtime).expect("within the promise");
//! let monotonic = read(Clock::Monotonic).expect("within the promise");
//! let tai = read(Clock::Tai).expect("within the promise");
//!
//! // 60 s and 180 µs after the start, less the 25 ms promised at boot, before
//! // the correction began, times 3 parts in a million.
//! assert_eq!((monotonic.seconds, monotonic.nanoseconds), (60, 180_925));
//! // One second after midnight; but one of the 60 was the leap second.
//! assert_eq!((wall.seconds, wall.nanoseconds), (1_483_228_800, 180_925));
//! assert_eq!(tai.seconds - wall.seconds, 37);
//!
//! // The machine stops. After 25 ms the page has no valid record.
//! assert_eq!(Record::from_words(&page[1]).at(ticks + HERTZ / 40), None);
//! # Ok::<(), vdsokit_clock::Error>(())
//! ```
//!
//! The reader above decodes a whole record; the image loads only the words that it
//! needs ([`Record::read`]).
//!
//! # Order of memory
//! A record has to be read whole, which the latch provides. Reading the counter
//! and reading the record need no order between them: the page holds the same
//! function of the counter before and after an update, wherever both are valid.
//! Reading the counter must not be moved before the call that asks for the time
//! (x86: `rdtscp`, or `lfence; rdtsc`; AArch64: `isb; mrs`), or two calls of one
//! program may see time in the wrong order.

#![no_std]

mod clocks;
mod discipline;
mod error;
mod leap;
mod line;
mod moment;
pub mod page;
mod rate;
mod record;
mod timekeeper;
mod virtual_time;

pub use clocks::Clock;
pub use discipline::{Discipline, Offset, Sample, Settings, WALL_GROWTH};
pub use error::Error;
pub use leap::Leap;
pub use line::{Line, reading, split};
pub use moment::Moment;
pub use rate::{MAX_NTP, NANOSECONDS, NTP_UNIT, Rate};
pub use record::{Answer, ErrorBound, Record, Source};
pub use timekeeper::{MAX_SLEW, Shape, Start, Timekeeper};
pub use virtual_time::{Clocks, Course, KernelTime, VirtualTime};

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
