//! The images of all architectures in programs, beside a reader in C that was written from
//! `docs/page-format.md` alone: both have the timekeeper's time.
#![allow(unsafe_code, reason = "the frame is memory that another process reads")]

mod loongarch64;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::ptr;
use std::sync::atomic::AtomicU64;
use vdsokit_clock::{Clock, Leap, Moment, Start, Timekeeper};
use vdsokit_guest::{Contents, Image, Plan, Publisher, WORDS};

/// An architecture, the compiler of its programs, what runs them here, and its page sizes.
type Architecture = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [usize],
);

const ARCHITECTURES: [Architecture; 3] = [
    ("x86_64", "gcc", None, &[4096]),
    (
        "aarch64",
        "aarch64-linux-gnu-gcc",
        Some("qemu-aarch64-static"),
        &[4096, 16384, 65536],
    ),
    (
        "riscv64",
        "riscv64-linux-gnu-gcc",
        Some("qemu-riscv64-static"),
        &[4096],
    ),
];

const SECOND: u64 = 1_000_000_000;
const MONOTONIC: i64 = 77_000_000_000;
const WALL: i64 = 99_000_000_000;

/// A kernel's frame, in a file that a program maps.
fn frame(path: &Path, size: usize) -> &'static [AtomicU64; WORDS] {
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    file.set_len(size as u64).unwrap();
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a file of at least that length, which is never unmapped.
    unsafe {
        let fd = file.as_raw_fd();
        let at = libc::mmap(ptr::null_mut(), size, rights, libc::MAP_SHARED, fd, 0);
        assert_ne!(at, libc::MAP_FAILED);
        &*at.cast()
    }
}

/// A program that has the plan's pages.
struct Program {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What the program read.
#[derive(Debug)]
struct Reading {
    /// The image's result.
    result: i64,
    image: i128,
    /// The C reader's: 1 is the page's time.
    kind: i64,
    reader: i128,
    /// The counter before and after.
    ticks: (u64, u64),
}

impl Program {
    fn read(&mut self, clock: u32) -> Reading {
        writeln!(self.requests, "{clock}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let numbers: Vec<i128> = line
            .split_whitespace()
            .map(|number| number.parse().unwrap_or_else(|_| panic!("{line}")))
            .collect();
        let [
            format,
            result,
            seconds,
            nanoseconds,
            kind,
            its_seconds,
            its_nanoseconds,
            before,
            after,
        ] = numbers[..]
        else {
            panic!("{line}");
        };
        assert_eq!(format, 1, "the reader does not recognise the page");
        let time = |seconds, nanoseconds| seconds * i128::from(SECOND) + nanoseconds;
        Reading {
            result: result as i64,
            image: time(seconds, nanoseconds),
            kind: kind as i64,
            reader: time(its_seconds, its_nanoseconds),
            ticks: (before as u64, after as u64),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It is an error of a test that panicked if this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Compiles a program.
fn compile((architecture, compiler, ..): &Architecture, name: &str, directory: &Path) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let source = sources.join(name).with_extension("c");
    let program = directory.join(format!("{name}-{architecture}"));
    let status = Command::new(compiler)
        .args(["-O2", "-Wall", "-Werror", "-static", "-fexceptions", "-o"])
        .args([&program, &source])
        .status()
        .unwrap_or_else(|error| {
            panic!("{compiler}: {error}; `cargo xtask test tools` installs it")
        });
    assert!(status.success(), "{compiler}: {status}");
    program
}

/// Starts the program with the pages of `plan`, as a loader of a kernel would map them.
fn start(of: &Architecture, program: &Path, plan: &Plan, text: &Path, frame: &Path) -> Program {
    let mut bytes = vec![];
    let mut vvar = 0;
    for page in plan.pages() {
        match page.contents {
            Contents::Text(contents) => {
                assert_eq!(page.offset, bytes.len());
                bytes.extend_from_slice(contents);
                bytes.resize(page.offset + plan.page_size(), 0);
            }
            Contents::Vvar => vvar = page.offset,
        }
    }
    assert_eq!(vvar + 65_536 + plan.page_size(), plan.size());
    fs::write(text, &bytes).unwrap();
    let image = plan.image();
    let function = image
        .symbol("__vdso_clock_gettime")
        .or_else(|| image.symbol("__kernel_clock_gettime"))
        .unwrap();
    let mut command = match of.2 {
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    let numbers = [bytes.len(), plan.page_size(), vvar, function].map(|n| n.to_string());
    let mut process = command
        .args([text.as_os_str(), numbers[0].as_ref()])
        .args([frame.as_os_str(), numbers[1].as_ref()])
        .args(&numbers[2..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{:?}: {error}", of.2));
    Program {
        requests: process.stdin.take().unwrap(),
        answers: BufReader::new(process.stdout.take().unwrap()),
        process,
    }
}

#[test]
fn every_image_and_a_reader_in_c_have_the_timekeeper_s_time() {
    let directory = tempfile::tempdir().unwrap();
    for of in &ARCHITECTURES {
        let program = compile(of, "program", directory.path());
        for page_size in of.3 {
            let plan = Plan::new(Image::of(of.0).unwrap(), *page_size).unwrap();
            let path = directory.path().join("frame");
            let frame = frame(&path, *page_size);
            let publisher = Publisher::new(frame);
            let text = directory.path().join("text");
            let program = start(of, &program, &plan, &text, &path);
            compare(program, publisher);
        }
    }
}

/// Publishes and reads in turns.
fn compare(mut program: Program, mut publisher: Publisher<&[AtomicU64; WORDS]>) {
    // Nothing is published: the kernel's time, which is not that of the page.
    let first = program.read(1);
    assert_eq!((first.result, first.kind), (0, -1));
    assert!(first.image < i128::from(MONOTONIC) * i128::from(SECOND));

    let mut keeper = Timekeeper::new(Start {
        // The program counts up to ten times as fast or as slowly: no test needs the right rate.
        frequency: SECOND,
        ticks: program.read(1).ticks.1,
        monotonic: Moment::from_seconds(MONOTONIC),
        wall: Moment::from_seconds(WALL),
        promise: 3600 * SECOND,
        tai: 37,
    })
    .unwrap();
    for turn in 0..12 {
        match turn {
            2 => keeper.correct(1 << 23).unwrap(),
            4 => keeper.slew(-5_000_000),
            6 => keeper.set_wall(keeper.updated(), Moment::from_seconds(WALL + 5)),
            8 => keeper.set_leap(Some(Leap::Insert(WALL + 1000))),
            _ => {}
        }
        keeper.update(program.read(1).ticks.1);
        publisher.publish(&keeper);
        for clock in [
            Clock::Realtime,
            Clock::Monotonic,
            Clock::MonotonicRaw,
            Clock::RealtimeCoarse,
            Clock::MonotonicCoarse,
            Clock::Boottime,
            Clock::Tai,
        ] {
            let read = program.read(clock.id());
            assert_eq!((read.result, read.kind), (0, 1), "{clock:?}");
            let record = keeper.record(clock);
            let at = |ticks| match clock.is_coarse() {
                true => record.current.base.as_nanoseconds(),
                false => record.at(ticks).unwrap().as_nanoseconds(),
            };
            let (earliest, latest) = (at(read.ticks.0), at(read.ticks.1));
            for seen in [read.image, read.reader] {
                assert!(
                    earliest <= seen && seen <= latest,
                    "{clock:?} in turn {turn}: {earliest} {read:?} {latest}"
                );
            }
            assert!(read.image <= read.reader, "{clock:?}: {read:?}");
        }
        for clock in [2, 3, 8, 9, 10, 12, 16] {
            assert_eq!(program.read(clock).kind, -1, "clock {clock}");
        }
    }
    publisher.system_calls();
    let read = program.read(1);
    assert_eq!((read.result, read.kind), (0, -1));
    assert!(read.image < i128::from(MONOTONIC) * i128::from(SECOND));
}

/// AArch64 alone has both: programs may set where handlers return to, and mostly leave it to the
/// vDSO.
#[test]
fn a_handler_returns_and_is_unwound_through_the_image_s_sigreturn() {
    let of = &ARCHITECTURES[1];
    let directory = tempfile::tempdir().unwrap();
    let program = compile(of, "sigreturn", directory.path());
    let image = Image::of(of.0).unwrap();
    let text = directory.path().join("text");
    fs::write(&text, image.text()).unwrap();
    let numbers = [image.text().len(), image.rt_sigreturn().unwrap()].map(|n| n.to_string());
    let output = Command::new(of.2.unwrap())
        .arg(program)
        .arg(text)
        .args(numbers)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, "returned 1, unwound 1\n", "{}", output.status);
}
