//! The first call of `clock_gettime` in a fresh process: find, parse, look up and call. Each
//! measurement is a process of its own, because what is found is cached.
//!
//! `cargo bench -p vdsokit-bench --bench first_call`

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use vdsokit_elf::own;

const RUNS: usize = 301;
const CONTENDERS: [&str; 3] = ["vdsokit-elf", "rustix", "nothing"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, option, name] = &arguments[..]
        && option == "--measure"
    {
        println!("{}", measure(name));
        return;
    }
    let program = std::env::current_exe().expect("a path");
    println!("nanoseconds of the first clock_gettime in {RUNS} processes each");
    for name in CONTENDERS {
        let mut costs: Vec<u64> = (0..RUNS)
            .map(|_| {
                let output = Command::new(&program).args(["--measure", name]).output();
                let output = output.expect("the program starts").stdout;
                String::from_utf8_lossy(&output)
                    .trim()
                    .parse()
                    .expect("a number")
            })
            .collect();
        costs.sort_unstable();
        println!(
            "{name:12} least {:6} median {:6}",
            costs[0],
            costs[RUNS / 2]
        );
    }
}

fn measure(name: &str) -> u128 {
    // libc and the clock behind Instant are warm; the contender is not.
    black_box(Instant::now().elapsed());
    let start = Instant::now();
    match name {
        "vdsokit-elf" => {
            let vdso = own::find().expect("this process has a vDSO");
            black_box(vdso.clock_gettime(black_box(1)).expect("CLOCK_MONOTONIC"));
        }
        "rustix" => {
            let clock = black_box(rustix::time::ClockId::Monotonic);
            black_box(rustix::time::clock_gettime(clock));
        }
        _ => {}
    }
    start.elapsed().as_nanos()
}
