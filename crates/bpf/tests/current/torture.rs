//! Many tasks of every kind compare what the slots say with what the kernel says.

use super::tasks::{Counts, Stack, cpus, execute, fork, next, run_on, shared, wait};
use super::{Published, reader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vdsokit_current::{Hint, Reader};

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    counts: [Counts; KINDS.len()],
}

/// What a kind of task is given.
#[derive(Clone, Copy)]
struct Work {
    reader: Reader,
    counts: &'static Counts,
    stop: &'static AtomicBool,
}

impl Work {
    fn goes_on(self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn in_threads(self, count: usize, task: fn(Self, usize)) {
        std::thread::scope(|scope| {
            for number in 0..count {
                scope.spawn(move || task(self, number));
            }
        });
    }
}

/// What a kind of task is called, and what it does until it is to stop.
type Kind = (&'static str, fn(Work));

const KINDS: [Kind; 13] = [
    ("threads", threads),
    ("bounce", bounce),
    ("fork", forks),
    ("vfork", vforks),
    ("vfork, exec", vforks_that_execute),
    ("new threads", new_threads),
    ("shared memory", in_shared_memory),
    ("signals", signals),
    ("exec", executions),
    ("exec of a thread", executions_of_threads),
    ("orphans", orphans),
    ("PID namespaces", pid_namespaces),
    ("switches", switches),
];

/// For so many seconds, or as long as `SOAK_SECONDS` says.
const SECONDS: u64 = 6;

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-torture"]
fn no_read_is_wrong_under_torture() {
    let _published = Published::for_everybody();
    torture();
}

/// Also without the instruction `rdpid`.
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-torture-lsl"]
fn no_read_is_wrong_without_rdpid() {
    assert!(
        !vdsokit_current::has_rdpid(),
        "this machine has the instruction"
    );
    let _published = Published::for_everybody();
    torture();
}

/// One kind of task alone for each slot of time: under load, CPUs come and go.
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-hotplug"]
fn no_read_is_wrong_while_cpus_come_and_go() {
    let _published = Published::for_everybody();
    assert!(cpus() > 1);
    let done: &AtomicBool = shared();
    let plugging = fork(|| {
        for turn in 1_usize.. {
            if done.load(Ordering::Relaxed) && turn % 2 == 1 {
                return;
            }
            // CPU 0 can't be unplugged.
            let cpu = 1 + (turn - 1) / 2 % (cpus() - 1);
            let online = format!("/sys/devices/system/cpu/cpu{cpu}/online");
            std::fs::write(online, if turn % 2 == 1 { "0" } else { "1" }).unwrap();
        }
    });
    torture();
    done.store(true, Ordering::Relaxed);
    assert!(wait(plugging));
}

/// Compares in all kinds of tasks at once.
fn torture() {
    let shared: &'static Shared = shared();
    let reader = reader();
    let begin = |number: usize| {
        fork(|| {
            KINDS[number].1(Work {
                reader,
                counts: &shared.counts[number],
                stop: &shared.stop,
            });
        })
    };
    let workers: Vec<i32> = (0..KINDS.len()).map(begin).collect();
    let seconds = std::env::var("SOAK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    std::thread::sleep(Duration::from_secs(seconds));
    shared.stop.store(true, Ordering::Relaxed);
    let ended: Vec<bool> = workers.into_iter().map(wait).collect();
    println!("{:18} {:>12} {:>10} {:>6}", "", "reads", "unknown", "wrong");
    let mut sum = [0; 3];
    for ((name, _), counts) in KINDS.iter().zip(&shared.counts) {
        let numbers = counts.numbers();
        println!(
            "{name:18} {:>12} {:>10} {:>6}",
            numbers[0], numbers[1], numbers[2]
        );
        for (sum, number) in sum.iter_mut().zip(numbers) {
            *sum += number;
        }
        // What was never compared, or never known, shows nothing.
        assert!(numbers[0] > numbers[1], "{name}");
    }
    println!("{:18} {:>12} {:>10} {:>6}", "all", sum[0], sum[1], sum[2]);
    assert_eq!(sum[2], 0, "wrong answers");
    assert!(ended.iter().all(|&ended| ended), "{ended:?}");
}

fn threads(work: Work) {
    // Busy threads leave the CPUs to the other kinds now and then.
    work.in_threads(8, |work, _| {
        while work.goes_on() {
            work.counts.many_ids(work.reader, 1_000);
            std::thread::yield_now();
        }
    });
}

/// From CPU to CPU.
fn bounce(work: Work) {
    work.in_threads(4, |work, number| {
        for turn in number.. {
            if !work.goes_on() {
                return;
            }
            run_on(turn % cpus());
            work.counts.ids(work.reader);
            work.counts.many_ids(work.reader, 10);
        }
    });
}

fn forks(work: Work) {
    let Work { reader, counts, .. } = work;
    while work.goes_on() {
        let child = fork(|| {
            counts.ids(reader);
            counts.parents(reader);
            let grandchild = fork(|| {
                counts.ids(reader);
                counts.parents(reader);
                counts.many_ids(reader, 20);
            });
            wait(grandchild);
            counts.ids(reader);
            counts.parents(reader);
        });
        counts.ids(reader);
        wait(child);
        counts.ids(reader);
    }
}

fn vforks(work: Work) {
    let Work { reader, counts, .. } = work;
    let mut stack = Stack::new();
    while work.goes_on() {
        counts.ids(reader);
        let child = || {
            counts.ids(reader);
            counts.parents(reader);
        };
        // SAFETY: the task only counts, in memory that is never unmapped.
        let child = unsafe { stack.clone(libc::CLONE_VFORK, &child) };
        counts.ids(reader);
        wait(child);
    }
}

fn vforks_that_execute(work: Work) {
    let Work { reader, counts, .. } = work;
    let mut stack = Stack::new();
    while work.goes_on() {
        let child = || {
            counts.ids(reader);
            execute(0);
        };
        // SAFETY: the task only counts, in memory that is never unmapped, and executes.
        let child = unsafe { stack.clone(libc::CLONE_VFORK, &child) };
        counts.ids(reader);
        counts.count(Some(wait(child)), |&right| right);
    }
}

fn new_threads(work: Work) {
    while work.goes_on() {
        work.in_threads(4, |work, _| work.counts.ids(work.reader));
        work.counts.ids(work.reader);
    }
}

/// Tasks in the same memory with the same thread pointer, running at the same time.
fn in_shared_memory(work: Work) {
    let Work { reader, counts, .. } = work;
    let mut stacks = [Stack::new(), Stack::new()];
    let child = || {
        for _ in 0..50 {
            counts.ids(reader);
            counts.parents(reader);
        }
    };
    while work.goes_on() {
        // SAFETY: the tasks only count, in memory that is never unmapped.
        let tasks = stacks
            .each_mut()
            .map(|stack| unsafe { stack.clone(0, &child) });
        for _ in 0..100 {
            counts.ids(reader);
        }
        for task in tasks {
            wait(task);
        }
    }
}

/// Handlers read while a read of the same thread is interrupted.
fn signals(work: Work) {
    static WORK: std::sync::OnceLock<Work> = std::sync::OnceLock::new();
    extern "C" fn handler(_: i32) {
        if let Some(work) = WORK.get() {
            work.counts.ids(work.reader);
        }
    }
    let _ = WORK.set(work);
    // SAFETY: the handler only reads and counts.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    work.in_threads(3, |work, number| {
        while work.goes_on() {
            if number == 0 {
                // SAFETY: a signal to this process, which has a handler.
                unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
                work.counts.ids(work.reader);
            } else {
                work.counts.many_ids(work.reader, 100);
                std::thread::yield_now();
            }
        }
    });
}

fn executions(work: Work) {
    while work.goes_on() {
        let child = fork(|| execute(4));
        work.counts.count(Some(wait(child)), |&right| right);
    }
}

/// A thread that executes takes over the leader's id.
fn executions_of_threads(work: Work) {
    while work.goes_on() {
        let child = fork(|| {
            std::thread::spawn(move || {
                loop {
                    std::hint::black_box(work.reader.tid(&Hint::new()));
                }
            });
            std::thread::spawn(|| execute(0));
            loop {
                std::hint::black_box(work.reader.tid(&Hint::new()));
            }
        });
        work.counts.count(Some(wait(child)), |&right| right);
    }
}

/// Parents end while their children read, and the children's next parent is a subreaper near or
/// far.
fn orphans(work: Work) {
    let Work { reader, counts, .. } = work;
    let adopt = |adopts: i32| {
        // SAFETY: it changes an attribute of this process.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, adopts) };
    };
    let wait_for_all = || {
        // SAFETY: children, adopted ones too; nothing is written.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
    };
    // Process 1 of the lab waits for none before the end.
    adopt(1);
    for turn in 0.. {
        if !work.goes_on() {
            return;
        }
        fork(|| {
            adopt(turn & 1);
            let child = fork(|| {
                fork(|| {
                    for _ in 0..2_000 {
                        counts.parents(reader);
                    }
                });
                for _ in 0..30 {
                    counts.parents(reader);
                }
            });
            wait(child);
            if turn & 1 == 1 {
                wait_for_all();
            }
        });
        wait_for_all();
    }
}

fn pid_namespaces(work: Work) {
    let Work { reader, counts, .. } = work;
    let compare = || {
        counts.ids(reader);
        counts.parents(reader);
    };
    let unshare = || {
        // SAFETY: children of this process have a PID namespace of their own.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    };
    while work.goes_on() {
        let outer = fork(|| {
            unshare();
            compare();
            let first = fork(|| {
                compare();
                counts.count(reader.pid(&Hint::new()), |&read| read == 1);
                let second = fork(|| {
                    for _ in 0..10 {
                        compare();
                    }
                    // One level deeper.
                    unshare();
                    wait(fork(compare));
                    compare();
                });
                work.in_threads(1, |work, _| work.counts.ids(work.reader));
                wait(second);
            });
            wait(first);
        });
        wait(outer);
    }
}

/// Context switches and run delay, beside getrusage(2) and /proc/thread-self/schedstat.
fn switches(work: Work) {
    work.in_threads(3, |work, number| {
        let (hint, mut state) = (Hint::new(), number as u32 + 1);
        while work.goes_on() {
            let (before, delay_before) = (rusage(), run_delay());
            let read = work.reader.switches(&hint);
            let delay = work.reader.run_delay(&hint);
            let (after, delay_after) = (rusage(), run_delay());
            work.counts.count(read, |read| {
                (before.0..=after.0).contains(&read.voluntary)
                    && (before.1..=after.1).contains(&read.involuntary)
            });
            work.counts
                .count(delay, |delay| (delay_before..=delay_after).contains(delay));
            if next(&mut state).is_multiple_of(2) {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
}

fn rusage() -> (u64, u64) {
    // SAFETY: zeros are a value of the structure, which the kernel fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    (usage.ru_nvcsw as u64, usage.ru_nivcsw as u64)
}

fn run_delay() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}
