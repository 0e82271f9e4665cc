//! CPU time: the kernel's own coefficients of `sched_clock`, copied at each tick.
//!
//! The scheduler's account of a task is `se.sum_exec_runtime` up to `se.exec_start`, both in
//! `rq_clock_task` (kernel/sched/core.c). A reader can add what has passed since if that clock is
//! `sched_clock`, and `sched_clock` is the time-stamp counter. Other cases are refused here.

use crate::asm::{Assembler, Helper, Operation, Register, When, Width};
use crate::btf::TypeId;
use crate::publisher::{load, refused};
use crate::sys::{self, Attach};
use crate::{Error, Kernel};
use std::fmt;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};
use vdsokit_current::Head;

use Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};

/// Why the kernel alone knows CPU times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoCpuTime {
    /// The hypervisor's clock is `sched_clock`, or another that is not the counter's.
    ForeignClock,
    /// Time in interrupts is not the tasks' (`CONFIG_IRQ_TIME_ACCOUNTING`).
    InterruptTime,
    /// Time that the hypervisor took is not the tasks' (`paravirt_steal_rq_enabled`).
    StolenTime,
    /// The kernel does not say where its clock's variables are.
    Hidden,
}

impl fmt::Display for NoCpuTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForeignClock => "the scheduler's clock is not the CPU's counter (pv_sched_clock)",
            Self::InterruptTime => {
                "the kernel does not count interrupts as CPU time (CONFIG_IRQ_TIME_ACCOUNTING)"
            }
            Self::StolenTime => "the kernel does not count the hypervisor's time as CPU time",
            Self::Hidden => {
                "the kernel does not say where its clock's variables are (kernel.kptr_restrict, \
                 CONFIG_KALLSYMS_ALL)"
            }
        })
    }
}

/// Where the kernel has its clock.
#[derive(Debug)]
pub(super) struct SchedClock {
    stable: u64,
    offset: u64,
    cyc2ns: TypeId,
    sequence: i16,
    /// `mul`, `shift` and `offset` of both copies.
    copies: [[i16; 3]; 2],
    /// `timekeeper.tkr_mono.clock`, `clocksource.vdso_clock_mode` and its value for the counter.
    clocksource: i16,
    mode: i16,
    counter: i32,
    /// `timekeeper.tkr_mono.cycle_last`.
    cycles: i16,
}

impl SchedClock {
    /// The clock of this kernel, if the CPU times of tasks are in it.
    pub(super) fn of(kernel: &Kernel) -> Result<Result<Self, NoCpuTime>, Error> {
        let (Ok(stable), Ok(offset), Ok(cyc2ns)) = (
            kernel.address("__sched_clock_stable"),
            kernel.address("__sched_clock_offset"),
            kernel.variable_of_each_cpu("cyc2ns"),
        ) else {
            return Ok(Err(NoCpuTime::Hidden));
        };
        if let Some(reason) = obstacle(kernel)? {
            return Ok(Err(reason));
        }
        let copy = |n| -> Result<[i16; 3], Error> {
            let member = |name| kernel.member_offset("cyc2ns", &format!("data[{n}].cyc2ns_{name}"));
            Ok([member("mul")?, member("shift")?, member("offset")?])
        };
        Ok(Ok(Self {
            stable,
            offset,
            cyc2ns,
            sequence: kernel.member_offset("cyc2ns", "seq.seqcount.sequence")?,
            copies: [copy(0)?, copy(1)?],
            clocksource: kernel.member_offset("timekeeper", "tkr_mono.clock")?,
            mode: kernel.member_offset("clocksource", "vdso_clock_mode")?,
            counter: kernel.counter_mode()?,
            cycles: kernel.member_offset("timekeeper", "tkr_mono.cycle_last")?,
        }))
    }

    /// On `update_vsyscall` (argument 0 is the timekeeper), under the timekeeper's lock with interrupts
    /// disabled.
    pub(super) fn tick(&self, head: i32) -> Result<Vec<[u8; 8]>, Error> {
        const STABLE: i16 = -8;
        const OFFSET: i16 = -16;
        const SEQUENCE: i16 = -24;
        let at = |offset: usize| offset as i16;
        let mut asm = Assembler::default();
        let (off, second, have) = (asm.label(), asm.label(), asm.label());
        let (change, beat, end) = (asm.label(), asm.label(), asm.label());
        asm.load(Width::W8, R6, R1, 0);
        asm.load(Width::W8, R7, R6, self.cycles);
        asm.map_value(R9, head, 0);
        // Another clocksource's cycles are no heartbeat in ticks of the counter.
        asm.load(Width::W8, R1, R6, self.clocksource);
        asm.load(Width::W4, R1, R1, self.mode);
        asm.jump_if(R1, When::NotEqual, self.counter, off);
        for (to, size, from) in [(STABLE, 4, self.stable), (OFFSET, 8, self.offset)] {
            asm.register(Operation::Move, R1, R10);
            asm.immediate(Operation::Add, R1, to.into());
            asm.immediate(Operation::Move, R2, size);
            asm.constant(R3, from);
            asm.call(Helper::ProbeReadKernel);
            asm.jump_if(R0, When::NotEqual, 0, off);
        }
        asm.load(Width::W4, R1, R10, STABLE);
        asm.jump_if(R1, When::Equal, 0, off);
        asm.variable(R1, self.cyc2ns);
        asm.call(Helper::ThisCpuPtr);
        asm.register(Operation::Move, R8, R0);
        asm.load(Width::W4, R1, R8, self.sequence);
        asm.store(Width::W8, R10, SEQUENCE, R1);
        asm.immediate(Operation::And, R1, 1);
        asm.jump_if(R1, When::NotEqual, 0, second);
        for (copy, next) in [(self.copies[0], Some(second)), (self.copies[1], None)] {
            asm.load(Width::W4, R3, R8, copy[0]);
            asm.load(Width::W4, R4, R8, copy[1]);
            asm.load(Width::W8, R5, R8, copy[2]);
            if let Some(next) = next {
                asm.jump(have);
                asm.place(next);
            }
        }
        asm.place(have);
        // Changed meanwhile, as when the counter's rate is refined: the next tick copies.
        asm.load(Width::W4, R1, R8, self.sequence);
        asm.load(Width::W8, R2, R10, SEQUENCE);
        asm.jump_if_register(R1, When::NotEqual, R2, end);
        asm.load(Width::W8, R2, R10, OFFSET);
        asm.register(Operation::Add, R5, R2);
        for (width, field, value) in [
            (Width::W4, offset_of!(Head, mult), R3),
            (Width::W4, offset_of!(Head, shift), R4),
            (Width::W8, offset_of!(Head, offset), R5),
        ] {
            asm.load(width, R1, R9, at(field));
            asm.jump_if_register(R1, When::NotEqual, value, change);
        }
        asm.jump(beat);
        asm.place(change);
        raise(&mut asm);
        asm.store(Width::W4, R9, at(offset_of!(Head, mult)), R3);
        asm.store(Width::W4, R9, at(offset_of!(Head, shift)), R4);
        asm.store(Width::W8, R9, at(offset_of!(Head, offset)), R5);
        raise(&mut asm);
        asm.place(beat);
        asm.store(Width::W8, R9, at(offset_of!(Head, heartbeat)), R7);
        asm.jump(end);
        asm.place(off);
        asm.load(Width::W4, R1, R9, at(offset_of!(Head, mult)));
        asm.jump_if(R1, When::Equal, 0, end);
        raise(&mut asm);
        asm.immediate(Operation::Move, R1, 0);
        asm.store(Width::W4, R9, at(offset_of!(Head, mult)), R1);
        raise(&mut asm);
        asm.place(end);
        asm.exit();
        asm.finish()
    }
}

/// Raises the sequence number of the coefficients, with the head in R9.
fn raise(asm: &mut Assembler) {
    let at = offset_of!(Head, clock_sequence) as i16;
    asm.load(Width::W8, R1, R9, at);
    asm.immediate(Operation::Add, R1, 1);
    asm.store(Width::W8, R9, at, R1);
}

/// What keeps CPU times from being `sched_clock` of the counter in this boot.
fn obstacle(kernel: &Kernel) -> Result<Option<NoCpuTime>, Error> {
    // A kernel without the option has no such variable.
    let interrupts = kernel.address("sched_clock_irqtime").ok();
    let stolen = kernel.address("paravirt_steal_rq_enabled").ok();
    let function = kernel.address("__SCK__pv_sched_clock").ok();
    let wanted: Vec<(u64, i32)> = [(interrupts, 4), (stolen, 4), (function, 8)]
        .into_iter()
        .filter_map(|(address, size)| Some((address?, size)))
        .collect();
    let mut values = read(&wanted)?.into_iter();
    let mut next = |address: Option<u64>| address.and_then(|_| values.next());
    let (interrupts, stolen, function) = (next(interrupts), next(stolen), next(function));
    Ok(if interrupts.is_some_and(|value| value != 0) {
        Some(NoCpuTime::InterruptTime)
    } else if stolen.is_some_and(|value| value != 0) {
        Some(NoCpuTime::StolenTime)
    } else if function.is_some() && function != kernel.function("native_sched_clock") {
        Some(NoCpuTime::ForeignClock)
    } else {
        None
    })
}

/// Numbers of the kernel's, read once, each zero-extended to 8 bytes.
fn read(wanted: &[(u64, i32)]) -> Result<Vec<u64>, Error> {
    let map = crate::publisher::create(8 * wanted.len().max(1))?;
    let mut asm = Assembler::default();
    for (n, &(address, size)) in wanted.iter().enumerate() {
        asm.map_value(R1, map.as_raw_fd(), 8 * n as u32);
        asm.immediate(Operation::Move, R2, size);
        asm.constant(R3, address);
        asm.call(Helper::ProbeReadKernel);
    }
    asm.exit();
    let program = load(&asm.finish()?, Attach::ByHand)?;
    sys::run(program.as_fd()).map_err(refused("to run a program"))?;
    let bytes = sys::map_lookup(map.as_fd()).map_err(refused("to read a map"))?;
    let (words, _) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    Ok(words.take(wanted.len()).collect())
}
