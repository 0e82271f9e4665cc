//! What it costs. Figures, not assertions: an emulated machine has no clock to trust,
//! but the ratios within one boot say something.

use super::*;
use vdsokit_bpf::sys;

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-figures"]
fn figures() {
    let start = Instant::now();
    let kernel = kernel();
    println!("reading types and symbols: {:?}", start.elapsed());
    let mut layout = Layout::new(kernel);
    let scalars = [
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
    let offsets: Vec<usize> = scalars
        .iter()
        .map(|name| layout.add(name, name, &[]))
        .collect();
    let start = Instant::now();
    let publisher = layout.start();
    println!("assembling, loading, attaching: {:?}", start.elapsed());
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);

    let stats = sys::enable_stats().unwrap();
    let before = publisher.runs().unwrap();
    let start = Instant::now();
    let boottime = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    };
    let mut ages = Vec::new();
    while start.elapsed() < Duration::from_secs(3) {
        let updated = pages.header().updated();
        ages.push(boottime().saturating_sub(updated));
    }
    let elapsed = start.elapsed();
    let after = publisher.runs().unwrap();
    drop(stats);
    let runs = after.count - before.count;
    let each = (after.nanoseconds - before.nanoseconds) / runs.max(1);
    let share = (after.nanoseconds - before.nanoseconds) as f64 / elapsed.as_nanos() as f64;
    println!(
        "hook for {} variables: {each} ns a run, {runs} runs in {elapsed:?}",
        scalars.len()
    );
    println!("share of one CPU: {:.4} %", 100.0 * share);
    ages.sort_unstable();
    let at = |share: f64| ages[((ages.len() - 1) as f64 * share) as usize] / 1_000;
    println!(
        "age in us: median {}, 99 % {}, max {}",
        at(0.5),
        at(0.99),
        at(1.0)
    );

    let read = best(5, 100_000, || {
        std::hint::black_box(load::<u64>(pages, std::hint::black_box(offsets[1])));
    });
    let sysinfo = best(5, 2_000, || {
        std::hint::black_box(rustix::system::sysinfo());
    });
    let file = |path: &'static str| {
        best(5, 200, || {
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
    let latched = layout.variables.len();
    assert_eq!(latched, 16);
}
