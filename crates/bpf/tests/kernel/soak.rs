//! Readers on all CPUs while processes come and go: nothing is torn, nothing is lost.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Forks a second, unless the machine is too slow for them.
const RATE: u64 = 1_000;

/// So many processes for each thread that is made.
const PROCESSES: u64 = 15;

/// So many forks for each comparison with /proc, which takes much longer than a fork.
const COMPARED: u64 = 100;

/// Makes a process that ends at once, and waits for its end. It borrows this one's memory, as
/// vfork(2) has it: everything that the kernel does for a fork but the copying.
fn fork() {
    extern "C" fn end(_: *mut libc::c_void) -> libc::c_int {
        0
    }
    let mut stack = [0_u128; 1024];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: (1) the child has a stack of its own, which lives until it has ended: this
    // process stands still meanwhile; (2) it does nothing but end.
    let child = unsafe { libc::clone(end, top.cast(), flags, std::ptr::null_mut()) };
    assert!(child > 0, "{}", std::io::Error::last_os_error());
    // SAFETY: `waitpid` stores no status through a null pointer.
    let ended = unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    assert_eq!(ended, child);
}

/// Lets the calling thread, and what it makes from now on, run on this CPU only.
fn stay_on(cpu: usize) {
    // SAFETY: the structure is one of numbers, as large as is said.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Lets the calling thread, and what it makes from now on, run before the readers: Linux 6.1
/// lets a new process wait for a tick when anybody else is there.
fn come_first() {
    // SAFETY: the structure is one of numbers.
    let result = unsafe {
        let mut parameter: libc::sched_param = std::mem::zeroed();
        parameter.sched_priority = 1;
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Lets the readers end, also when this thread panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-soak"]
fn nothing_is_torn_and_nothing_lost_under_load() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(3, |text| text.parse().unwrap());
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    let made: Hook = "tracepoint:sched_process_fork".parse().unwrap();
    let exit: Hook = "tracepoint:sched_process_exit".parse().unwrap();
    let forks = layout.add("forks", "forks", std::slice::from_ref(&made));
    // Written at forks and exits, on both CPUs at once.
    layout.add("threads", "threads", &[made, exit]);
    // Between two ticks no jiffy passes, so what is read twice in one is the same.
    let twice = layout.add_record("twice", &["jiffies", "uptime", "jiffies"]);
    let publisher = layout.start();
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    let page = || load::<u64>(pages, forks);
    let shown = || proc_number("/proc/stat", "processes");
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    // Readers look at no clock: on an emulated machine it stops the others.
    let over = AtomicBool::new(false);
    let cpus = std::thread::available_parallelism().unwrap().get();
    let (mut reads, mut own, mut late, mut compared) = (0_u64, 0_u64, 0_u64, 0_u64);
    std::thread::scope(|scope| {
        let over = &over;
        let reader = |cpu: usize| {
            stay_on(cpu);
            let (mut reads, mut last) = (0_u64, [0; 2]);
            while !over.load(Ordering::Relaxed) {
                let words = words(pages.latch(twice, 24).unwrap());
                assert_eq!(words[0], words[2], "torn");
                let forks = page();
                assert!(words[1] >= last[0] && forks >= last[1], "went back");
                last = [words[1], forks];
                reads += 1;
            }
            reads
        };
        let readers: Vec<_> = (0..cpus).map(|n| scope.spawn(move || reader(n))).collect();
        let ending = End(over);
        // The threads that read have been made.
        let first = shown();
        stay_on(0);
        come_first();
        while Instant::now() < end {
            let due = start.elapsed().as_millis() as u64 * RATE / 1_000;
            while own < due && Instant::now() < end {
                match own % (PROCESSES + 1) {
                    PROCESSES => std::thread::spawn(|| {}).join().unwrap(),
                    _ => fork(),
                }
                own += 1;
                // Exact when the fork returns, unless the other CPU is at work on it that
                // very moment; then as soon as that is done.
                if page() < first + own {
                    late += 1;
                    until(|| page() >= first + own);
                }
                if own.is_multiple_of(COMPARED) {
                    let (before, page, after) = (shown(), page(), shown());
                    assert!(before <= page && page <= after, "{before} {page} {after}");
                    compared += 1;
                    // From one CPU to another in turns, and never to one that is to be woken:
                    // an emulator takes long for that.
                    stay_on(compared as usize % cpus);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(shown() >= first + own);
        drop(ending);
        for reader in readers {
            reads += reader.join().unwrap();
        }
    });
    assert!(own > 0 && reads > 0);
    until(|| page() == shown());
    println!(
        "{cpus} readers, {reads} reads; {own} forks in {seconds} s, {} a second, {late} of them \
         late, and compared with /proc {compared} times",
        own / seconds
    );
    for (name, failures) in publisher.failures().unwrap() {
        assert_eq!(failures, 0, "{name}");
    }
}
