//! Costs in instructions, on a machine that counts them.

use super::tasks::{fork, until, wait};
use super::{Published, reader, until_known};
use std::hint::black_box;
use std::time::Instant;
use vdsokit_bpf::current::Audience;
use vdsokit_bpf::sys;
use vdsokit_current::Hint;

/// A pipe's two ends.
fn pipe() -> [i32; 2] {
    let mut ends = [0; 2];
    // SAFETY: two descriptors are written to the array.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    ends
}

fn pass(from: i32, to: i32, first: bool) {
    let mut byte = [0_u8];
    let read = |byte: &mut [u8; 1]| {
        // SAFETY: one byte is read to the array.
        assert_eq!(unsafe { libc::read(from, byte.as_mut_ptr().cast(), 1) }, 1);
    };
    if !first {
        read(&mut byte);
    }
    // SAFETY: one byte is written from the array.
    assert_eq!(unsafe { libc::write(to, byte.as_ptr().cast(), 1) }, 1);
    if first {
        read(&mut byte);
    }
}

/// Nanoseconds of a round of a ping-pong of two processes on one CPU, which is two switches: of a thousand
/// rounds the one in the middle. Ticks, and what the scheduler does each millisecond, lengthen some
/// rounds; others are shorter than most, as when no timer is due.
fn round() -> u64 {
    const ROUNDS: usize = 1_000;
    let (there, back) = (pipe(), pipe());
    let child = fork(|| (0..ROUNDS + 10).for_each(|_| pass(there[0], back[1], false)));
    (0..10).for_each(|_| pass(back[0], there[1], true));
    let mut rounds: Vec<u64> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        pass(back[0], there[1], true);
        rounds.push(start.elapsed().as_nanos() as u64);
    }
    assert!(wait(child));
    for end in there.into_iter().chain(back) {
        // SAFETY: descriptors that are used no more.
        unsafe { libc::close(end) };
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn median(mut values: [u64; 7]) -> u64 {
    values.sort_unstable();
    values[3]
}

fn cost<T>(mut what: impl FnMut() -> T) -> u64 {
    const TURNS: u32 = 1_000;
    median([(); 7].map(|()| {
        let start = Instant::now();
        for _ in 0..TURNS {
            black_box(what());
        }
        start.elapsed().as_nanos() as u64 / u64::from(TURNS)
    }))
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-instructions"]
fn what_a_switch_and_a_read_cost() {
    let pace: u64 = std::env::var("INSTRUCTION_NS").unwrap().parse().unwrap();
    // In turns, and the least of each: whatever else the guest does only adds.
    let audiences = [None, Some(Audience::World), Some(Audience::Users(vec![0]))];
    let mut least = [u64::MAX; 3];
    for _ in 0..3 {
        for (audience, least) in audiences.iter().zip(&mut least) {
            let before = sys::objects().unwrap();
            let published = audience.as_ref().map(Published::start);
            *least = [round(), round()].into_iter().fold(*least, u64::min);
            drop(published);
            // Programs are freed after a grace period.
            until(|| sys::no_more_objects_than(before).unwrap());
        }
    }
    // Two switches a round.
    let [without, world, user] = least.map(|time| time / (2 * pace));
    println!("a switch of a pipe ping-pong: {without} instructions");
    for (whose, with) in [("everybody", world), ("one user", user)] {
        let hook = with.saturating_sub(without);
        let share = hook as f64 * 100.0 / without as f64;
        println!("the hook for {whose}: {hook} instructions, {share:.1} % of that");
        // It stores all facts.
        assert!(hook <= 360, "{whose}: {hook}");
    }
    let _published = Published::for_everybody();
    let reader = reader();
    until_known(reader);
    // SAFETY: the calls take no arguments and have no effects.
    let call = |number| cost(|| unsafe { libc::syscall(number) }) / pace;
    let empty = cost(|| 0) / pace;
    let hint = Hint::new();
    let reads = [
        (
            "tid",
            cost(|| reader.tid(&hint)) / pace,
            call(libc::SYS_gettid),
        ),
        (
            "pid",
            cost(|| reader.pid(&hint)) / pace,
            call(libc::SYS_getpid),
        ),
        (
            "parent",
            cost(|| reader.parent(&hint)) / pace,
            call(libc::SYS_getppid),
        ),
        (
            "thread CPU time",
            cost(|| reader.thread_cpu_time(&hint)) / pace,
            {
                let mut time = libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                // SAFETY: the kernel writes the local variable.
                cost(|| unsafe {
                    libc::syscall(
                        libc::SYS_clock_gettime,
                        libc::CLOCK_THREAD_CPUTIME_ID,
                        &raw mut time,
                    )
                }) / pace
            },
        ),
    ];
    println!("an empty turn: {empty} instructions");
    for (what, read, call) in reads {
        println!("{what}: {read} instructions, the system call {call}");
        assert!(read < call, "{what}");
    }
}
