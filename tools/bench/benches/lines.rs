//! Publishing by lines, as a child of another program does with `vdso serve FILE --stdin`: when a
//! line is visible to a reader, and how long a line takes when many are waiting.
//!
//! `cargo bench -p vdsokit-bench --bench lines`

use std::fmt::Write as _;
use std::hint::spin_loop;
use std::io::{Write as _, pipe};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vdsokit::Vdso;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_figures::{Figure, Turns, finish};
use vdsokit_publish::serve::{Heartbeat, Serve};
use vdsokit_publish::{Publisher, place};

const DECLARATION: &str = "[vdso]\nsoname = \"libbench.so\"\nversion = \"BENCH\"\n\
                           [var.count]\ntype = \"u64\"\n";
/// Lines that are written one by one.
const SINGLE: u64 = 2000;
/// Rounds of lines that are written together, and lines in a round.
const ROUNDS: u64 = 15;
const TOGETHER: u32 = 100_000;

fn main() -> ExitCode {
    let directory = tempfile::tempdir_in(place::base().expect("a place")).expect("a directory");
    let path = directory.path().join("libbench.so");
    let declaration = Declaration::parse("bench.toml", DECLARATION).expect("a declaration");
    let host = Architecture::host().expect("an architecture");
    let image = image(&declaration, host).expect("an image");
    let publisher = Publisher::create(&path, &image).expect("a publisher");
    let vdso = Vdso::open(&path).expect("a vDSO");
    let count = vdso.var::<u64>("count").expect("a variable");
    let (lines, mut input) = pipe().expect("a pipe");
    let (_open, stop) = UnixStream::pair().expect("a pair");
    let server = std::thread::spawn(move || {
        let serve = Serve {
            lines: Some(lines.as_fd()),
            stop: stop.as_fd(),
        };
        let heartbeat = Heartbeat(Duration::from_millis(100));
        serve
            .run(publisher, heartbeat, |line, error| {
                panic!("{line}: {error}")
            })
            .expect("lines that are published");
    });

    let mut last = 0;
    // Nanoseconds until the last of these lines is visible.
    let mut publish = |lines: u64| {
        let mut text = String::new();
        for number in last + 1..=last + lines {
            writeln!(text, "count={number}").expect("a string grows");
        }
        last += lines;
        let start = Instant::now();
        input.write_all(text.as_bytes()).expect("the server reads");
        while count.get() != last {
            spin_loop();
        }
        start.elapsed().as_nanos() as f64
    };
    let single: Turns = (0..SINGLE).map(|_| publish(1)).collect();
    let together: Turns = (0..ROUNDS).map(|_| publish(TOGETHER.into())).collect();
    drop(input);
    server.join().expect("the server ends with its input");
    finish(&[
        Figure::time("line-visible", &single, None),
        Figure::time("line-of-many", &together.each_of(TOGETHER), None),
    ])
}
