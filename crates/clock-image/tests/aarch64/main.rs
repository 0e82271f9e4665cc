//! The image for AArch64, under its own names, called by a program under qemu-user.

mod compiler;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use vdsokit_clock::{Clock, Line, Moment, Rate, Record, Source, page};
use vdsokit_elf::Image;
use vdsokit_vvar::latch;

const EMULATOR: &str = "qemu-aarch64-static";
/// Where Debian's cross libraries lie.
const SYSTEM: &str = "/usr/aarch64-linux-gnu";
const WALL: [Clock; 2] = [Clock::Realtime, Clock::Tai];

/// The program that calls the image.
struct Guest {
    _process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Guest {
    fn start(program: &Path, image: &Path) -> Self {
        let mut process = Command::new(EMULATOR)
            .args(["-L", SYSTEM])
            .args([program, image])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the emulator starts");
        Self {
            ask: process.stdin.take().expect("a pipe"),
            answers: BufReader::new(process.stdout.take().expect("a pipe")),
            _process: process,
        }
    }

    fn ask<const N: usize>(&mut self, what: &str) -> [i128; N] {
        writeln!(self.ask, "{what}").expect("the guest listens");
        self.numbers(what)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the guest answers");
        line
    }

    /// A line of bytes in hexadecimal.
    fn bytes(&mut self) -> Vec<u8> {
        let line = self.line();
        let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).expect("a byte");
        (0..line.trim_end().len()).step_by(2).map(byte).collect()
    }

    fn numbers<const N: usize>(&mut self, what: &str) -> [i128; N] {
        let line = self.line();
        let numbers: Vec<_> = line
            .split_whitespace()
            .map(|number| i128::from_str(number).unwrap_or_else(|_| panic!("{what}: {line}")))
            .collect();
        numbers
            .try_into()
            .unwrap_or_else(|_| panic!("{what}: {line}"))
    }
}

/// Writes a clock's record into the file, as a publisher does.
fn publish(image: &Path, pages: u64, clock: Clock, record: &Record) {
    use std::os::unix::fs::FileExt;
    let file = File::options().read(true).write(true).open(image).unwrap();
    let start = pages + page::record_offset(clock.id()) as u64;
    let mut number = [0; 8];
    file.read_exact_at(&mut number, start).unwrap();
    let next = u64::from_le_bytes(number) + 1;
    let copy = start + 8 + (next & 1) * latch::stride(page::RECORD_SIZE) as u64;
    let words = record.to_words();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.write_all_at(&bytes, copy).unwrap();
    file.write_all_at(&next.to_le_bytes(), start).unwrap();
    let hint = record.source.to_word().to_le_bytes();
    file.write_all_at(&hint, pages + page::source_offset(clock.id()) as u64)
        .unwrap();
}

#[test]
fn the_image_for_aarch64_is_sound_and_answers() {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("a64-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let (path, program) =
        compiler::image_and_guest(&directory).unwrap_or_else(|why| panic!("{why}"));
    let bytes = fs::read(&path).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let loads: Vec<_> = image
        .segments()
        .filter(|segment| segment.is_load())
        .collect();
    let pages = loads[1].offset;

    let mut guest = Guest::start(&program, &path);
    system_calls(&mut guest);
    published(&mut guest, &path, pages);
    random(&mut guest, &path, pages);
    fs::remove_dir_all(&directory).unwrap();
}

/// A page with a generation: what NEON makes is what this machine makes of the same key.
fn random(guest: &mut Guest, image: &Path, pages: u64) {
    use std::os::unix::fs::FileExt;
    use vdsokit_random::{Parameters, chacha, page};
    let file = File::options().write(true).open(image).unwrap();
    for generation in 2u64..6 {
        let word = generation.to_le_bytes();
        file.write_all_at(&word, pages + page::OFFSET as u64)
            .unwrap();
        let of = Parameters::STATE;
        let expected = [0, of.size.into(), of.protection.into(), of.flags.into()];
        assert_eq!(guest.ask("g"), expected);
        let (state, bytes) = (guest.bytes(), guest.bytes());
        assert_eq!(guest.numbers("g"), [160, 1000]);
        // The batch was handed out, and the key behind it makes what comes next.
        let (batch, key) = (&state[..160], &state[160..192]);
        assert!(batch.iter().all(|byte| *byte == 0));
        let mut blocks = [[0; chacha::BLOCK]; 16];
        chacha::fill(&mut blocks, key.try_into().unwrap(), 0);
        assert_eq!(bytes, blocks.concat()[..1000]);
    }
}

/// A page that was never published: everything is the system call's.
fn system_calls(guest: &mut Guest) {
    for clock in [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        99,
        -1,
        -6,
        i32::MIN,
    ] {
        let [result, refused, before, seen, after, ..] = guest.ask::<7>(&format!("t {clock}"));
        assert_eq!(result != 0, refused != 0, "{clock}");
        assert!(
            result == 0 || result == -22 || result == -19 || result == -95,
            "{clock}: {result}"
        );
        assert!(
            before <= seen && seen <= after,
            "{clock}: {before} {seen} {after}"
        );
        let [result, refused, theirs, ours] = guest.ask(&format!("r {clock}"));
        assert_eq!((result != 0, ours), (refused != 0, theirs), "{clock}");
    }
    let [result, before, seen, after, zone] = guest.ask("d");
    assert!(result == 0 && before <= seen && seen <= after && zone == 0);
    assert_eq!(guest.ask("s"), [1]);
    // 32 bytes, not all of them 0; no state.
    assert_eq!(guest.ask("n"), [32, 1, -38]);
}

/// A page that is: a time that stands, and the counter's, on its first line and on its
/// second, at rates below and above a nanosecond a tick.
fn published(guest: &mut Guest, path: &Path, pages: u64) {
    let base = Moment::from_timespec(86_400 * 365, 123_456_789).unwrap();
    publish(path, pages, Clock::RealtimeCoarse, &Record::fixed(base));
    let [result, _, _, seen, ..] = guest.ask::<7>("t 5");
    assert_eq!((result, seen), (0, base.as_nanoseconds()));

    for rate in [(1, 2), (16, 1), (16, 17)] {
        for (monotonic, clock) in [(true, Clock::Monotonic), (false, WALL[0]), (false, WALL[1])] {
            let [.., now] = guest.ask::<7>("t 1");
            let line = |start: u64| Line {
                start,
                length: 1 << 40,
                rate: Rate::from_ratio(rate.0, rate.1).unwrap(),
                base,
            };
            let (past, future) = (line(now as u64), line(now as u64 + (1 << 39)));
            for (current, former) in [(past, Line::NONE), (future, past)] {
                let record = Record {
                    source: Source::Counter { monotonic },
                    current,
                    former,
                    ..Record::SYSTEM_CALL
                };
                publish(path, pages, clock, &record);
                let [result, _, _, seen, _, start, end] =
                    guest.ask::<7>(&format!("t {}", clock.id()));
                let at = |ticks: i128| record.at(ticks as u64).unwrap().as_nanoseconds();
                assert_eq!(result, 0);
                assert!(at(start) <= seen && seen <= at(end), "{clock:?} {rate:?}");
            }
        }
    }
}
