//! What it costs, and how old a value is.
//!
//! On an emulated machine whose time is the number of instructions, costs are counts that
//! repeat to the last one, and are asserted. On any other they are figures, not assertions: an
//! emulated machine has no clock to trust, but the ratios within one boot say something.

use super::*;
use vdsokit_bpf::sys;

/// The variables of the figure: ordinary ones.
const SIXTEEN: [&str; 16] = [
    "threads",
    "forks",
    "processes",
    "context_switches",
    "running",
    "iowait",
    "free_pages",
    "free_pages_dma",
    "free_pages_dma32",
    "jiffies",
    "uptime",
    "calc_load_tasks:i64",
    "nr_swap_pages:i64",
    "vm_node_stat[0]",
    "vm_node_stat[1]",
    "vm_zone_stat[1]",
];

/// What the hook may cost in instructions: 2 µs of a CPU that completes only one a nanosecond.
const LIMIT: u64 = 2_000;

/// Ticks a second of the figure.
const HZ: f64 = 250.0;

fn sixteen(kernel: &Kernel) -> Layout<'_> {
    let mut layout = Layout::new(kernel);
    for name in SIXTEEN {
        layout.add(name, name, &[]);
    }
    layout
}

/// Sets the clock's rate to what it is: the kernel updates its vDSO, as it does at a tick.
fn adjust() {
    // SAFETY: zeros ask for nothing but the present state.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is the call's.
    unsafe { libc::adjtimex(&raw mut state) };
    state.modes = libc::ADJ_FREQUENCY;
    // SAFETY: as above; the rate is the one that was just read.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
}

/// What an update of the kernel's vDSO costs, in nanoseconds.
fn update() -> u64 {
    best(40, 10, adjust).as_nanos() as u64
}

/// What the hook adds to an update: without variables, and with sixteen. All of it counts, the
/// way into the program and back as well.
fn hook(kernel: &Kernel) -> [u64; 2] {
    let before = sys::objects().unwrap();
    let layouts = [Layout::new(kernel), sixteen(kernel)];
    let (mut with, mut without) = ([u64::MAX; 2], u64::MAX);
    // In turns, so that whatever the host does meanwhile befalls all; and the first updates
    // cost more than later ones.
    for _ in 0..3 {
        for (layout, least) in layouts.iter().zip(&mut with) {
            let publisher = layout.start();
            let runs = || publisher.runs().unwrap().count;
            let stats = sys::enable_stats().unwrap();
            let first = runs();
            adjust();
            assert!(runs() > first, "the hook does not run when the rate is set");
            drop(stats);
            *least = update().min(*least);
            drop(publisher);
            until(|| sys::no_more_objects_than(before).unwrap());
            without = update().min(without);
        }
    }
    println!("an update of the kernel's vDSO: {without} ns without a hook, {with:?} with one");
    with.map(|with| with.saturating_sub(without))
}

/// On a machine that counts: the hook's instructions.
#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-instructions"]
fn instructions() {
    let pace: u64 = std::env::var("INSTRUCTION_NS").unwrap().parse().unwrap();
    let [empty, full] = hook(kernel()).map(|nanoseconds| nanoseconds / pace);
    let getppid = best(5, 1_000, getppid).as_nanos() as u64 / pace;
    let cpus = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    println!(
        "instructions a tick: {empty} without variables, {full} with 16 (possible CPUs {})",
        cpus.trim()
    );
    println!("getppid(2): {getppid} instructions");
    println!(
        "at one instruction a nanosecond: {full} ns a tick, {:.4} % of one CPU at {HZ} Hz",
        share(full)
    );
    assert!(empty < full && full <= LIMIT, "{full}");
}

/// The percentage of one CPU that these nanoseconds at each tick are.
fn share(nanoseconds: u64) -> f64 {
    nanoseconds as f64 * HZ / 1e9 * 100.0
}

fn getppid() {
    std::hint::black_box(rustix::process::getppid());
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-figures"]
fn figures() {
    let start = Instant::now();
    let kernel = kernel();
    println!("reading types and symbols: {:?}", start.elapsed());
    let getppid = best(20, 500, getppid).as_nanos() as u64;
    let [empty, full] = hook(kernel);
    println!(
        "hook: {empty} ns a tick without variables, {full} ns with 16: {:.4} % of one CPU at {HZ} Hz",
        share(full)
    );
    // Emulated code is slow, all of it: what a system call costs here gives the scale.
    println!(
        "getppid(2) here: {getppid} ns, so the hook costs as much as {:.1} of them",
        full as f64 / getppid.max(1) as f64
    );

    let layout = sixteen(kernel);
    let start = Instant::now();
    let publisher = layout.start();
    println!("assembling, loading, attaching: {:?}", start.elapsed());
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    let forks = pages.scalar::<u64>(layout.variables[1].offset).unwrap();
    let read = best(20, 10_000, || {
        std::hint::black_box(u64::load(std::hint::black_box(forks)));
    });
    let sysinfo = best(20, 500, || {
        std::hint::black_box(rustix::system::sysinfo());
    });
    let file = |path: &'static str| {
        best(20, 20, || {
            std::hint::black_box(std::fs::read(path).unwrap());
        })
    };
    let (loadavg, stat) = (file("/proc/loadavg"), file("/proc/stat"));
    println!("read of a value: {read:?}");
    for (what, time) in [
        ("sysinfo(2)", sysinfo),
        ("/proc/loadavg", loadavg),
        ("/proc/stat", stat),
    ] {
        let ratio = time.as_nanos() as f64 / read.as_nanos().max(1) as f64;
        println!("{what}: {time:?}, {ratio:.0} times a read");
    }
}

/// How old values are, counted in ticks: what the host of an emulated machine does meanwhile
/// makes no difference to that.
///
/// `now` is brought up to date by a system call, `tick` at each tick. When the latter reads the
/// same before and after, it was that at the time of the system call, and its age is the
/// difference.
#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-age"]
fn no_value_is_older_than_a_tick() {
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    let call: Hook = "tracepoint:sys_enter".parse().unwrap();
    let now = layout.add("now", "jiffies", &[call]);
    let tick = layout.add("tick", "jiffies", &[]);
    let publisher = layout.start();
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    let first = load::<u64>(pages, tick);
    let (mut ages, mut last) = ([0_u64; 2], first);
    while last < first + 200 {
        let before = load::<u64>(pages, tick);
        getppid();
        let called = load::<u64>(pages, now);
        last = load::<u64>(pages, tick);
        if before == last {
            let age = called.checked_sub(last).unwrap();
            assert!(age <= 1, "{age} ticks old");
            ages[age as usize] += 1;
        }
    }
    println!(
        "{} readings in {} ticks were of the current tick, {} of the one before",
        ages[0],
        last - first,
        ages[1]
    );
    // Otherwise nothing was seen of it.
    assert!(ages[0] > 0);
    assert_eq!(publisher.failures().unwrap()[0].1, 0);
}
