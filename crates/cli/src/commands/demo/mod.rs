//! `vdso demo`: publisher and readers in three languages, on this machine.

mod proc;
pub(crate) mod reader;

use crate::published::SYSTEM;
use crate::{image, output, signals};
use miette::{Context, IntoDiagnostic, Result, miette};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use vdsokit_build::{Architecture, Outputs};
use vdsokit_publish::place;

/// Publish this machine's numbers, and read them from C, Python and Rust
///
/// Prints each value beside that of /proc, and the time that each kind of read takes. No process and
/// no file is left behind.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print values and costs as JSON
    #[arg(long)]
    json: bool,
}

/// The variables that are shown.
const SHOWN: &[&str] = &[
    "processes",
    "threads",
    "running",
    "load.one",
    "memory_total",
    "memory_available",
    "free_pages",
    "uptime",
    "context_switches",
    "forks",
];

/// The output of a reader, or the reason why it could not run.
enum Reader {
    Read {
        values: BTreeMap<String, String>,
        costs: Vec<(String, f64)>,
    },
    Missing(String),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    // An interrupt ends the readers; this process then removes its files.
    let _stop = signals::stop()?;
    let base = place::base().ok_or_else(|| {
        miette!(
            help = "mount a tmpfs without noexec",
            "this machine has no directory that is suitable for publishing"
        )
    })?;
    let directory = tempfile::Builder::new()
        .prefix("vdso-demo-")
        .tempdir_in(base)
        .into_diagnostic()?;
    let declaration = image::declaration(Path::new(SYSTEM))?;
    let host =
        Architecture::host().ok_or_else(|| miette!("no image can be built for this machine"))?;
    let outputs = Outputs::new(&declaration, host)?;
    outputs.write_companions(directory.path())?;
    let library = directory.path().join(declaration.soname());

    let publisher = Publisher::start(&library)?;
    let readers = [
        ("C", c_program(directory.path(), declaration.library())),
        ("Python", python(directory.path(), &library)),
        ("Rust", rust(&library)),
    ];
    let readers = readers.map(|(name, reader)| {
        let why = |error: miette::Report| Reader::Missing(format!("{error:#}"));
        (name, reader.unwrap_or_else(why))
    });
    let proc: Vec<_> = SHOWN.iter().map(|name| proc::value(name)).collect();
    publisher.end()?;
    if arguments.json {
        output::json(&as_json(&readers, &proc))?;
    } else {
        show(&library, &readers, &proc)?;
    }
    directory.close().into_diagnostic()?;
    Ok(ExitCode::SUCCESS)
}

/// `vdso serve system` as a process of its own.
struct Publisher(Child);

impl Publisher {
    fn start(library: &Path) -> Result<Self> {
        let mut child = this_program()?
            .args([
                "serve", SYSTEM, "--stdin", "--json", "--every", "10ms", "--at",
            ])
            .arg(library)
            // The publisher ends when this pipe closes, which happens however this process ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .into_diagnostic()
            .wrap_err("the publisher did not start")?;
        let out = child
            .stdout
            .as_mut()
            .ok_or_else(|| miette!("the publisher has no output"))?;
        let mut live = String::new();
        BufReader::new(out).read_line(&mut live).into_diagnostic()?;
        if live.is_empty() {
            let _ = child.wait();
            return Err(miette!("the publisher ended before it was live"));
        }
        Ok(Self(child))
    }

    fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait().into_diagnostic()?;
        match status.success() {
            true => Ok(()),
            false => Err(miette!("the publisher: {status}")),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn this_program() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().into_diagnostic()?))
}

fn c_program(directory: &Path, library: &str) -> Result<Reader> {
    let (source, program) = (directory.join("reader.c"), directory.join("reader"));
    fs::write(&source, include_str!("reader.c")).into_diagnostic()?;
    let mut compiler = Command::new("cc");
    compiler
        .args(["-O2", "-o"])
        .args([&program, &source])
        .arg("-I")
        .arg(directory)
        .arg("-L")
        .arg(directory)
        .arg(format!("-l{library}"))
        .arg(format!("-Wl,-rpath,{}", directory.display()));
    match compiler.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Reader::Missing(
                "the C compiler `cc` is not installed".into(),
            ));
        }
        Err(error) => return Err(error).into_diagnostic(),
        Ok(output) if !output.status.success() => {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(miette!(
                "cc: {}",
                message.lines().next().unwrap_or_default()
            ));
        }
        Ok(_) => {}
    }
    read(&mut Command::new(program))
}

fn python(directory: &Path, library: &Path) -> Result<Reader> {
    let script = directory.join("reader.py");
    fs::write(&script, include_str!("reader.py")).into_diagnostic()?;
    read(Command::new("python3").arg("-B").arg(script).arg(library))
}

fn rust(library: &PathBuf) -> Result<Reader> {
    read(this_program()?.arg("demo-reader").arg(library))
}

/// Runs a reader and parses its output.
fn read(command: &mut Command) -> Result<Reader> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Reader::Missing(format!("`{program}` is not installed")));
        }
        output => output.into_diagnostic()?,
    };
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(miette!("{program}: {}: {message}", output.status));
    }
    let (mut values, mut costs) = (BTreeMap::new(), Vec::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut parts = line.split('\t');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("value"), Some(name), Some(value)) => {
                values.insert(name.to_owned(), value.to_owned());
            }
            (Some("cost"), Some(what), Some(each)) => {
                costs.push((what.to_owned(), each.parse().into_diagnostic()?));
            }
            _ => return Err(miette!("{program} printed `{line}`")),
        }
    }
    Ok(Reader::Read { values, costs })
}

type Readers = [(&'static str, Reader)];

fn show(library: &Path, readers: &Readers, proc: &[Option<String>]) -> Result<()> {
    let mut text = format!(
        "One process published {}; these processes read it:\n\n{:18}",
        output::path(library),
        ""
    );
    for (name, _) in readers {
        text += &format!("{name:>15}");
    }
    text += &format!("{:>15}\n", "/proc");
    for (variable, expected) in SHOWN.iter().zip(proc) {
        text += &format!("{variable:18}");
        for (_, reader) in readers {
            let value = match reader {
                Reader::Read { values, .. } => values.get(*variable).map_or("-", String::as_str),
                Reader::Missing(_) => "-",
            };
            text += &format!("{value:>15}");
        }
        text += &format!("{:>15}\n", expected.as_deref().unwrap_or("-"));
    }
    text += "\nThe time of one read in nanoseconds (best of nine rounds):\n\n";
    for (what, each) in costs(readers) {
        text += &format!("{each:>15.1}  {what}\n");
    }
    for (name, reader) in readers {
        if let Reader::Missing(why) = reader {
            text += &format!("\n{name} is left out: {why}\n");
        }
    }
    output::line(text.trim_end())?;
    Ok(())
}

fn costs(readers: &Readers) -> impl Iterator<Item = &(String, f64)> {
    readers.iter().flat_map(|(_, reader)| match reader {
        Reader::Read { costs, .. } => costs.as_slice(),
        Reader::Missing(_) => &[],
    })
}

fn as_json(readers: &Readers, proc: &[Option<String>]) -> Value {
    let mut columns: BTreeMap<&str, Value> = readers
        .iter()
        .map(|(name, reader)| match reader {
            Reader::Read { values, .. } => (*name, json!(values)),
            Reader::Missing(why) => (*name, json!({ "missing": why })),
        })
        .collect();
    let expected: BTreeMap<_, _> = SHOWN.iter().zip(proc).collect();
    columns.insert("/proc", json!(expected));
    let costs: BTreeMap<_, _> = costs(readers).map(|(what, each)| (what, each)).collect();
    json!({ "values": columns, "nanoseconds": costs })
}
