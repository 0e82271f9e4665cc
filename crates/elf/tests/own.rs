//! The vDSO of the test's own process, compared with the system calls.
#![allow(unsafe_code, reason = "the test forks")]

use vdsokit_elf::arch::{self, Call};
use vdsokit_elf::check::{self, Profile};
use vdsokit_elf::own::{self, Timespec, Vdso};

const CLOCKS: [i32; 6] = [
    libc::CLOCK_REALTIME,
    libc::CLOCK_MONOTONIC,
    libc::CLOCK_REALTIME_COARSE,
    libc::CLOCK_MONOTONIC_COARSE,
    libc::CLOCK_MONOTONIC_RAW,
    libc::CLOCK_BOOTTIME,
];

/// The vDSO's time lies between those of two system calls.
fn assert_between(vdso: Vdso, clock: i32) {
    let ask = |vdso: Vdso| vdso.clock_gettime(clock).expect("the clock exists");
    let before = ask(Vdso::SYSTEM_CALLS);
    let between = ask(vdso);
    let after = ask(Vdso::SYSTEM_CALLS);
    assert!(
        before <= between && between <= after,
        "clock {clock}: {before:?} {between:?} {after:?}"
    );
    assert!((0..1_000_000_000).contains(&between.nanoseconds));
}

#[test]
fn the_vdso_returns_the_system_calls_results() {
    let vdso = own::find().expect("Linux maps a vDSO");
    for clock in CLOCKS {
        assert_between(vdso, clock);
        assert_eq!(
            vdso.clock_getres(clock).ok(),
            Vdso::SYSTEM_CALLS.clock_getres(clock).ok()
        );
    }
    let plain = Vdso::SYSTEM_CALLS;
    let [before, seconds, after] = [plain, vdso, plain].map(|vdso| vdso.time().expect("time"));
    assert!(
        before <= seconds && seconds <= after,
        "{before} {seconds} {after}"
    );
    let [before, day, after] =
        [plain, vdso, plain].map(|vdso| vdso.gettimeofday().expect("gettimeofday"));
    assert!(
        before <= day && day <= after,
        "{before:?} {day:?} {after:?}"
    );
    assert!((0..1_000_000).contains(&day.microseconds));
}

/// What [`Vdso::SYSTEM_CALLS`] returns, against the C library.
#[test]
fn without_a_vdso_the_system_calls_are_made() {
    type Function = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> i32;
    let by_libc = |function: Function, clock| {
        let mut time = std::mem::MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the pointer is valid for one timespec, which the function wrote if it returned 0.
        let time = unsafe {
            assert_eq!(function(clock, time.as_mut_ptr()), 0);
            time.assume_init()
        };
        Timespec {
            seconds: time.tv_sec,
            nanoseconds: time.tv_nsec,
        }
    };
    for clock in CLOCKS {
        let before = by_libc(libc::clock_gettime, clock);
        let time = Vdso::SYSTEM_CALLS
            .clock_gettime(clock)
            .expect("the clock exists");
        let after = by_libc(libc::clock_gettime, clock);
        assert!(before <= time && time <= after, "clock {clock}");
        let resolution = Vdso::SYSTEM_CALLS
            .clock_getres(clock)
            .expect("the clock exists");
        assert_eq!(
            resolution,
            by_libc(libc::clock_getres, clock),
            "clock {clock}"
        );
    }
}

#[test]
fn getcpu_returns_the_cpu_of_a_pinned_thread() {
    let mut set = std::mem::MaybeUninit::<libc::cpu_set_t>::zeroed();
    let size = size_of::<libc::cpu_set_t>();
    let cpu = Vdso::SYSTEM_CALLS.getcpu().expect("getcpu").cpu;
    // SAFETY: a zeroed cpu_set_t is an empty set, and the pointers are valid for their size.
    // Only this thread is pinned.
    unsafe {
        libc::CPU_SET(cpu as usize, set.assume_init_mut());
        assert_eq!(libc::sched_setaffinity(0, size, set.as_ptr()), 0);
    }
    let vdso = own::find().expect("Linux maps a vDSO");
    assert_eq!(vdso.getcpu().expect("getcpu").cpu, cpu);
    assert_eq!(
        Vdso::SYSTEM_CALLS.getcpu().expect("getcpu"),
        vdso.getcpu().expect("getcpu")
    );
}

#[test]
fn errors_are_those_of_the_system_call() {
    let vdso = own::find().expect("Linux maps a vDSO");
    for vdso in [vdso, Vdso::SYSTEM_CALLS] {
        let error = vdso.clock_gettime(1_000).expect_err("no such clock");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}

#[test]
fn the_table_of_architectures_describes_this_machine() {
    let abi = arch::current().expect("a row for this architecture");
    let image = own::image().expect("Linux maps a vDSO");
    assert_eq!(arch::of(image.header()), Some(abi));
    assert_eq!(image.soname().and_then(|name| name.to_str()), abi.soname);
    let clock = abi.function(Call::ClockGettime).expect("a clock");
    let symbol = image
        .lookup_version(clock.name, clock.version)
        .expect("exported");
    assert_eq!(
        symbol
            .version
            .map(|version| version.name().to_string())
            .as_deref(),
        Some(clock.version)
    );
    assert!(
        image
            .lookup_in_file(clock.name, clock.version, "another.so")
            .is_none()
    );
    assert!(
        image
            .lookup_in_file(clock.name, clock.version, abi.soname.unwrap_or_default())
            .is_some()
    );
    assert!(image.lookup_version(clock.name, "LINUX_0.1").is_none());
}

#[test]
fn linuxs_own_vdso_has_no_findings() {
    let image = own::image().expect("Linux maps a vDSO");
    assert_eq!(check::check(&image, Profile::Foreign), []);
}

/// Whether `call` returns true in a child in which every system call but read, write and exit kills
/// (seccomp(2), SECCOMP_MODE_STRICT).
fn succeeds_without_system_calls(call: impl Fn() -> bool) -> bool {
    // SAFETY: the child only makes the call, which neither allocates nor locks, and system calls
    // that are async-signal-safe.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        // SAFETY: prctl and exit take integers. exit_group would be killed.
        unsafe {
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT);
            let status = if call() { 0 } else { 1 };
            libc::syscall(libc::SYS_exit, status);
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child made above and writes to a live integer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

/// A test that compares results only does not notice when the system call is made instead.
#[test]
fn served_functions_are_called_in_place_of_system_calls() {
    let vdso = own::find().expect("Linux maps a vDSO");
    let plain = Vdso::SYSTEM_CALLS;
    let coarse = libc::CLOCK_MONOTONIC_COARSE;
    // Functions that need no counter, which a clocksource could keep from user space.
    type Try = fn(Vdso) -> bool;
    let calls: [(Call, Try); 4] = [
        (Call::ClockGettime, |vdso| {
            vdso.clock_gettime(libc::CLOCK_MONOTONIC_COARSE).is_ok()
        }),
        (Call::ClockGetres, |vdso| {
            vdso.clock_getres(libc::CLOCK_MONOTONIC_COARSE).is_ok()
        }),
        (Call::Time, |vdso| vdso.time().is_ok()),
        (Call::Getcpu, |vdso| vdso.getcpu().is_ok()),
    ];
    for (call, try_it) in calls {
        assert!(!plain.serves(call), "{call:?}");
        if vdso.serves(call) {
            assert!(succeeds_without_system_calls(|| try_it(vdso)), "{call:?}");
            assert!(!succeeds_without_system_calls(|| try_it(plain)), "{call:?}");
        }
    }
    if cfg!(target_arch = "x86_64") {
        assert!(vdso.serves(Call::ClockGettime) && vdso.serves(Call::Gettimeofday));
    }
    assert!(!succeeds_without_system_calls(|| plain
        .clock_gettime(coarse)
        .is_ok()));
}

#[test]
fn cached_functions_stay_right_after_fork() {
    let vdso = own::find().expect("Linux maps a vDSO");
    let before: Timespec = vdso
        .clock_gettime(libc::CLOCK_MONOTONIC)
        .expect("the clock exists");
    // SAFETY: the child makes only async-signal-safe calls and leaves with _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        let plain = Vdso::SYSTEM_CALLS.clock_gettime(libc::CLOCK_MONOTONIC);
        let cached = vdso.clock_gettime(libc::CLOCK_MONOTONIC);
        let is_right = matches!((plain, cached), (Ok(p), Ok(c)) if before <= p && p <= c);
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(if is_right { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above and writes to a live integer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "status {status:#x}"
    );
}
