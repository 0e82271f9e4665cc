//! The clocks' records, from the timekeeper that the hook is handed.
//!
//! A record is what a clock image reads ([`vdsokit_clock::Record`]): a line from ticks of the
//! CPU's counter to nanoseconds. Linux's own vDSO computes
//!
//! ```text
//! (xtime_nsec + (ticks - cycle_last) × mult) >> shift        in 2^-shift ns
//! ```
//!
//! and an image `ticks × rate + origin` in 2⁻⁶⁴ ns, modulo 2¹²⁸. With `rate = mult × 2^(64 -
//! shift)` and `origin = (xtime_nsec - cycle_last × mult) × 2^(64 - shift)` these are the same
//! number, to the last bit. BPF multiplies 64 bits by 64 to 64: the product of the counter
//! and the multiplier, which has 32, is put together from two.
//!
//! Source: `update_vsyscall` in kernel/time/vsyscall.c and lib/vdso/gettimeofday.c, which are
//! the same in Linux 6.1 and 6.12 as far as this goes.

use super::{Writer, frame};
use crate::Error;
use crate::asm::{Label, Operation, Register, When, Width};
use crate::hook::Hook;
use crate::kernel::{Kernel, Value};
use Register::{R0, R1, R2, R3, R4, R5, R6, R8, R9, R10};
use vdsokit_clock::{Clock, Line, Record, Source};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// Bytes of a record.
pub(super) const SIZE: usize = 8 * Record::WORDS;

/// For how many nanoseconds after an update a record answers: while anything runs there is a
/// tick long before. After that readers make the system call, as they do when the kernel has
/// been retired.
const PROMISE: i32 = 1_000_000_000;

/// What a clock's record is computed from: sums of what the timekeeper has.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The counter at the last update; none for a clock that stands still between two.
    start: Vec<Value>,
    /// Nanoseconds a tick, in 2^-shift; none likewise.
    mult: Vec<Value>,
    shift: Value,
    /// Nanoseconds at the last update, in 2^-shift.
    shifted: Value,
    /// More nanoseconds.
    nanoseconds: Vec<Value>,
    seconds: Vec<Value>,
    /// What the kernel lets its own vDSO read, and the number of the CPU's counter; none for
    /// a clock that reads nothing.
    mode: Option<(Value, i32)>,
    /// Where the record's source lies once more, in bytes from the start of the pages.
    pub(super) source: usize,
}

impl Timeline {
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        let sums = [&self.start, &self.mult, &self.nanoseconds, &self.seconds];
        let mode = self.mode.iter().map(|(value, _)| value);
        let single = [&self.shift, &self.shifted].into_iter().chain(mode);
        sums.into_iter().flatten().chain(single)
    }
}

impl Kernel {
    /// A clock's record, from the timekeeper that the tick is handed; `source` is where the
    /// record's source lies once more, in bytes from the start of the pages.
    ///
    /// # Errors
    /// When this kernel's timekeeper has other fields than those of Linux 6.1 to 6.12.
    pub fn timeline(&self, clock: Clock, source: usize) -> Result<Timeline, Error> {
        let number = |field: &str, ty| {
            let text = format!("arg0.{field}");
            self.resolve_as(&text, Type::Scalar(ty), &Hook::Tick)
        };
        let count = |field: &str| number(field, ScalarType::U64);
        let all = |fields: &[&str]| {
            let signed = |field: &&str| number(field, ScalarType::I64);
            fields.iter().map(signed).collect::<Result<Vec<_>, _>>()
        };
        let base = match clock {
            Clock::MonotonicRaw => "tkr_raw",
            _ => "tkr_mono",
        };
        let to_monotonic = ["wall_to_monotonic.tv_sec", "wall_to_monotonic.tv_nsec"];
        let to_boot = ["monotonic_to_boot.tv_sec", "monotonic_to_boot.tv_nsec"];
        let (since, seconds, nanoseconds) = match clock {
            Clock::MonotonicRaw => ("raw_sec", vec![], vec![]),
            Clock::Monotonic | Clock::MonotonicCoarse => {
                ("xtime_sec", vec![to_monotonic[0]], vec![to_monotonic[1]])
            }
            Clock::Boottime | Clock::BoottimeAlarm => (
                "xtime_sec",
                vec![to_monotonic[0], to_boot[0]],
                vec![to_monotonic[1], to_boot[1]],
            ),
            Clock::Tai => ("xtime_sec", vec!["tai_offset"], vec![]),
            Clock::Realtime | Clock::RealtimeAlarm | Clock::RealtimeCoarse => {
                ("xtime_sec", vec![], vec![])
            }
        };
        let mut seconds = all(&seconds)?;
        seconds.push(count(since)?);
        let stands = matches!(clock, Clock::RealtimeCoarse | Clock::MonotonicCoarse);
        let (mut start, mut mult, mut mode) = (Vec::new(), Vec::new(), None);
        if !stands {
            start.push(count(&format!("{base}.cycle_last"))?);
            mult.push(count(&format!("{base}.mult"))?);
            let text = format!("arg0.{base}.clock.vdso_clock_mode");
            mode = Some((self.resolve(&text, &Hook::Tick)?, self.counter_mode()?));
        }
        Ok(Timeline {
            start,
            mult,
            shift: count(&format!("{base}.shift"))?,
            shifted: count(&format!("{base}.xtime_nsec"))?,
            nanoseconds: all(&nanoseconds)?,
            seconds,
            mode,
            source,
        })
    }
}

/// Where the frame has a number while the others are fetched.
#[derive(Clone, Copy)]
enum Slot {
    Start,
    Mult,
    Shift,
    Shifted,
    Nanoseconds,
    Seconds,
    Source,
}

impl Slot {
    /// The room of [`Writer::checked_words`], which is not at work meanwhile.
    const fn offset(self) -> i16 {
        frame::CHUNK + 8 * self as i16
    }
}

impl Writer {
    pub(super) fn timeline(&mut self, offset: usize, timeline: &Timeline, fail: Label) {
        let one = std::slice::from_ref;
        self.sum_up(Slot::Start, &timeline.start, fail);
        self.sum_up(Slot::Mult, &timeline.mult, fail);
        self.sum_up(Slot::Shift, one(&timeline.shift), fail);
        self.sum_up(Slot::Shifted, one(&timeline.shifted), fail);
        self.sum_up(Slot::Nanoseconds, &timeline.nanoseconds, fail);
        self.sum_up(Slot::Seconds, &timeline.seconds, fail);
        self.source(timeline, fail);
        self.unused_copy(offset, SIZE);
        self.line();
        for word in 0..Line::WORDS {
            self.asm.immediate(Operation::Move, R1, 0);
            self.word(Record::SECOND + word, R1);
        }
        // The hook is not given how far the kernel's time may be off.
        self.asm.constant(R1, u32::MAX.into());
        self.word(Record::ERROR, R1);
        self.slot(R1, Slot::Source);
        self.word(Record::SOURCE, R1);
        self.use_copy(offset);
        // The hint comes after: a reader that follows it finds the record.
        self.slot(R1, Slot::Source);
        self.barrier();
        self.pages(R2, timeline.source);
        self.asm.store(Width::W8, R2, 0, R1);
    }

    fn sum_up(&mut self, slot: Slot, values: &[Value], fail: Label) {
        self.asm.immediate(Operation::Move, R1, 0);
        self.asm.store(Width::W8, R10, slot.offset(), R1);
        for value in values {
            self.number(value, fail);
            self.slot(R2, slot);
            self.asm.register(Operation::Add, R1, R2);
            self.asm.store(Width::W8, R10, slot.offset(), R1);
        }
    }

    /// Where readers are to take ticks from: the CPU's counter when the kernel's own vDSO
    /// does, or else the kernel.
    fn source(&mut self, timeline: &Timeline, fail: Label) {
        // A word of 17 bits.
        let word = |source: Source| source.to_word() as i32;
        let chosen = self.asm.label();
        match &timeline.mode {
            Some((mode, counter)) => {
                self.number(mode, fail);
                let source = Source::Counter { monotonic: false };
                self.asm.immediate(Operation::Move, R2, word(source));
                self.asm.jump_if(R1, When::Equal, *counter, chosen);
                self.asm
                    .immediate(Operation::Move, R2, word(Source::Kernel));
            }
            None => self.asm.immediate(Operation::Move, R2, word(Source::Fixed)),
        }
        self.asm.place(chosen);
        self.asm.store(Width::W8, R10, Slot::Source.offset(), R2);
    }

    /// The current line, into the copy at R6.
    fn line(&mut self) {
        use Operation::{Add, Divide, Move, Multiply, Or, ShiftLeft, ShiftRight, Subtract};
        let current = |word: usize| Record::FIRST + word;
        let (no_carry, no_borrow) = (self.asm.label(), self.asm.label());
        // R1 start, R2 mult, R3 shift, R5 64 - shift; R0, R4, R8 and R9 for what comes.
        self.slot(R1, Slot::Start);
        self.slot(R2, Slot::Mult);
        self.slot(R3, Slot::Shift);
        self.word(current(Line::START), R1);
        let asm = &mut self.asm;
        asm.immediate(Move, R4, PROMISE);
        asm.register(ShiftLeft, R4, R3);
        asm.register(Divide, R4, R2);
        self.word(current(Line::LENGTH), R4);
        let asm = &mut self.asm;
        asm.immediate(Move, R5, 64);
        asm.register(Subtract, R5, R3);
        asm.register(Move, R4, R2);
        asm.register(ShiftRight, R4, R3);
        self.word(current(Line::WHOLE), R4);
        let asm = &mut self.asm;
        asm.register(Move, R4, R2);
        asm.register(ShiftLeft, R4, R5);
        self.word(current(Line::FRACTION), R4);
        // start × mult: its lower 64 bits in R8, the others in R0.
        let asm = &mut self.asm;
        asm.register(Move, R4, R1);
        asm.immediate(ShiftLeft, R4, 32);
        asm.immediate(ShiftRight, R4, 32);
        asm.register(Multiply, R4, R2);
        asm.register(Move, R0, R1);
        asm.immediate(ShiftRight, R0, 32);
        asm.register(Multiply, R0, R2);
        asm.register(Move, R8, R0);
        asm.immediate(ShiftLeft, R8, 32);
        asm.register(Add, R8, R4);
        asm.immediate(ShiftRight, R0, 32);
        asm.jump_if_register(R8, When::NotBelow, R4, no_carry);
        asm.immediate(Add, R0, 1);
        asm.place(no_carry);
        // All nanoseconds in 2^-shift, below 2^63: there are less than three seconds of them.
        self.slot(R1, Slot::Nanoseconds);
        self.asm.register(ShiftLeft, R1, R3);
        self.slot(R9, Slot::Shifted);
        let asm = &mut self.asm;
        asm.register(Add, R9, R1);
        // Less the product: R9 and, above it, R0.
        asm.register(Move, R1, R9);
        asm.register(Subtract, R9, R8);
        asm.jump_if_register(R1, When::NotBelow, R8, no_borrow);
        asm.immediate(Add, R0, 1);
        asm.place(no_borrow);
        asm.immediate(Multiply, R0, -1);
        // Times 2^(64 - shift): nanoseconds and their fraction.
        asm.register(Move, R4, R9);
        asm.register(ShiftRight, R4, R3);
        asm.register(ShiftLeft, R0, R5);
        asm.register(Or, R4, R0);
        asm.register(ShiftLeft, R9, R5);
        self.word(current(Line::ORIGIN), R4);
        self.word(current(Line::ORIGIN_FRACTION), R9);
        self.slot(R1, Slot::Seconds);
        self.word(current(Line::SECONDS), R1);
    }

    fn slot(&mut self, to: Register, slot: Slot) {
        self.asm.load(Width::W8, to, R10, slot.offset());
    }

    /// Stores a word of the record in the copy at R6.
    fn word(&mut self, word: usize, from: Register) {
        // A record is 128 bytes.
        self.asm.store(Width::W8, R6, 8 * word as i16, from);
    }
}
