//! Unwinding at every instruction: a profiler's signal may interrupt any of them.
//!
//! A child calls the image's functions under PTRACE_SINGLESTEP. At each instruction of the image,
//! and of the kernel's vDSO where the image calls it, the unwind information of both has to lead
//! back to the caller, with the caller's stack pointer and callee-saved registers.
#![cfg(target_arch = "x86_64")]
#![allow(
    unsafe_code,
    reason = "a process is traced, and its registers are set to call a function"
)]

mod frames;
#[path = "../image/mod.rs"]
mod image;
#[path = "../tracee/mod.rs"]
mod tracee;

use frames::Frames;
use image::{Loaded, image};
use std::collections::BTreeSet;
use std::ffi::c_void;
use tracee::{Registers, Tracee};
use vdsokit_clock::page::{READS, source_offset};
use vdsokit_clock::{Clock, ErrorBound, Line, Moment, Rate, Record, Source};
use vdsokit_random::{Parameters, Reseeds, State};
use vdsokit_vvar::scalar::Scalar;

/// Where the child's functions write: shared, so that this process can prepare it.
struct Memory(*mut c_void);

impl Memory {
    const SIZE: usize = 4096;

    fn new() -> Self {
        // SAFETY: a new mapping; it stays as long as the process.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at)
    }

    /// The address of the first, second, … 512 bytes.
    fn part(&self, number: usize) -> u64 {
        self.0 as u64 + number as u64 * 512
    }
}

/// The image and the kernel's vDSO with a child that runs them.
struct Stepper {
    tracee: Tracee,
    frames: Frames,
    kernel: Frames,
    /// The instructions of the image that were met.
    seen: BTreeSet<u64>,
}

impl Stepper {
    fn new(loaded: &Loaded) -> Self {
        Self {
            frames: Frames::new(vdsokit_virtual_time::IMAGE, loaded.base() as u64),
            kernel: kernel_frames(),
            tracee: Tracee::start(),
            seen: BTreeSet::new(),
        }
    }

    /// Calls a function, and unwinds at each of its instructions.
    fn call(&mut self, what: &str, function: usize, arguments: &[u64]) {
        let caller = self.tracee.enter(function as u64, arguments);
        // Where the call returns to: nothing is there, and it is never run.
        loop {
            let registers = self.tracee.registers();
            if registers.pc == caller.pc {
                break;
            }
            if self.frames.contains(registers.pc) {
                self.seen.insert(registers.pc - self.frames.base());
            }
            self.unwind(what, registers, &caller);
            self.tracee.step();
        }
        self.tracee.leave();
    }

    fn unwind(&self, what: &str, at: Registers, caller: &Registers) {
        let mut frame = at;
        let mut is_innermost = true;
        let mut depth = 0;
        while let Some(frames) = [&self.frames, &self.kernel]
            .into_iter()
            .find(|frames| frames.contains(frame.pc))
        {
            // A return address may lie behind the function that made the call.
            let pc = frame.pc - u64::from(!is_innermost);
            let read = |address| self.tracee.word(address);
            frame = frames.caller(pc, &frame, read).unwrap_or_else(|error| {
                panic!(
                    "{what}, at {:#x} of the {}: {error}",
                    pc - frames.base(),
                    if frames.base() == self.frames.base() {
                        "image"
                    } else {
                        "kernel's vDSO"
                    }
                )
            });
            is_innermost = false;
            depth += 1;
            assert!(depth < 8, "{what}, at {:#x}: no end", at.pc);
        }
        assert!(depth > 0, "{what}: {:#x} is no address of a vDSO", at.pc);
        assert_eq!(
            frame,
            *caller,
            "{what}, at {:#x} of the image",
            at.pc.wrapping_sub(self.frames.base())
        );
    }
}

fn kernel_frames() -> Frames {
    let image = vdsokit_elf::own::image().expect("the kernel's vDSO");
    // SAFETY: it has no side effect.
    let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    let load = image
        .segments()
        .find(|segment| segment.is_load())
        .expect("a segment");
    Frames::new(image.bytes(), base.wrapping_sub(load.vaddr))
}

fn ticks() -> u64 {
    image::counter::ticks()
}

fn line(start: u64, length: u64, hertz: u64, nanoseconds: i64) -> Line {
    Line {
        start,
        length,
        rate: Rate::from_frequency(hertz).unwrap(),
        base: Moment::from_timespec(86_400, nanoseconds).unwrap(),
    }
}

/// A record of each source, and of each way in which its time is found.
fn records() -> Vec<(&'static str, Record)> {
    let now = ticks();
    let long = 1 << 50;
    let counter = |current, former| Record {
        source: Source::Counter { monotonic: true },
        current,
        former,
        error: ErrorBound::default(),
    };
    let of_kernel = |start| Record {
        source: Source::KernelClock(Clock::Monotonic.id() as u8),
        current: line(start, u64::MAX - start, 1_000_000_000, 5),
        ..Record::SYSTEM_CALL
    };
    let moved = |seconds, nanoseconds| {
        Record::kernel_moved(Moment::from_timespec(seconds, nanoseconds).unwrap())
    };
    let source = |source| Record {
        source,
        ..Record::SYSTEM_CALL
    };
    let gigahertz = 2_000_000_000;
    vec![
        ("no time", source(Source::SystemCall)),
        ("the kernel's", source(Source::Kernel)),
        (
            "the first line",
            counter(line(now, long, gigahertz, 5), Line::NONE),
        ),
        (
            "the second line",
            counter(
                line(now, long, gigahertz, 5),
                line(now - 9, 9, gigahertz, 5),
            ),
        ),
        (
            "the former line",
            counter(
                line(now + long, long, gigahertz, 5),
                line(now, long, gigahertz, 5),
            ),
        ),
        (
            "more than a nanosecond a tick",
            counter(line(now, long, 900_000_000, 5), Line::NONE),
        ),
        (
            "a later second",
            counter(line(now, long, gigahertz, 999_999_999), Line::NONE),
        ),
        (
            "the end of a line",
            counter(line(now, 1, gigahertz, 5), Line::NONE),
        ),
        (
            "another boot's line",
            counter(line(now + long, 1, gigahertz, 5), Line::NONE),
        ),
        ("a clock of the kernel's", of_kernel(0)),
        ("one that is not there yet", of_kernel(u64::MAX - 1)),
        ("moved by seconds", moved(-7, 0)),
        ("moved by nanoseconds", moved(7, 1)),
        ("moved by nearly a second", moved(7, 999_999_999)),
        ("fixed", Record::fixed(Moment::from_timespec(7, 8).unwrap())),
        (
            "reads",
            Record {
                source: Source::Reads,
                current: line(0, u64::MAX, 1_000, 5),
                ..Record::SYSTEM_CALL
            },
        ),
    ]
}

fn clocks(stepper: &mut Stepper, loaded: &Loaded, memory: &Memory) {
    let calls = loaded.calls;
    let (first, second) = (memory.part(0), memory.part(1));
    // 10 is no clock: there the kernel's function fails.
    let ids: [u32; 3] = [1, 5, 10];
    for (what, record) in records() {
        for id in ids.into_iter().chain([0]) {
            loaded.publish(id, &record);
        }
        for id in ids.into_iter().chain([16, u32::MAX - 1]) {
            let what = format!("clock_gettime({id}), {what}");
            stepper.call(&what, calls.clock_gettime as usize, &[id.into(), first]);
        }
        stepper.call(what, calls.gettimeofday as usize, &[first, second]);
        stepper.call(what, calls.gettimeofday as usize, &[0, 0]);
        stepper.call(what, calls.time as usize, &[first]);
        stepper.call(what, calls.clock_getres as usize, &[1, first]);
        stepper.call(what, calls.getcpu as usize, &[first, second, 0]);
        for id in [0, 1, 5, 99] {
            stepper.call(what, loaded.bound(), &[id, first, second]);
        }
    }
    // A publisher that died, or is between its two stores: the record has another source.
    let mut sources: Vec<Record> = records().into_iter().map(|(_, record)| record).collect();
    sources.dedup_by_key(|record| record.source);
    let pairs = |hint: &Record| {
        let hint = *hint;
        sources
            .clone()
            .into_iter()
            .map(move |record| (hint, record))
    };
    for (hint, record) in sources.iter().flat_map(pairs) {
        loaded.publish(1, &record);
        let scalar = loaded.scalar(source_offset(1));
        u64::store(scalar, hint.source.to_word());
        stepper.call(
            "a hint of another source",
            calls.clock_gettime as usize,
            &[1, first],
        );
    }
    loaded.publish(1, &Record::SYSTEM_CALL);
}

fn random(stepper: &mut Stepper, loaded: &Loaded, memory: &Memory) {
    let function = loaded.calls.getrandom as usize;
    let (buffer, state) = (memory.part(0), memory.part(2));
    let size = size_of::<State>() as u64;
    // SAFETY: 512 bytes of this process's own memory, more than a state.
    unsafe { (state as *mut State).write(State::NEW) };
    let query = [0, 0, 0, memory.part(1), u64::MAX];
    assert!(size_of::<Parameters>() <= 512);
    for generation in [false, true] {
        if generation {
            Reseeds::new(loaded.generation()).reseeded();
        }
        stepper.call("getrandom's query", function, &query);
        for length in [0, 1, 15, 16, 64, 200, 400] {
            let arguments = [buffer, length, 0, state, size];
            stepper.call(&format!("getrandom({length})"), function, &arguments);
        }
        stepper.call(
            "getrandom with flags",
            function,
            &[buffer, 8, 1, state, size],
        );
        stepper.call(
            "getrandom without a state",
            function,
            &[buffer, 8, 0, state, 1],
        );
    }
}

#[test]
fn every_instruction_can_be_unwound() {
    let loaded = Loaded::new(image());
    let memory = Memory::new();
    let mut seen = BTreeSet::new();
    for linked in [false, true] {
        if linked {
            loaded.link_kernel();
            loaded.link(READS, memory.part(7) as usize);
        }
        let mut stepper = Stepper::new(&loaded);
        clocks(&mut stepper, &loaded, &memory);
        random(&mut stepper, &loaded, &memory);
        seen.append(&mut stepper.seen);
    }
    each_function_was_stepped(&seen);
}

/// Each function that the image exports was entered, and `clock_gettime` nearly all of it: no
/// instruction is longer than 15 bytes.
fn each_function_was_stepped(seen: &BTreeSet<u64>) {
    let image = vdsokit_elf::Image::parse(vdsokit_virtual_time::IMAGE).unwrap();
    let mut functions = 0;
    for symbol in image.symbols().filter(|symbol| symbol.size > 0) {
        assert!(seen.contains(&symbol.value), "{:?}", symbol.name());
        functions += 1;
    }
    assert!(functions >= 7);
    let function = image.lookup("clock_gettime").unwrap();
    let end = function.value + function.size;
    let met: Vec<_> = seen
        .range(function.value..end)
        .copied()
        .chain([end])
        .collect();
    for pair in met.windows(2) {
        assert!(pair[1] - pair[0] <= 15, "{pair:#x?} is not covered");
    }
}
