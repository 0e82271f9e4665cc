//! The values are those of /proc.

use super::*;
use vdsokit_bpf::named::NAMED;

/// Tries until two readings agree: what changes between them agrees sooner or later.
fn agree<T: PartialEq + std::fmt::Debug>(what: &str, page: impl Fn() -> T, proc: impl Fn() -> T) {
    let mut last = None;
    for _ in 0..1_000 {
        let (before, shown, after) = (page(), proc(), page());
        if before == shown && shown == after {
            println!("{what}: {shown:?}");
            return;
        }
        last = Some((before, shown, after));
    }
    panic!("{what}: page, /proc, page: {last:?}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-values"]
fn every_named_value_is_what_proc_shows() {
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    let offsets: Vec<(&str, usize)> = NAMED
        .iter()
        .map(|named| (named.name, layout.add(named.name, named.name, &[])))
        .collect();
    let publisher = layout.start();
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    next_tick(pages);
    let at = |name: &str| offsets.iter().find(|(known, _)| *known == name).unwrap().1;
    let ty = |name: &str| kernel.resolve(name, &Hook::Tick).unwrap().ty;
    let u64_at = |name: &str| load::<u64>(pages, at(name));

    let stat = "/proc/stat";
    agree(
        "threads",
        || load::<i32>(pages, at("threads")),
        || {
            let text = std::fs::read_to_string("/proc/loadavg").unwrap();
            text.split(['/', ' ']).nth(4).unwrap().parse().unwrap()
        },
    );
    agree(
        "processes",
        || u64_at("processes"),
        || {
            let entries = std::fs::read_dir("/proc").unwrap();
            let numbers = entries.filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().parse::<u32>().is_ok()
            });
            numbers.count() as u64
        },
    );
    agree(
        "forks",
        || u64_at("forks"),
        || proc_number(stat, "processes"),
    );
    agree(
        "running",
        || u64::from(load::<u32>(pages, at("running"))),
        || proc_number(stat, "procs_running"),
    );
    agree(
        "iowait",
        || load::<i32>(pages, at("iowait")),
        || proc_number(stat, "procs_blocked") as i32,
    );
    agree(
        "free_pages",
        || load::<i64>(pages, at("free_pages")) * 4,
        || proc_number("/proc/meminfo", "MemFree") as i64,
    );
    agree(
        "load_averages",
        || {
            // Two digits behind the point, as fs/proc/loadavg.c rounds them.
            let averages = words(pages.latch(at("load_averages"), 24).unwrap());
            averages
                .iter()
                .map(|a| {
                    let a = a + 2048 / 200;
                    format!("{}.{:02}", a >> 11, ((a & 2047) * 100) >> 11)
                })
                .collect::<Vec<_>>()
        },
        || {
            let text = std::fs::read_to_string("/proc/loadavg").unwrap();
            text.split(' ').take(3).map(str::to_owned).collect()
        },
    );
    let zones = std::fs::read_to_string("/proc/zoneinfo").unwrap();
    for (zone, name) in [("DMA", "free_pages_dma"), ("DMA32", "free_pages_dma32")] {
        let free = || {
            let text = std::fs::read_to_string("/proc/zoneinfo").unwrap();
            let mut lines = text.lines();
            lines.find(|line| {
                line.split_ascii_whitespace()
                    .eq(["Node", "0,", "zone", zone])
            });
            let line =
                lines.find(|line| line.contains("nr_free_pages") || line.contains("pages free"));
            line.unwrap()
                .split_ascii_whitespace()
                .last()
                .unwrap()
                .parse::<i64>()
                .unwrap()
        };
        assert!(zones.contains(zone));
        agree(name, || load::<i64>(pages, at(name)), free);
    }

    // What only grows lies between two readings, a tick apart.
    let between = |name: &str, shown: &dyn Fn() -> u64| {
        let before = u64_at(name);
        let shown = shown();
        next_tick(pages);
        let after = u64_at(name);
        assert!(
            before <= shown && shown <= after,
            "{name}: {before} {shown} {after}"
        );
        println!("{name}: {before} <= {shown} <= {after}");
    };
    between("context_switches", &|| proc_number(stat, "ctxt"));
    between("uptime", &|| {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    });
    let jiffies = u64_at("jiffies");
    next_tick(pages);
    assert!(u64_at("jiffies") > jiffies);

    let names = rustix::system::uname();
    let release = text(pages, at("release"), ty("release"));
    assert_eq!(release, names.release().to_str().unwrap());
    let hostname = text(pages, at("hostname"), ty("hostname"));
    assert_eq!(hostname, names.nodename().to_str().unwrap());
    assert_eq!(
        words(pages.latch(at("pressure"), ty("pressure").size()).unwrap()).len(),
        9 * ty("pressure").size() / 72
    );

    for (name, failures) in publisher.failures().unwrap() {
        assert_eq!(failures, 0, "{name}");
    }
}

/// On a kernel of any byte order and any memory model the program has to pass the
/// verifier; this machine needs no barriers, but runs them all the same.
#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-barriers"]
fn the_program_for_weakly_ordered_machines_does_the_same() {
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    let forks = layout.add("forks", "forks", &[]);
    let release = layout.add("release", "release", &[]);
    let record = layout.add_record("pair", &["jiffies", "forks"]);
    let publisher =
        Publisher::start(kernel, &layout.image(), &layout.variables, Machine::Weak).unwrap();
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    next_tick(pages);
    agree(
        "forks",
        || load::<u64>(pages, forks),
        || proc_number("/proc/stat", "processes"),
    );
    let ty = kernel.resolve("release", &Hook::Tick).unwrap().ty;
    let names = rustix::system::uname();
    assert_eq!(text(pages, release, ty), names.release().to_str().unwrap());
    assert!(words(pages.latch(record, 16).unwrap())[0] > 0);
}

/// After the event and not only after the next tick: what /proc shows before and
/// after a reading of the page encloses it.
#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-events"]
fn values_are_exact_at_once_after_their_events() {
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    let fork: Hook = "tracepoint:sched_process_fork".parse().unwrap();
    let exit: Hook = "fexit:release_task".parse().unwrap();
    let forks = layout.add("forks", "forks", std::slice::from_ref(&fork));
    let threads = layout.add("threads", "threads", &[fork, exit]);
    let publisher = layout.start();
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    let forks_shown = || proc_number("/proc/stat", "processes");
    const TURNS: u32 = 300;
    let mut within_a_tick = 0;
    for _ in 0..TURNS {
        let ticks = pages.header().updated();
        let first = load::<u64>(pages, forks);
        let thread = std::thread::spawn(|| {});
        let before = forks_shown();
        let page = load::<u64>(pages, forks);
        let after = forks_shown();
        assert!(
            first < page && before <= page && page <= after,
            "{before} {page} {after}"
        );
        within_a_tick += u32::from(ticks == pages.header().updated());
        thread.join().unwrap();
    }
    // Otherwise the ticks might have done it.
    assert!(within_a_tick > 0, "a tick in each of {TURNS} turns");
    println!("{within_a_tick} of {TURNS} between two ticks");
    agree(
        "threads",
        || load::<i32>(pages, threads),
        || {
            let text = std::fs::read_to_string("/proc/loadavg").unwrap();
            text.split(['/', ' ']).nth(4).unwrap().parse().unwrap()
        },
    );
}

/// The clock's coefficients, from the timekeeper that the hook is handed.
#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-timekeeper"]
fn the_hooks_argument_is_the_timekeeper() {
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    let record = layout.add_record(
        "clock",
        &[
            "arg0.xtime_sec",
            "arg0.tkr_mono.mult:u64",
            "arg0.tkr_mono.shift:u64",
            "arg0.tkr_mono.cycle_last",
        ],
    );
    let publisher = layout.start();
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    next_tick(pages);
    let clock = words(pages.latch(record, 32).unwrap());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    println!("seconds, mult, shift, cycle_last: {clock:?}");
    assert!(now.tv_sec.abs_diff(clock[0].cast_signed()) <= 1);
    assert!(clock[1] > 0 && clock[2] > 0 && clock[2] < 64 && clock[3] > 0);
    assert_eq!(publisher.failures().unwrap()[0].1, 0);
}
