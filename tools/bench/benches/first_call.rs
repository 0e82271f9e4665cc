//! The first call of `clock_gettime` in a fresh process: find, parse, look up and call. Each
//! measurement is a process of its own, because what is found is cached; contenders take turns.
//!
//! `cargo bench -p vdsokit-bench --bench first_call`
#![allow(unsafe_code, reason = "enarx's vdso yields addresses")]

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::mem::transmute;
use std::process::{Command, ExitCode};
use std::time::Instant;

use vdsokit_elf::own::{self, Timespec};
use vdsokit_figures::{Figure, Turns, finish, rounds};

const PROCESSES: usize = 301;
const OURS: &str = "vdsokit-elf";
const CONTENDERS: [&str; 5] = [OURS, "rustix", "linux-raw-vdso", "vdso (enarx)", NOTHING];
const NOTHING: &str = "nothing";
const CLOCK_MONOTONIC: c_int = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, option, name] = &arguments[..]
        && option == "--measure"
    {
        println!("{}", measure(name));
        return ExitCode::SUCCESS;
    }
    let program = std::env::current_exe().expect("a path");
    let measured = rounds(PROCESSES, CONTENDERS.len(), |at| {
        let mut command = Command::new(&program);
        let output = command.args(["--measure", CONTENDERS[at]]).output()?.stdout;
        let nanoseconds = String::from_utf8_lossy(&output).trim().parse();
        nanoseconds.map_err(std::io::Error::other)
    });
    let turns: [Turns; 5] = match measured.map(TryInto::try_into) {
        Ok(Ok(turns)) => turns,
        other => panic!("five contenders: {other:?}"),
    };
    let [ours, rustix, raw, enarx, nothing] = &turns;
    finish(&[
        Figure::time("first call", ours, None),
        Figure::time("first call, nothing called", nothing, None),
        Figure::ratio("first call : rustix's", ours, rustix, 1.0),
        Figure::ratio("first call : linux-raw-vdso's", ours, raw, 1.0),
        Figure::ratio("first call : enarx's", ours, enarx, 1.0),
    ])
}

type ClockGettime = unsafe extern "C" fn(c_int, *mut Timespec) -> c_int;

fn measure(name: &str) -> u128 {
    // libc and the clock behind Instant are warm; the contender is not.
    black_box(Instant::now().elapsed());
    let mut now = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    let start = Instant::now();
    match name {
        OURS => {
            let vdso = own::find().expect("this process has a vDSO");
            black_box(
                vdso.clock_gettime(black_box(CLOCK_MONOTONIC))
                    .expect("the clock"),
            );
        }
        "rustix" => {
            let clock = black_box(rustix::time::ClockId::Monotonic);
            black_box(rustix::time::clock_gettime(clock));
        }
        "linux-raw-vdso" => {
            let address = own::address().expect("this process has a vDSO");
            // SAFETY: the address is AT_SYSINFO_EHDR's.
            let vdso = unsafe { linux_raw_vdso::Vdso::from_ptr(address.cast()) };
            let function = vdso.expect("an image").clock_gettime;
            // SAFETY: what the vDSO exports by this name and version has this signature.
            let function = unsafe { transmute::<*const c_void, ClockGettime>(function) };
            // SAFETY: the pointer is valid for one timespec.
            black_box(unsafe { function(black_box(CLOCK_MONOTONIC), &raw mut now) });
        }
        "vdso (enarx)" => {
            let vdso = vdso::Vdso::locate().expect("this process has a vDSO");
            let symbol = vdso.lookup("__vdso_clock_gettime").expect("the function");
            // SAFETY: what the vDSO exports by this name has this signature.
            let function = unsafe { transmute::<&vdso::Symbol, ClockGettime>(symbol) };
            // SAFETY: the pointer is valid for one timespec.
            black_box(unsafe { function(black_box(CLOCK_MONOTONIC), &raw mut now) });
        }
        _ => {}
    }
    start.elapsed().as_nanos()
}
