//! The program that copies the kernel's variables into the vvar pages.
//!
//! It is assembled from the declaration when it is loaded: every address, offset and
//! width is a constant in it, and there is neither a loop over a table nor a table.
//!
//! # What it promises
//! - A scalar is stored by one instruction of its width; a latch is written as
//!   [`vdsokit_vvar::latch`] writes it: the words of the copy that no reader uses,
//!   then the sequence number.
//! - A value that can't be read whole is not stored; the old one stays, and a count
//!   of failures goes up.
//! - Numbers at fixed addresses are read so once, before anything is attached, and loaded by one
//!   instruction from then on, where the kernel has [a way](crate::kernel) to that.
//! - A number of 8 bytes that looks like an address of the kernel's is not stored, nor is any
//!   byte of one where the kernel does not describe the value: see `Guard` in [`crate::kernel`].
//!
//! # Order
//! Readers on another CPU must not see a sequence number before the words it names,
//! nor the words of the next write before the number of this one. x86-64 makes stores
//! visible in the program's order, and the kernel's JIT compiles each BPF store to one
//! machine store, in order; so plain stores are enough there. Everywhere else an
//! atomic exchange stands between them, which is a full barrier in the kernel's memory
//! model (Documentation/atomic_t.txt: operations that return a value are fully
//! ordered). Stronger than release and acquire, and the one barrier that BPF has had
//! since 5.12.
//!
//! # One writer
//! The tick comes under the timekeeper's lock: never two at a time. Other hooks may
//! fire on several CPUs at once, so their programs take a lock, and never wait for it: a
//! program that finds it taken has counted its event and leaves. The holder reads the count
//! again after it released the lock, and starts again when there was another event. So the last value published was read after the last event. Should
//! BPF itself skip a run, because the program was interrupted by its own event on that
//! CPU, the next event or tick makes up for it.

mod fetch;
mod timeline;

pub use timeline::Timeline;

use crate::Error;
use crate::asm::{Assembler, Helper, Label, Operation, Register, When, Width};
use crate::hook::Hook;
use crate::kernel::{Base, BootTime, Fetch, Guard, TypeCast, Value};
use Register::{R0, R1, R2, R3, R6, R7, R10};
use fetch::{is_guarded, width};
use vdsokit_vvar::header::{self, State};
use vdsokit_vvar::latch;
use vdsokit_vvar::layout::Type;

/// A variable in the pages, and what the kernel has for it.
#[derive(Debug, Clone)]
pub struct KernelVariable {
    /// Its name in the directory.
    pub name: String,
    /// Where it lies, in bytes from the start of the pages.
    pub offset: usize,
    /// What it consists of.
    pub content: Content,
    /// The events after which it must be exact at once. It is copied at each tick in
    /// any case.
    pub events: Vec<Hook>,
}

/// What a variable consists of.
#[derive(Debug, Clone)]
pub enum Content {
    /// One scalar.
    Scalar(Value),
    /// Values that are read together, each at its offset in a value of `size` bytes.
    Latch {
        /// Bytes of one value.
        size: usize,
        /// The values.
        parts: Vec<(usize, Value)>,
    },
    /// A clock's record, as images read it, computed from the kernel's timekeeper.
    Clock(Box<Timeline>),
}

impl KernelVariable {
    /// A variable of one value, as [`vdsokit_vvar::layout::Shape::Plain`] has it.
    #[must_use]
    pub fn plain(name: &str, offset: usize, value: Value) -> Self {
        let content = match value.ty {
            Type::Scalar(_) => Content::Scalar(value),
            ty => Content::Latch {
                size: ty.size(),
                parts: vec![(0, value)],
            },
        };
        Self {
            name: name.into(),
            offset,
            content,
            events: Vec::new(),
        }
    }

    /// The same, exact after each of these events.
    #[must_use]
    pub fn after(mut self, events: &[Hook]) -> Self {
        self.events = events.to_vec();
        self
    }

    /// Whether an argument of the hook is needed to read it.
    pub(crate) fn needs_argument(&self) -> bool {
        let argument = |fetch: &Fetch| match fetch {
            Fetch::Memory { base, .. } => matches!(base, Base::Argument { .. }),
            Fetch::Sum { .. } | Fetch::Uptime => false,
        };
        self.values().any(|value| argument(&value.fetch))
    }

    /// Whether the clock is needed.
    fn is_clock(&self) -> bool {
        self.values().any(|value| value.fetch == Fetch::Uptime)
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        let all: Vec<&Value> = match &self.content {
            Content::Scalar(value) => vec![value],
            Content::Latch { parts, .. } => parts.iter().map(|(_, value)| value).collect(),
            Content::Clock(timeline) => timeline.values().collect(),
        };
        all.into_iter()
    }

    /// Whether it lies within `size` bytes, behind the header, and is aligned.
    pub(crate) fn fits(&self, size: usize) -> bool {
        let (bytes, align) = match &self.content {
            Content::Scalar(value) => (value.ty.size(), value.ty.size()),
            Content::Latch { size, .. } => (latch::size_of(*size), 8),
            Content::Clock(_) => (latch::size_of(timeline::SIZE), 8),
        };
        let end = self.offset.checked_add(bytes);
        let inside = |size: usize, parts: &[(usize, Value)]| {
            let part = |(at, value): &(usize, Value)| {
                let end = at.checked_add(value.ty.size());
                end.is_some_and(|end| end <= size) && at.is_multiple_of(value.ty.align())
            };
            parts.iter().all(part)
        };
        let whole = match &self.content {
            Content::Scalar(value) => matches!(value.ty, Type::Scalar(_)),
            Content::Latch { size, parts } => inside(*size, parts) && i16::try_from(*size).is_ok(),
            Content::Clock(timeline) => {
                timeline.source.is_multiple_of(8) && timeline.source + 8 <= size
            }
        };
        whole
            && self.offset >= header::SIZE
            && self.offset.is_multiple_of(align)
            && end.is_some_and(|end| end <= size)
    }
}

/// Whether a store needs a barrier to be seen in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Stores become visible in the program's order.
    StoresInOrder,
    /// They need barriers.
    Weak,
}

impl Machine {
    /// The machine that this is compiled for.
    pub const THIS: Self = match cfg!(target_arch = "x86_64") {
        true => Self::StoresInOrder,
        false => Self::Weak,
    };
}

/// What all programs of a publisher share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// The map that is the vvar pages.
    pub(crate) pages: i32,
    /// The map with counts and locks.
    pub(crate) control: i32,
    /// An upper bound of the CPUs' numbers.
    pub(crate) cpus: i32,
    pub(crate) machine: Machine,
    /// How variables of the kernel's are loaded that have been read safely before; none is
    /// always to read them so.
    pub(crate) cast: Option<TypeCast>,
    /// How the tick knows the time without reading a clock.
    pub(crate) boot_time: Option<BootTime>,
}

/// What surrounds the copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Nothing: a run before anything is attached.
    Prime,
    /// Say that the values are live, and when they were written.
    Tick,
    /// Count the event and take the lock, at this offset of the control map.
    Event { lock: u32 },
}

/// Bytes of a group's count and lock in the control map.
pub(crate) const LOCK_SIZE: u32 = 16;

/// How often a holder of the lock retries before it leaves the rest to the next
/// event or tick. The verifier follows every turn, so they can't be many.
const TURNS: i32 = 8;

/// Offsets from the frame's end.
mod frame {
    pub(super) const CONTEXT: i16 = -8;
    pub(super) const SCRATCH: i16 = -16;
    pub(super) const POINTER: i16 = -24;
    pub(super) const SEEN: i16 = -32;
    pub(super) const NOW: i16 = -40;
    pub(super) const CHUNK: i16 = NOW - 8 * super::CHUNK as i16;
}

/// How many numbers are checked at a time.
const CHUNK: u32 = 32;

/// The program for one group of variables, each with its number among all.
pub(crate) fn assemble(
    setting: Setting,
    variables: &[(usize, &KernelVariable)],
    duty: Duty,
) -> Result<Vec<[u8; 8]>, Error> {
    let mut writer = Writer {
        asm: Assembler::default(),
        setting,
    };
    writer.program(variables, duty);
    writer.asm.finish()
}

/// The program that marks the pages as retired.
pub(crate) fn retire(pages: i32) -> Result<Vec<[u8; 8]>, Error> {
    let mut asm = Assembler::default();
    asm.map_value(R1, pages, header::STATE_OFFSET as u32);
    asm.immediate(Operation::Move, R2, State::Stopped as i32);
    asm.store(Width::W4, R1, 0, R2);
    asm.exit();
    asm.finish()
}

struct Writer {
    asm: Assembler,
    setting: Setting,
}

impl Writer {
    fn program(&mut self, variables: &[(usize, &KernelVariable)], duty: Duty) {
        let end = self.asm.label();
        self.asm.store(Width::W8, R10, frame::CONTEXT, R1);
        self.pages(R1, header::STATE_OFFSET);
        self.asm.load(Width::W4, R2, R1, 0);
        self.asm
            .jump_if(R2, When::Equal, State::Stopped as i32, end);
        if duty == Duty::Tick || variables.iter().any(|(_, variable)| variable.is_clock()) {
            self.now(duty);
        }
        match duty {
            Duty::Prime => self.copy(variables),
            Duty::Tick => {
                self.copy(variables);
                self.beat(end);
            }
            Duty::Event { lock } => self.event(variables, lock, end),
        }
        self.asm.place(end);
        self.asm.exit();
    }

    /// Leaves CLOCK_BOOTTIME in the frame, once for all variables.
    fn now(&mut self, duty: Duty) {
        match self.setting.boot_time {
            Some(time) if duty == Duty::Tick => {
                let asm = &mut self.asm;
                asm.load(Width::W8, R1, R10, frame::CONTEXT);
                asm.load(Width::W8, R1, R1, 0);
                asm.load(Width::W4, R3, R1, time.shift);
                asm.load(Width::W8, R0, R1, time.shifted);
                asm.register(Operation::ShiftRight, R0, R3);
                for offset in [time.base, time.boot] {
                    asm.load(Width::W8, R2, R1, offset);
                    asm.register(Operation::Add, R0, R2);
                }
            }
            // On a machine without a fast clock it costs as much as everything else together.
            _ => self.asm.call(Helper::KtimeGetBootNs),
        }
        self.asm.store(Width::W8, R10, frame::NOW, R0);
    }

    fn copy(&mut self, variables: &[(usize, &KernelVariable)]) {
        for &(number, variable) in variables {
            let (fail, done) = (self.asm.label(), self.asm.label());
            match &variable.content {
                Content::Scalar(value) => {
                    self.number(value, fail);
                    self.barrier();
                    self.pages(R2, variable.offset);
                    self.asm.store(width(value.ty.size()), R2, 0, R1);
                }
                Content::Latch { size, parts } => {
                    self.latch(variable.offset, *size, parts, fail);
                }
                Content::Clock(timeline) => self.timeline(variable.offset, timeline, fail),
            }
            if !self.asm.is_used(fail) {
                continue;
            }
            self.asm.jump(done);
            self.asm.place(fail);
            self.asm
                .map_value(R1, self.setting.control, 8 * number as u32);
            self.asm.immediate(Operation::Move, R2, 1);
            self.asm.atomic_add(R1, R2);
            self.asm.place(done);
        }
    }

    /// Header: when values were last written, and that they are live now unless they
    /// were already.
    fn beat(&mut self, end: Label) {
        self.asm.load(Width::W8, R1, R10, frame::NOW);
        self.barrier();
        self.pages(R2, header::UPDATED_OFFSET);
        self.asm.store(Width::W8, R2, 0, R1);
        self.pages(R2, header::STATE_OFFSET);
        self.asm.load(Width::W4, R1, R2, 0);
        let fresh = State::NeverPublished as i32;
        self.asm.jump_if(R1, When::NotEqual, fresh, end);
        self.asm.immediate(Operation::Move, R1, State::Live as i32);
        self.barrier();
        self.pages(R2, header::STATE_OFFSET);
        self.asm.store(Width::W4, R2, 0, R1);
    }

    fn event(&mut self, variables: &[(usize, &KernelVariable)], place: u32, end: Label) {
        let control = self.setting.control;
        let (count, lock) = (place, place + 8);
        self.asm.map_value(R1, control, count);
        self.asm.immediate(Operation::Move, R2, 1);
        self.asm.atomic_add(R1, R2);
        self.asm.immediate(Operation::Move, R7, TURNS);
        let turn = self.asm.label();
        self.asm.place(turn);
        self.asm.map_value(R1, control, lock);
        self.asm.immediate(Operation::Move, R2, 1);
        self.asm.exchange(R1, 0, R2);
        self.asm.jump_if(R2, When::NotEqual, 0, end);
        self.asm.map_value(R1, control, count);
        self.asm.load(Width::W8, R2, R1, 0);
        self.asm.store(Width::W8, R10, frame::SEEN, R2);
        self.copy(variables);
        self.asm.map_value(R1, control, lock);
        self.asm.immediate(Operation::Move, R2, 0);
        self.asm.exchange(R1, 0, R2);
        self.asm.map_value(R1, control, count);
        self.asm.load(Width::W8, R2, R1, 0);
        self.asm.load(Width::W8, R1, R10, frame::SEEN);
        self.asm.jump_if_register(R1, When::Equal, R2, end);
        self.asm.immediate(Operation::Add, R7, -1);
        self.asm.jump_if(R7, When::NotEqual, 0, turn);
    }

    fn latch(&mut self, offset: usize, size: usize, parts: &[(usize, Value)], fail: Label) {
        self.unused_copy(offset, size);
        for (at, value) in parts {
            // `Variable::fits` has seen to it that the size, so the place, is small.
            let at = *at as i16;
            match value.ty {
                Type::Scalar(scalar) => {
                    self.number(value, fail);
                    self.asm.store(width(scalar.size()), R6, at, R1);
                }
                Type::Array(scalar, count) if is_guarded(value, scalar) => {
                    self.checked_words(value, count, at, fail);
                }
                Type::Array(..) | Type::Text(_) if value.guard == Guard::Words => {
                    let words = value.ty.size() / 8;
                    self.checked_words(value, words as u32, at, fail);
                }
                Type::Array(..) | Type::Text(_) => {
                    self.address(value, fail);
                    self.asm.register(Operation::Move, R1, R6);
                    self.asm.immediate(Operation::Add, R1, at.into());
                    self.read(value.ty.size() as i32, 0, fail);
                }
            }
        }
        self.use_copy(offset);
    }

    /// Lets readers have the copy that has been written.
    fn use_copy(&mut self, offset: usize) {
        self.barrier();
        self.pages(R1, offset);
        self.asm.load(Width::W8, R2, R1, 0);
        self.asm.immediate(Operation::Add, R2, 1);
        self.asm.store(Width::W8, R1, 0, R2);
    }

    /// Leaves the address of the copy that no reader uses in R6.
    fn unused_copy(&mut self, offset: usize, size: usize) {
        let stride = latch::stride(size);
        self.pages(R6, offset);
        self.asm.load(Width::W8, R1, R6, 0);
        self.asm.immediate(Operation::Add, R1, 1);
        self.asm.immediate(Operation::And, R1, 1);
        self.asm.immediate(Operation::Multiply, R1, stride as i32);
        self.asm.register(Operation::Add, R6, R1);
        self.asm.immediate(Operation::Add, R6, latch::COPIES as i32);
        // The words below must not be seen before the number of the last write.
        self.barrier();
    }

    /// Copies numbers that must be no addresses, by way of the frame: what turns out
    /// to be one never reaches the pages.
    fn checked_words(&mut self, value: &Value, count: u32, at: i16, fail: Label) {
        self.address(value, fail);
        for first in (0..count).step_by(CHUNK as usize) {
            let here = CHUNK.min(count - first);
            self.asm.register(Operation::Move, R1, R10);
            self.asm.immediate(Operation::Add, R1, frame::CHUNK.into());
            self.read(8 * here as i32, 8 * first as i32, fail);
            for n in 0..here {
                self.asm
                    .load(Width::W8, R1, R10, frame::CHUNK + 8 * n as i16);
                self.guard(fail);
                self.asm
                    .store(Width::W8, R6, at + 8 * (first + n) as i16, R1);
            }
        }
    }

    /// Orders all stores before against all after, where the machine doesn't.
    /// Changes R2.
    fn barrier(&mut self) {
        if self.setting.machine == Machine::Weak {
            self.asm.immediate(Operation::Move, R2, 0);
            self.asm.store(Width::W8, R10, frame::SCRATCH, R2);
            self.asm.exchange(R10, frame::SCRATCH, R2);
        }
    }

    fn pages(&mut self, to: Register, offset: usize) {
        // `Variable::fits` has seen to it that offsets are those of a map.
        self.asm.map_value(to, self.setting.pages, offset as u32);
    }
}
