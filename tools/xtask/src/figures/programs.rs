//! What a program at another time pays for it, beside the same program without, and beside
//! libfaketime where that is installed (Debian: faketime).
//!
//! Options of `vdso run` that this `vdso` does not have are figures that are skipped.

use crate::steps::root;
use std::cell::OnceCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};
use vdsokit_figures::{Figure, Turns, rounds};

const READS: &str = include_str!("reads.c");
const STEP: &str = include_str!("step.c");
const CALLS: &str = include_str!("calls.c");
const SLEEPERS: &str = include_str!("sleepers.py");
const SLEEPERS_JAVA: &str = include_str!("Sleepers.java");
const SLEEPERS_GO: &str = include_str!("sleepers.go");
const MAKEFILE: &str =
    "T := $(addprefix t,$(shell seq 200))\nall: $(T)\n$(T): ; @true --\n.PHONY: all $(T)\n";

/// A way to start a program.
#[derive(Clone, Copy)]
enum Way {
    /// As it is.
    Plain,
    /// By `vdso run` with these options.
    Run(&'static [&'static str]),
    /// By `vdso trace -c`.
    Count,
    /// By libfaketime's wrapper.
    Faketime,
}

const OFFSET: Way = Way::Run(&["--offset", "-30d"]);
const RATE: Way = Way::Run(&["--rate", "60"]);
const FILE_TIMES: Way = Way::Run(&["--file-times", "--offset", "-30d"]);
const FREEZE: Way = Way::Run(&["--freeze"]);
const SKIP_IDLE: Way = Way::Run(&["--skip-idle"]);

/// A row of the table: which ways it compares, on what.
struct Row {
    name: &'static str,
    measure: fn(&Rig, &'static str) -> Result<Figure, String>,
}

const ROWS: [Row; 19] = [
    Row {
        name: "clock-read-offset",
        measure: |rig, name| rig.ratio(name, [OFFSET, Way::Plain], 31, 1.12, Rig::read),
    },
    Row {
        name: "clock-read-rate",
        measure: |rig, name| rig.ratio(name, [RATE, Way::Plain], 31, 1.12, Rig::read),
    },
    Row {
        name: "clock-read-freeze",
        measure: |rig, name| rig.ratio(name, [FREEZE, Way::Plain], 31, 1.12, Rig::read),
    },
    Row {
        name: "clock-read-counted",
        measure: |rig, name| {
            rig.difference(name, [Way::Count, Way::Plain], 31, ("ns", 60.0), Rig::read)
        },
    },
    Row {
        name: "getppid-offset",
        measure: |rig, name| {
            let call = |rig: &Rig, way| rig.call(way, "getppid");
            rig.difference(name, [OFFSET, Way::Plain], 31, ("ns", 50.0), call)
        },
    },
    Row {
        name: "timed-futex-offset",
        measure: |rig, name| {
            let call = |rig: &Rig, way| Ok(rig.call(way, "futex")? / 1e3);
            rig.difference(name, [OFFSET, Way::Plain], 15, ("us", 25.0), call)
        },
    },
    Row {
        name: "timed-futex-sleep-offset",
        measure: |rig, name| {
            let call = |rig: &Rig, way| Ok(rig.call(way, "sleep")? / 1e3);
            rig.difference(name, [OFFSET, Way::Plain], 15, ("us", 25.0), call)
        },
    },
    Row {
        name: "stat-file-times",
        measure: |rig, name| {
            let call = |rig: &Rig, way| Ok(rig.call(way, "stat")? / 1e3);
            rig.difference(name, [FILE_TIMES, Way::Plain], 15, ("us", None), call)
        },
    },
    Row {
        name: "pthread-create-join",
        measure: |rig, name| {
            let call = |rig: &Rig, way| rig.call(way, "threads");
            rig.ratio(name, [OFFSET, Way::Plain], 31, 1.05, call)
        },
    },
    Row {
        name: "fork-wait",
        measure: |rig, name| {
            let call = |rig: &Rig, way| rig.call(way, "forks");
            rig.ratio(name, [OFFSET, Way::Plain], 31, 1.05, call)
        },
    },
    Row {
        name: "make-200",
        measure: |rig, name| rig.ratio(name, [OFFSET, Way::Plain], 9, 1.20, Rig::make),
    },
    Row {
        name: "make-200-libfaketime",
        measure: |rig, name| rig.ratio(name, [OFFSET, Way::Faketime], 9, 1.0, Rig::make),
    },
    Row {
        name: "start-libfaketime",
        measure: |rig, name| rig.ratio(name, [OFFSET, Way::Faketime], 101, 1.0, Rig::start),
    },
    Row {
        name: "start",
        measure: |rig, name| {
            rig.difference(name, [OFFSET, Way::Plain], 101, ("ms", None), Rig::start)
        },
    },
    Row {
        name: "step-100-processes",
        measure: |rig, name| Ok(Figure::number(name, rig.step()?.least(), "ms", 10.0)),
    },
    Row {
        name: "sleep-1000000-skip-idle",
        measure: |rig, name| {
            let sleep = |rig: &Rig, way| match way {
                Way::Plain => rig.start(SKIP_IDLE),
                way => elapsed(rig.command(way, "sleep").arg("1000000")),
            };
            rig.difference(name, [SKIP_IDLE, Way::Plain], 9, ("ms", 20.0), sleep)
        },
    },
    Row {
        name: "python-100-sleepers",
        measure: |rig, name| {
            rig.can(SKIP_IDLE)?;
            let mut tests = rig.command(SKIP_IDLE, "python3");
            let took = elapsed(tests.arg(rig.file("sleepers.py", SLEEPERS)?))?;
            Ok(Figure::number(name, took / 1e3, "s", 5.0))
        },
    },
    Row {
        name: "java-100-sleepers",
        measure: |rig, name| {
            rig.can(SKIP_IDLE)?;
            let source = rig.file("Sleepers.java", SLEEPERS_JAVA)?;
            succeed(
                Command::new("javac")
                    .arg("-d")
                    .arg(&rig.scratch)
                    .arg(source),
            )?;
            let mut tests = rig.command(SKIP_IDLE, "java");
            let took = elapsed(tests.arg("-cp").arg(&rig.scratch).arg("Sleepers"))?;
            Ok(Figure::number(name, took / 1e3, "s", 5.0))
        },
    },
    Row {
        name: "go-100-sleepers",
        measure: |rig, name| {
            rig.can(SKIP_IDLE)?;
            let source = rig.file("sleepers.go", SLEEPERS_GO)?;
            let program = rig.scratch.join("sleepers-go");
            succeed(
                Command::new("go")
                    .args(["build", "-o"])
                    .arg(&program)
                    .arg(source),
            )?;
            let took = elapsed(&mut rig.command(SKIP_IDLE, &program))?;
            Ok(Figure::number(name, took / 1e3, "s", 5.0))
        },
    },
];

/// The names of the figures.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// Measures the rows that are wanted.
pub(super) fn measure(
    vdso: Option<&Path>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Figure>, String> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| wanted(row.name)).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let built = match vdso {
        Some(vdso) => vdso.to_owned(),
        None => program()?,
    };
    let scratch = std::env::temp_dir().join(format!("vdsokit-figures-{}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
    // As it is installed: a linker writes a file page by page, and the kernel then maps it page by page.
    let vdso = scratch.join("vdso");
    fs::copy(&built, &vdso).map_err(|error| error.to_string())?;
    let rig = Rig {
        help: succeed(Command::new(&vdso).args(["run", "--help"]))?,
        vdso,
        scratch,
        reads: OnceCell::new(),
        calls: OnceCell::new(),
    };
    let figure = |row: &&Row| {
        eprintln!("{}", row.name);
        let measured = (row.measure)(&rig, row.name);
        measured.unwrap_or_else(|why| Figure::skipped(row.name, why))
    };
    let figures = rows.iter().map(figure).collect();
    fs::remove_dir_all(&rig.scratch).map_err(|error| error.to_string())?;
    Ok(figures)
}

/// The program, as it is to be installed.
pub(super) fn program() -> Result<PathBuf, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--profile", "dist", "--package", "vdsokit-cli"]);
    succeed(cargo.current_dir(root()))?;
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("dist/vdso"))
}

/// What all rows need.
struct Rig {
    vdso: PathBuf,
    /// What `vdso run --help` prints: which options there are.
    help: String,
    scratch: PathBuf,
    reads: OnceCell<PathBuf>,
    calls: OnceCell<PathBuf>,
}

impl Rig {
    /// Compares two ways by the median of their ratios.
    fn ratio(
        &self,
        name: &str,
        ways: [Way; 2],
        count: usize,
        bound: f64,
        measure: impl Fn(&Self, Way) -> Result<f64, String>,
    ) -> Result<Figure, String> {
        let turns = self.turns(ways, count, measure)?;
        Ok(Figure::ratio(name, &turns[0], &turns[1], bound))
    }

    /// Compares two ways by the median of their differences.
    fn difference(
        &self,
        name: &str,
        ways: [Way; 2],
        count: usize,
        (unit, bound): (&str, impl Into<Option<f64>>),
        measure: impl Fn(&Self, Way) -> Result<f64, String>,
    ) -> Result<Figure, String> {
        let turns = self.turns(ways, count, measure)?;
        Ok(Figure::difference(name, &turns[0], &turns[1], unit, bound))
    }

    fn turns(
        &self,
        ways: [Way; 2],
        count: usize,
        measure: impl Fn(&Self, Way) -> Result<f64, String>,
    ) -> Result<Vec<Turns>, String> {
        ways.iter().try_for_each(|way| self.can(*way))?;
        // Once without being counted: what is compiled and read from disk is then there.
        for way in ways {
            measure(self, way)?;
        }
        rounds(count, ways.len(), |at| measure(self, ways[at]))
    }

    /// Whether a way is there; the error says what is missing.
    fn can(&self, way: Way) -> Result<(), String> {
        match way {
            Way::Plain | Way::Count => Ok(()),
            Way::Run(options) => {
                let missing = |option: &&&str| {
                    option.starts_with("--")
                        && !self.help.contains(&format!("{option} "))
                        && !self.help.contains(&format!("{option}\n"))
                        && !self.help.contains(&format!("{option}["))
                };
                match options.iter().find(missing) {
                    Some(option) => Err(format!("`vdso run` has no option {option}")),
                    None => Ok(()),
                }
            }
            Way::Faketime => Command::new("faketime")
                .arg("--version")
                .output()
                .map(drop)
                .map_err(|error| format!("faketime: {error}")),
        }
    }

    fn command(&self, way: Way, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match way {
            Way::Plain => Command::new(program),
            Way::Run(options) => {
                let mut command = Command::new(&self.vdso);
                command.arg("run").args(options).arg("--").arg(program);
                command
            }
            Way::Count => {
                let mut command = Command::new(&self.vdso);
                command.args(["trace", "-c", "--"]).arg(program);
                command
            }
            Way::Faketime => {
                let mut command = Command::new("faketime");
                command.args(["-f", "-30d"]).arg(program);
                command
            }
        }
    }

    /// Nanoseconds of a read of CLOCK_REALTIME.
    fn read(&self, way: Way) -> Result<f64, String> {
        let program = self.compiled(&self.reads, "reads", READS)?;
        number(&succeed(&mut self.command(way, program))?)
    }

    /// Nanoseconds of a call that `calls.c` makes.
    fn call(&self, way: Way, name: &str) -> Result<f64, String> {
        let program = self.compiled(&self.calls, "calls", CALLS)?;
        number(&succeed(self.command(way, program).arg(name))?)
    }

    /// Milliseconds of start and end of a program.
    fn start(&self, way: Way) -> Result<f64, String> {
        elapsed(&mut self.command(way, "true"))
    }

    /// Milliseconds of 200 short processes.
    fn make(&self, way: Way) -> Result<f64, String> {
        let makefile = self.file("Makefile", MAKEFILE)?;
        let mut make = self.command(way, "make");
        elapsed(make.args(["-s", "-j2", "-f"]).arg(makefile))
    }

    /// Milliseconds from the start of `vdso clock NAME step` until the last of 100 processes,
    /// which look every 4 ms, has seen it.
    fn step(&self) -> Result<Turns, String> {
        let program = self.compiled(&OnceCell::new(), "step", STEP)?;
        let mut turns = Turns::default();
        for turn in 0..9 {
            // Another name each time: it goes with its tracer, a moment after its program.
            let name = format!("figures-{}-{turn}", std::process::id());
            let mut command = Command::new(&self.vdso);
            command.args(["run", "--name", &name, "--"]).arg(&program);
            let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
            let mut processes = command.spawn().map_err(|error| error.to_string())?;
            let output = processes.stdout.take().ok_or("its output is a pipe")?;
            let mut lines = BufReader::new(output).lines();
            let mut expect = |expected: &str| match lines.next() {
                Some(Ok(line)) if line == expected => Ok(()),
                other => Err(format!("{expected:?} was expected: {other:?}")),
            };
            expect("ready")?;
            let start = Instant::now();
            succeed(Command::new(&self.vdso).args(["clock", &name, "step", "+1h"]))?;
            expect("seen")?;
            turns.push(start.elapsed().as_secs_f64() * 1e3);
            processes.wait().map_err(|error| error.to_string())?;
        }
        Ok(turns)
    }

    /// A file of that text, older than every time that programs run at: make warns of files
    /// from the future.
    fn file(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.scratch.join(name);
        fs::write(&path, text).map_err(|error| error.to_string())?;
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = fs::File::options().write(true).open(&path);
        file.and_then(|file| file.set_modified(old))
            .map_err(|error| error.to_string())?;
        Ok(path)
    }

    fn compiled(
        &self,
        cell: &OnceCell<PathBuf>,
        name: &str,
        source: &str,
    ) -> Result<PathBuf, String> {
        if let Some(program) = cell.get() {
            return Ok(program.clone());
        }
        let file = self.file(&format!("{name}.c"), source)?;
        let program = self.scratch.join(name);
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O2", "-pthread", "-o"])
            .args([&program, &file]);
        succeed(&mut compiler)?;
        Ok(cell.get_or_init(|| program).clone())
    }
}

pub(super) fn number(text: &str) -> Result<f64, String> {
    let number = text.trim().parse();
    number.map_err(|_| format!("{text:?} is no number"))
}

/// Milliseconds that a command takes.
fn elapsed(command: &mut Command) -> Result<f64, String> {
    let start = Instant::now();
    succeed(command)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Runs a command, and returns what it printed.
pub(super) fn succeed(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {errors}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
