//! One boot: the emulated machine, its files, and its reports.

use crate::check::{PROCESSOR, Processor};
use crate::cpio::Archive;
use crate::plan::{self, Message, Task, Verdict};
use crate::programs::{INIT, Programs};
use crate::{Architecture, Boot, BootReport, Check, Error, Need, Report, Workshop, debian};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Installs the emulator of an architecture unless it is there.
pub(crate) fn find_emulator(architecture: Architecture) -> Result<(), Error> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err(Error::Missing {
            what: "an x86-64 machine to build static programs on".into(),
            advice: "run the lab on x86-64 Linux".into(),
        });
    }
    let (emulator, package) = architecture.emulator();
    let mut version = Command::new(emulator);
    version.arg("--version").stdout(Stdio::null());
    match version.status() {
        Ok(status) if status.success() => Ok(()),
        _ => debian::install(emulator, &[package]),
    }
}

/// Boots and reports.
pub(crate) fn boot(
    workshop: &Workshop,
    boot: &Boot<'_>,
    programs: &Programs,
) -> Result<BootReport, Error> {
    let directory = workshop.output().join(label(boot));
    fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let image = (boot.kernel.image)(workshop)?;
    let archive = directory.join("initramfs.cpio");
    fs::write(&archive, initramfs(workshop, boot, programs)?).map_err(Error::file(&archive))?;
    let console = directory.join("console.log");
    // The emulator appends to nothing: a console that it can't open ends it.
    File::create(&console).map_err(Error::file(&console))?;

    let start = Instant::now();
    let words: Vec<String> = std::iter::once(boot.command_line.to_owned())
        .chain(environment())
        .chain(pace(boot.processor))
        .collect();
    let mut guest = Guest::start(boot, &image, &archive, &console, &words.join(" "))?;
    let mut listener = Listener::default();
    // The guest ends a check at its bound. A guest that hangs does not, so that each part of a
    // boot has a bound here as well: a hang in the first check does not last as long as all.
    let mut bound = workshop.overhead;
    let mut part = start;
    let mut hung = false;
    let ending = loop {
        let left = bound.saturating_sub(part.elapsed());
        match guest.messages.recv_timeout(left) {
            Ok(message) => {
                if let Some(allowed) = next_bound(&message, boot) {
                    (bound, part) = (workshop.overhead + allowed, Instant::now());
                }
                listener.receive(message, start);
            }
            Err(RecvTimeoutError::Timeout) => {
                hung = true;
                break format!("the guest hung: no result after {} s", bound.as_secs());
            }
            Err(RecvTimeoutError::Disconnected) if listener.done => break String::new(),
            Err(RecvTimeoutError::Disconnected) => {
                break "the guest stopped before its end; see its console".into();
            }
        }
    };
    guest
        .stop()
        .map_err(Error::file(boot.kernel.architecture.emulator().0))?;
    Ok(BootReport {
        name: label(boot),
        booted: listener.booted,
        reports: reports(boot, &listener, &ending),
        hung,
        console,
    })
}

/// How long the part of a boot that a message begins may take, beyond the workshop's overhead.
fn next_bound(message: &Message, boot: &Boot<'_>) -> Option<Duration> {
    match message {
        Message::Output(_) => None,
        Message::Start(name) => boot
            .checks
            .iter()
            .find(|check| check.name == name)
            .map(|check| Duration::from_secs(seconds(check))),
        Message::Begin(_) | Message::End(_) | Message::Done => Some(Duration::ZERO),
    }
}

/// A check's bound; a soak of a given length has none.
fn seconds(check: &Check) -> u64 {
    const SOAK: u64 = 2 * 3600;
    match environment().next() {
        Some(_) => SOAK,
        None => check.seconds,
    }
}

/// The host's variables that are for the guest, as words of a command line.
fn environment() -> impl Iterator<Item = String> {
    plan::VARIABLES.iter().filter_map(|name| {
        let value = std::env::var(name).ok()?;
        Some(format!("{name}={value}"))
    })
}

/// The environment of checks on a processor whose time is a count of instructions.
fn pace(processor: Processor) -> Option<String> {
    let pace = processor.pace?;
    Some(format!("{}={}", plan::PACE, 1_u64 << pace))
}

/// A name for reports that is also one for a directory.
fn label(boot: &Boot<'_>) -> String {
    let mut label = boot.kernel.name.to_owned();
    if !boot.command_line.is_empty() {
        let _ = write!(label, " {}", boot.command_line.replace('/', "_"));
    }
    if boot.processor != PROCESSOR {
        let _ = write!(label, " {}", boot.processor.model.replace(',', " "));
    }
    if boot.processor.pace.is_some() {
        label.push_str(" counting instructions");
    } else if boot.processor.cpus != PROCESSOR.cpus {
        let _ = write!(label, " {} CPUs", boot.processor.cpus);
    }
    label
}

/// Everything that the guest will have: process 1, busybox, the plan, and what
/// the checks need.
fn initramfs(workshop: &Workshop, boot: &Boot<'_>, programs: &Programs) -> Result<Vec<u8>, Error> {
    let (checks, architecture) = (&boot.checks, boot.kernel.architecture);
    let mut archive = Archive::default();
    add(&mut archive, "/init", &programs.find(workshop, &INIT)?)?;
    let busybox = match architecture.release() {
        None => "/bin/busybox",
        Some(_) => "/usr/bin/busybox",
    };
    let busybox = debian::file_of(workshop, architecture, "busybox-static", busybox)?;
    add(&mut archive, "/bin/busybox", &busybox)?;
    let mut there: Vec<String> = Vec::new();
    for need in checks.iter().flat_map(|check| check.needs) {
        let at = need.at();
        if !there.contains(&at) {
            add(&mut archive, &at, &programs.find(workshop, need)?)?;
            there.push(at);
        }
    }
    let mut plan = String::new();
    for check in checks {
        let task = Task {
            name: check.name.to_owned(),
            seconds: seconds(check),
            command: check.command.iter().map(ToString::to_string).collect(),
        };
        let _ = writeln!(plan, "{task}");
    }
    archive.file(plan::PLAN, plan.as_bytes())?;
    // The kernel opens /dev/console for process 1 before anything is mounted.
    for directory in ["/dev", "/proc", "/sys", "/tmp"] {
        archive.directory(directory)?;
    }
    archive.finish()
}

/// Adds a file, or a directory with all that is below it.
fn add(archive: &mut Archive, at: &str, from: &Path) -> Result<(), Error> {
    if !from.is_dir() {
        let data = fs::read(from).map_err(Error::file(from))?;
        return archive.file(at, &data);
    }
    for entry in fs::read_dir(from).map_err(Error::file(from))? {
        let entry = entry.map_err(Error::file(from))?;
        let name = entry.file_name();
        add(archive, &format!("{at}/{}", name.display()), &entry.path())?;
    }
    Ok(())
}

/// A running emulator. Whatever happens, it does not outlive this.
struct Guest {
    emulator: Child,
    messages: Receiver<Message>,
}

impl Guest {
    fn start(
        boot: &Boot<'_>,
        image: &Path,
        archive: &Path,
        console: &Path,
        words: &str,
    ) -> Result<Self, Error> {
        // Commas part the options of an argument; doubled, they stand for one.
        let console = console.display().to_string().replace(',', ",,");
        // util-linux's setpriv makes the kernel end the emulator with this process, even when
        // that is killed.
        let architecture = boot.kernel.architecture;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", architecture.emulator().0])
            .args(architecture.board())
            .args(["-cpu", boot.processor.model])
            .args(["-m", "512"])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(architecture.ports(&console))
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(archive)
            .arg("-append")
            // A panic reboots at once, and the emulator ends instead. On a host that has more
            // to do than it can, the emulated timer fails the kernel's test of it.
            .arg(format!(
                "console={} panic=-1 no_timer_check {words}",
                architecture.console()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command.args(["-smp", &boot.processor.cpus.to_string()]);
        if let Some(pace) = boot.processor.pace {
            // A guest that is idle until its next timer is not waited for.
            command.args(["-icount", &format!("shift={pace},sleep=off")]);
            // Its real-time clock counts the same time.
            command.args(["-rtc", "clock=vm"]);
        }
        let mut emulator = command.spawn().map_err(Error::file("setpriv"))?;
        let (sender, messages) = mpsc::channel();
        if let Some(port) = emulator.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(port).split(b'\n').map_while(Result::ok) {
                    if let Some(message) = Message::read(&String::from_utf8_lossy(&line)) {
                        // The receiver is gone once the guest was given up.
                        let _ = sender.send(message);
                    }
                }
            });
        }
        Ok(Self { emulator, messages })
    }

    fn stop(&mut self) -> std::io::Result<()> {
        self.emulator.kill()?;
        self.emulator.wait().map(drop)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // After `stop` there is nothing left to do, and both calls fail without harm.
        let _ = self.stop();
    }
}

/// Puts messages together.
#[derive(Default)]
struct Listener {
    booted: Option<Duration>,
    heard: Vec<Heard>,
    done: bool,
}

struct Heard {
    name: String,
    output: String,
    verdict: Option<Verdict>,
}

impl Listener {
    fn receive(&mut self, message: Message, start: Instant) {
        match (message, self.heard.last_mut()) {
            (Message::Begin(_), _) => self.booted = Some(start.elapsed()),
            (Message::Start(name), _) => self.heard.push(Heard {
                name,
                output: String::new(),
                verdict: None,
            }),
            (Message::Output(line), Some(heard)) => {
                heard.output.push_str(&line);
                heard.output.push('\n');
            }
            (Message::End(verdict), Some(heard)) => heard.verdict = Some(verdict),
            (Message::Done, _) => self.done = true,
            (Message::Output(_) | Message::End(_), None) => {}
        }
    }
}

/// A report for every check, also for those that the guest never came to.
fn reports(boot: &Boot<'_>, listener: &Listener, ending: &str) -> Vec<Report> {
    let report = |check: &&Check| {
        let heard = listener.heard.iter().find(|heard| heard.name == check.name);
        let verdict = match heard {
            None => Verdict::Failed(format!("not reached: {ending}")),
            Some(heard) => match &heard.verdict {
                None => Verdict::Failed(format!("not finished: {ending}")),
                Some(verdict) => verdict.clone(),
            },
        };
        Report {
            name: format!("{}@{}", check.name, boot.kernel.name),
            verdict: counted(check, verdict, heard),
            output: heard.map_or_else(String::new, |heard| heard.output.clone()),
        }
    };
    boot.checks.iter().map(report).collect()
}

/// Rust's test harness succeeds when no test has the name asked for; the lab
/// doesn't.
fn counted(check: &Check, verdict: Verdict, heard: Option<&Heard>) -> Verdict {
    let is_test =
        |need: &Need| matches!(need, Need::Test { name, .. } if check.command[0] == *name);
    let ran_one = |heard: &Heard| heard.output.contains("test result: ok. 1 passed");
    match verdict {
        Verdict::Ok(_) if check.needs.iter().any(is_test) && !heard.is_some_and(ran_one) => {
            Verdict::Failed("no test of that name ran".into())
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::DEBIAN_6_1;

    const fn check(name: &'static str, seconds: u64) -> Check {
        Check {
            name,
            why: "",
            command: &["true"],
            needs: &[],
            kernels: &[DEBIAN_6_1],
            command_line: "",
            processor: PROCESSOR,
            seconds,
            rare: &[],
        }
    }

    #[test]
    fn a_hang_in_one_check_does_not_last_as_long_as_the_others_may_take() {
        let (short, long) = (check("short", 10), check("long", 3600));
        let boot = Boot {
            kernel: DEBIAN_6_1,
            command_line: "",
            processor: PROCESSOR,
            checks: vec![&short, &long],
        };
        let seconds = |message| next_bound(&message, &boot).map(|bound| bound.as_secs());
        assert_eq!(seconds(Message::Begin("6.1".into())), Some(0));
        assert_eq!(seconds(Message::Start("short".into())), Some(10));
        // What a check prints does not give it more time.
        assert_eq!(seconds(Message::Output("on".into())), None);
        assert_eq!(seconds(Message::Done), Some(0));
    }
}
