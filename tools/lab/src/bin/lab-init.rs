//! Process 1 of a guest: runs the plan, reports the results, powers off.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::system::RebootCommand;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vdsokit_lab::plan::{self, Message, Task, Verdict};

/// Type and place, in this order.
const FILE_SYSTEMS: &[(&str, &str)] = &[
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/dev/shm"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("securityfs", "/sys/kernel/security"),
    ("tracefs", "/sys/kernel/tracing"),
];

fn main() {
    mount_all();
    if let Err(error) = run_plan() {
        // Standard error is the kernel's console. The host misses `done`.
        eprintln!("lab-init: {error}");
    }
    rustix::fs::sync();
    if let Err(error) = rustix::system::reboot(RebootCommand::PowerOff) {
        eprintln!("lab-init: can't power off: {error}");
    }
}

/// Mounts what there is: a kernel built for one purpose may lack some.
fn mount_all() {
    for &(kind, place) in FILE_SYSTEMS {
        // sysfs brings its mount points along, the others need one made.
        let made = fs::create_dir_all(place);
        if let Err(error) = made.and_then(|()| {
            mount(kind, place, kind, MountFlags::empty(), None).map_err(io::Error::from)
        }) {
            eprintln!("lab-init: no {kind} on {place}: {error}");
        }
    }
}

fn run_plan() -> io::Result<()> {
    Command::new("/bin/busybox")
        .args(["--install", "-s", "/bin"])
        .status()?;
    let port = Port::open()?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    port.send(&Message::Begin(release.trim().to_owned()))?;
    settle_clocksource();
    let plan = fs::read_to_string(plan::PLAN)?;
    let tasks = plan::read(&plan)
        .map_err(|line| io::Error::other(format!("not a line of a plan: {line}")))?;
    for task in &tasks {
        port.send(&Message::Start(task.name.clone()))?;
        let verdict = run(task, &port)?;
        port.send(&Message::End(verdict))?;
    }
    port.send(&Message::Done)
}

/// Waits until the kernel has chosen its clocksource. One that trusts its TSC calls it `tsc-early` for
/// a second or two, until it has measured its frequency (arch/x86/kernel/tsc.c,
/// `tsc_refine_calibration_work`), and a check that runs before that sees another kernel than later ones.
fn settle_clocksource() {
    let file = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let is_early =
        || fs::read_to_string(file).is_ok_and(|name| name.trim_end().ends_with("-early"));
    while is_early() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The serial port to the host, shared with the threads that copy output.
#[derive(Clone)]
struct Port(Arc<Mutex<File>>);

impl Port {
    fn open() -> io::Result<Self> {
        let port = OpenOptions::new().write(true).open(plan::PORT)?;
        Ok(Self(Arc::new(Mutex::new(port))))
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        // One write a line, so that a line is never half another's.
        let line = format!("{message}\n");
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        port.write_all(line.as_bytes())
    }
}

/// Runs one check and leaves no process of it behind.
fn run(task: &Task, port: &Port) -> io::Result<Verdict> {
    let (reader, writer) = io::pipe()?;
    let directory = format!("/tmp/{}", task.name);
    fs::create_dir_all(&directory)?;
    let start = Instant::now();
    // With a path, and without a directory of the child's own, Rust starts it by posix_spawn:
    // its other way needs a kernel with sockets.
    std::env::set_current_dir(&directory)?;
    let name = &task.command[0];
    let mut command = if name.contains('/') {
        Command::new(name)
    } else {
        Command::new(format!("/bin/{name}"))
    };
    command
        .args(&task.command[1..])
        .env_clear()
        .envs([("PATH", "/bin"), ("HOME", "/tmp"), ("RUST_BACKTRACE", "1")])
        .envs(
            std::env::vars()
                .filter(|(name, _)| name == plan::PACE || plan::VARIABLES.contains(&name.as_str())),
        )
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Verdict::Failed(format!("can't be run: {error}"))),
    };
    // The command holds the pipe's writing ends; they must not outlive it here.
    drop(command);
    let copier = {
        let port = port.clone();
        std::thread::spawn(move || copy(reader, &port))
    };
    let verdict = finish(child, start, Duration::from_secs(task.seconds))?;
    end_everything()?;
    match copier.join() {
        Ok(result) => result?,
        Err(_) => return Err(io::Error::other("the thread that copies output panicked")),
    }
    Ok(verdict)
}

/// Passes on what a check prints until every process that could print has ended.
fn copy(reader: io::PipeReader, port: &Port) -> io::Result<()> {
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        port.send(&Message::Output(line))?;
    }
    Ok(())
}

/// Waits for a check's end or its bound, whichever is first.
fn finish(mut child: Child, start: Instant, bound: Duration) -> io::Result<Verdict> {
    let handle = pidfd(&child)?;
    let mut events = [PollFd::new(&handle, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: i64::try_from(bound.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    if poll(&mut events, Some(&timeout))? == 0 {
        child.kill()?;
        child.wait()?;
        return Ok(Verdict::Failed(format!(
            "took longer than {} s",
            bound.as_secs()
        )));
    }
    let status = child.wait()?;
    Ok(if status.success() {
        Verdict::Ok(start.elapsed())
    } else {
        Verdict::Failed(status.to_string())
    })
}

fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a child without a process id"))?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Kills every process but this one, and waits until they are gone.
fn end_everything() -> io::Result<()> {
    // To "process group 1" means kill(-1), which is every process that may be
    // killed but the caller's (kill(2)). None is left when there is none to kill.
    match rustix::process::kill_process_group(Pid::INIT, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    // All of them are, by now, children of process 1.
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
