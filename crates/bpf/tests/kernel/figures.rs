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

    // The programs are measured one run at a time, so that what else the host of an
    // emulated machine did meanwhile shows as an outlier.
    let stats = sys::enable_stats().unwrap();
    let first = publisher.runs().unwrap();
    let mut last = first;
    let start = Instant::now();
    let (mut ages, mut costs) = (Vec::new(), Vec::new());
    while start.elapsed() < Duration::from_secs(3) {
        ages.push(boottime().saturating_sub(pages.header().updated()));
        let now = publisher.runs().unwrap();
        if now.count == last.count + 1 {
            costs.push(now.nanoseconds - last.nanoseconds);
        }
        last = now;
    }
    let elapsed = start.elapsed();
    drop(stats);
    let (runs, total) = (
        last.count - first.count,
        last.nanoseconds - first.nanoseconds,
    );
    let getppid = best(5, 10_000, || {
        std::hint::black_box(rustix::process::getppid());
    });
    costs.sort_unstable();
    let median = costs.get(costs.len() / 2).copied().unwrap_or(0);
    println!(
        "hook for {} variables: {runs} runs in {elapsed:?}",
        scalars.len()
    );
    println!("  BPF instructions: {}", publisher.instructions());
    println!("  ns a run: {}", spread(costs));
    // Emulated code is slow, all of it: what a system call costs here gives the scale.
    println!(
        "  getppid(2) here: {getppid:?}, so a run costs as much as {:.1} of them",
        median as f64 / getppid.as_nanos().max(1) as f64
    );
    println!(
        "  share of one CPU: {:.4} %",
        100.0 * total as f64 / elapsed.as_nanos() as f64
    );
    println!("age of a value, ns: {}", spread(ages));

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
}

fn boottime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn spread(mut values: Vec<u64>) -> String {
    if values.is_empty() {
        return "none".into();
    }
    values.sort_unstable();
    let at = |percent: usize| values[(values.len() - 1) * percent / 100];
    let (min, median, high, max) = (at(0), at(50), at(99), at(100));
    format!("min {min}, median {median}, 99 % {high}, max {max}")
}
