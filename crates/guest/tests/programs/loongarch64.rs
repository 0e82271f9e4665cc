//! The image for LoongArch, called by a program under qemu-user. Debian has no compiler for the
//! architecture, so there is no reader in C beside it.

use super::{MONOTONIC, SECOND, WALL, frame};
use std::fs;
use std::mem;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use vdsokit_clock::{Clock, Leap, Moment, Start, Timekeeper};
use vdsokit_elf::Image as Elf;
use vdsokit_guest::{Contents, Facts, Image, Plan, Process, Publisher, Reseeds, WORDS};
use vdsokit_random::{Parameters, chacha};
use vdsokit_test_support::compiles_for;
use vdsokit_test_support::loongarch64::{PAGE, Program, SHARED, call};

/// Clocks with a record, which tell the time to the nanosecond.
const EXACT: [Clock; 5] = [
    Clock::Realtime,
    Clock::Monotonic,
    Clock::MonotonicRaw,
    Clock::Boottime,
    Clock::Tai,
];

fn image() -> Option<&'static Image> {
    let image = Image::of("loongarch64");
    // Without a target to compile for there is none, and the test is skipped.
    assert!(image.is_some() || compiles_for("loongarch64-unknown-linux-gnu").is_none());
    image
}

/// A program with the pages of a plan, as a loader of a kernel would map them, and the frames of the
/// publisher and of the process.
struct Guest {
    program: Program,
    base: u64,
    image: &'static Image,
    frame: &'static [AtomicU64; WORDS],
    process: &'static [AtomicU64; WORDS],
}

impl Guest {
    fn start(image: &'static Image, page_size: usize, directory: &Path) -> Self {
        let plan = Plan::new(image, page_size).unwrap();
        let mut bytes = vec![];
        for page in plan.pages() {
            if let Contents::Text(contents) = page.contents {
                assert_eq!(page.offset, bytes.len());
                bytes.extend_from_slice(contents);
                bytes.resize(page.offset + page_size, 0);
            }
        }
        let [text, page, process] = ["text", "page", "process"].map(|name| directory.join(name));
        fs::write(&text, bytes).unwrap();
        let (frame, process_frame) = (frame(&page, page_size), frame(&process, page_size));
        let mut program = Program::start();
        let base = program.map(&text, 0, plan.size());
        for (file, offset) in [(page, image.vvar()), (process, plan.process())] {
            program.map(&file, base + offset as u64, page_size);
        }
        Self {
            program,
            base,
            image,
            frame,
            process: process_frame,
        }
    }

    /// The address of a function.
    fn address(&self, name: &str) -> u64 {
        self.base + self.image.symbol(name).unwrap() as u64
    }

    /// Calls a function. C's int, for a function that returns one.
    fn call(&mut self, name: &str, arguments: &[u64]) -> i32 {
        self.program.call(self.address(name), arguments).integer as i32
    }

    /// The nanoseconds of a clock, and the counter before and after; or a number of errno.h.
    fn clock(&mut self, id: u32) -> Result<(i128, [u64; 2]), i32> {
        let function = self.address("__vdso_clock_gettime");
        let returned = self.program.call(function, &[id.into(), SHARED]);
        match returned.integer as i32 {
            0 => Ok((self.time(0), [returned.before, returned.after])),
            error => Err(-error),
        }
    }

    /// The nanoseconds of a `timespec` in the shared memory.
    fn time(&self, offset: usize) -> i128 {
        let [seconds, nanoseconds] = self.program.words(offset);
        i128::from(seconds.cast_signed()) * i128::from(SECOND) + i128::from(nanoseconds)
    }
}

/// The nanoseconds of a clock, by this machine's kernel.
fn here(
    id: u32,
    call: unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> i32,
) -> Result<i128, i32> {
    // SAFETY: a pointer to a local variable, for which zeroes are valid.
    let (result, time) = unsafe {
        let mut time: libc::timespec = mem::zeroed();
        (call(id.cast_signed(), &raw mut time), time)
    };
    match result {
        0 => Ok(i128::from(time.tv_sec) * i128::from(SECOND) + i128::from(time.tv_nsec)),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
    }
}

#[test]
fn a_page_that_was_not_published_is_the_system_call_s_on_loongarch() {
    let Some(image) = image() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut guest = Guest::start(image, PAGE, directory.path());
    let _publisher = Publisher::new(guest.frame);
    for id in (0..13).chain([99, u32::MAX, i32::MIN.cast_unsigned()]) {
        let before = here(id, libc::clock_gettime);
        let seen = guest.clock(id).map(|(time, _)| time);
        let after = here(id, libc::clock_gettime);
        match (before, seen, after) {
            // The CPU time of another process, and of its thread.
            (Ok(_), Ok(_), Ok(_)) if id == 2 || id == 3 => {}
            (Ok(before), Ok(seen), Ok(after)) => {
                assert!(
                    before <= seen && seen <= after,
                    "{id}: {before} {seen} {after}"
                );
            }
            _ => assert_eq!(seen.err(), before.err(), "{id}"),
        }
        let resolution = match guest.call("__vdso_clock_getres", &[id.into(), SHARED]) {
            0 => Ok(guest.time(0)),
            error => Err(-error),
        };
        assert_eq!(resolution, here(id, libc::clock_getres), "{id}");
    }
    // The time, and the zone behind it.
    let zone = SHARED + 16;
    let before = here(0, libc::clock_gettime).unwrap();
    assert_eq!(guest.call("__vdso_gettimeofday", &[SHARED, zone]), 0);
    let after = here(0, libc::clock_gettime).unwrap();
    let [seconds, microseconds] = guest.program.words(0);
    let seen = i128::from(seconds * SECOND + microseconds * 1000);
    assert!(before - 1000 < seen && seen <= after);
    // SAFETY: a pointer to a local variable with the two numbers of a `timezone`.
    let expected = unsafe {
        let mut zone = [0; 2];
        let result = libc::gettimeofday(std::ptr::null_mut(), (&raw mut zone).cast());
        assert_eq!(result, 0);
        zone.map(i32::to_ne_bytes)
    };
    assert_eq!(guest.program.read::<8>(16), expected.as_flattened());
    // A bound of a clock that is the kernel's own: its time.
    let before = here(1, libc::clock_gettime).unwrap();
    assert_eq!(guest.call("vdso_clock_bound", &[1, SHARED, SHARED + 16]), 0);
    let (earliest, latest) = (guest.time(0), guest.time(16));
    assert!(before <= earliest && earliest == latest);
    guest.program.end();
}

#[test]
fn programs_have_the_timekeeper_s_time_on_loongarch() {
    let Some(image) = image() else { return };
    for page_size in [PAGE, 65_536] {
        let directory = tempfile::tempdir().unwrap();
        let mut guest = Guest::start(image, page_size, directory.path());
        let mut publisher = Publisher::new(guest.frame);
        let (_, [ticks, _]) = guest.clock(1).unwrap();
        let mut keeper = Timekeeper::new(Start {
            // The emulator's counter is this machine's, of any rate: no test needs the right one.
            frequency: SECOND,
            ticks,
            monotonic: Moment::from_seconds(MONOTONIC),
            wall: Moment::from_seconds(WALL),
            promise: 3600 * SECOND,
            tai: 37,
        })
        .unwrap();
        for turn in 0..8 {
            match turn {
                2 => keeper.correct(1 << 23).unwrap(),
                4 => keeper.slew(-5_000_000),
                5 => keeper.set_wall(keeper.updated(), Moment::from_seconds(WALL + 5)),
                6 => keeper.set_leap(Some(Leap::Insert(WALL + 1000))),
                _ => {}
            }
            let (_, [_, ticks]) = guest.clock(1).unwrap();
            keeper.update(ticks);
            publisher.publish(&keeper);
            for clock in EXACT {
                let (seen, ticks) = guest.clock(clock.id()).unwrap();
                let record = keeper.record(clock);
                let [earliest, latest] =
                    ticks.map(|ticks| record.at(ticks).unwrap().as_nanoseconds());
                assert!(
                    earliest <= seen && seen <= latest,
                    "{clock:?} in turn {turn}: {earliest} {seen} {latest}"
                );
            }
            for clock in [Clock::RealtimeCoarse, Clock::MonotonicCoarse] {
                let (seen, _) = guest.clock(clock.id()).unwrap();
                assert_eq!(seen, keeper.record(clock).current.base.as_nanoseconds());
            }
        }
        publisher.system_calls();
        let before = here(1, libc::clock_gettime).unwrap();
        let (seen, _) = guest.clock(1).unwrap();
        assert!(before <= seen && seen <= here(1, libc::clock_gettime).unwrap());
        guest.program.end();
    }
}

/// The last CPU that this thread may run on.
fn last_cpu() -> usize {
    // SAFETY: pointers to a local variable, for which zeroes are valid, and numbers of CPUs that are in
    // the set.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut set), 0);
        let cpus = 0..libc::CPU_SETSIZE as usize;
        cpus.rev().find(|cpu| libc::CPU_ISSET(*cpu, &set)).unwrap()
    }
}

#[test]
fn ids_and_the_cpu_are_those_of_the_program_on_loongarch() {
    let Some(image) = image() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut guest = Guest::start(image, PAGE, directory.path());
    let mut publisher = Publisher::new(guest.frame);
    let ids = |guest: &mut Guest| ["vdso_getpid", "vdso_getppid"].map(|name| guest.call(name, &[]));
    let real = [guest.program.id(), std::process::id()].map(u32::cast_signed);
    assert_eq!(ids(&mut guest), real);
    let facts = Facts {
        pid: 1_000_001,
        ppid: 1_000_000,
    };
    let mut process = Process::new(guest.process, facts);
    publisher.process_pages();
    assert_eq!(ids(&mut guest), [1_000_001, 1_000_000]);
    process.share();
    assert_eq!(ids(&mut guest), real);

    let cpu = last_cpu();
    // SAFETY: a pointer to a local variable, for which zeroes are valid, and a CPU's number in the set.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        let id = guest.program.id().cast_signed();
        assert_eq!(
            libc::sched_setaffinity(id, size_of_val(&set), &raw const set),
            0
        );
    }
    assert_eq!(guest.call("__vdso_getcpu", &[SHARED, 0, 0]), 0);
    assert_eq!(u32::from_le_bytes(guest.program.read(0)) as usize, cpu);
    guest.program.end();
}

#[test]
fn random_bytes_are_those_of_the_key_on_loongarch() {
    let Some(image) = image() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut guest = Guest::start(image, PAGE, directory.path());
    let _publisher = Publisher::new(guest.frame);
    let query = |guest: &mut Guest| guest.call("__vdso_getrandom", &[0, 0, 0, SHARED, u64::MAX]);
    // No generation: no function, and bytes by the system call.
    assert_eq!(query(&mut guest), -libc::ENOSYS);
    guest.program.write(0, &[0; 32]);
    assert_eq!(guest.call("__vdso_getrandom", &[SHARED, 32, 0, 0, 0]), 32);
    assert_ne!(guest.program.read(0), [0; 32]);

    const STATE: usize = 0x1000;
    let state = SHARED + STATE as u64;
    let mut reseeds = Reseeds::new(guest.frame);
    for _ in 0..4 {
        reseeds.reseeded();
        assert_eq!(query(&mut guest), 0);
        let of = Parameters::STATE;
        let parameters: [u8; 12] = guest.program.read(0);
        let expected = [of.size, of.protection, of.flags].map(u32::to_le_bytes);
        assert_eq!(parameters, expected.as_flattened());
        // A new key, and all of its first batch.
        let size = of.size.into();
        assert_eq!(
            guest.call("__vdso_getrandom", &[SHARED, 160, 0, state, size]),
            160
        );
        let (batch, key) = (
            guest.program.read::<160>(STATE),
            guest.program.read(STATE + 160),
        );
        assert_eq!(batch, [0; 160]);
        let mut blocks = [[0; chacha::BLOCK]; 16];
        chacha::fill(&mut blocks, &key, 0);
        assert_eq!(
            guest.call("__vdso_getrandom", &[SHARED, 1000, 0, state, size]),
            1000
        );
        assert_eq!(guest.program.read::<1000>(0), blocks.as_flattened()[..1000]);
    }
    guest.program.end();
}

/// The handler is the function itself: what a handler that ends at once returns to.
#[test]
fn a_handler_returns_by_the_image_s_sigreturn_on_loongarch() {
    let Some(image) = image() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut guest = Guest::start(image, PAGE, directory.path());
    let signal = libc::SIGUSR1 as u64;
    let handler = guest.base + image.rt_sigreturn().unwrap() as u64;
    // `struct sigaction` of the kernel's: handler, flags and mask. The kernel forgets the handler when
    // it has called it.
    let action = [handler, libc::SA_RESETHAND as u32 as u64, 0].map(u64::to_le_bytes);
    guest.program.write(0, action.as_flattened());
    let program = &mut guest.program;
    assert_eq!(
        program.system_call(call::RT_SIGACTION, &[signal, SHARED, 0, 8]),
        0
    );
    let id = program.id().into();
    assert_eq!(program.system_call(call::KILL, &[id, signal]), 0);
    assert_eq!(
        program.system_call(call::RT_SIGACTION, &[signal, 0, SHARED, 8]),
        0
    );
    assert_eq!(program.words(0), [0]);
    guest.program.end();
}

/// The compiler's target has vectors, which not every processor has.
#[test]
fn the_image_for_loongarch_needs_no_vectors() {
    let Some(image) = image() else { return };
    let mut bytes = image.text().to_vec();
    bytes.resize(image.vvar() + 65_536, 0);
    let file = Elf::parse(&bytes).unwrap();
    let code = file.sections().find(|section| section.name() == ".text");
    let code = file.section_bytes(&code.unwrap()).unwrap();
    for (index, word) in code.as_chunks::<4>().0.iter().enumerate() {
        // Reference Manual, volume 2: loads and stores, with `vldrepl` and `vstelm`; and operations.
        let is_vector = matches!(word[3], 0x2c | 0x30..=0x33 | 0x70..=0x77);
        assert!(!is_vector, "{word:x?} at {:#x}", index * 4);
    }
}
