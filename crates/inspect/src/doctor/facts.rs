//! The facts that the findings are derived from.

use crate::function::Function;
use crate::probe::Served;
use crate::process::Linkage;
use serde::Serialize;

/// The facts of a machine and a process. A fact that could not be determined is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The kernel's release (uname(2)): `6.12.57+deb13-amd64`.
    pub release: String,
    /// The architecture by its name in vdso(7), `x86-64`.
    pub architecture: Option<&'static str>,
    /// The kernel's command line (/proc/cmdline).
    pub command_line: Option<String>,
    /// Lines of the kernel's log about timekeeping; `None` where the log may not be read.
    pub log: Option<Vec<String>>,
    /// The clocksource (/sys/devices/system/clocksource/clocksource0).
    pub clocksource: Option<Clocksource>,
    /// The time stamp counter, where the processor is an x86.
    pub tsc: Option<Tsc>,
    /// The hypervisor's name.
    pub hypervisor: Option<String>,
    /// The container manager's name.
    pub container: Option<String>,
    /// The program that implements the system calls in place of Linux.
    pub sandbox: Option<Sandbox>,
    /// The process's time namespace.
    pub time_namespace: Option<TimeNamespace>,
    /// How system calls are filtered (`Seccomp` of /proc/PID/status).
    pub seccomp: Option<Seccomp>,
    /// The vDSO that the process was started with.
    pub vdso: Option<Vdso>,
    /// The examined process, if it is not this one.
    pub process: Option<Process>,
    /// How each function is served.
    pub calls: Vec<Call>,
}

/// The kernel's clocksources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clocksource {
    /// The one in use.
    pub current: String,
    /// Those that can be selected.
    pub available: Vec<String>,
}

/// Properties of an x86's time stamp counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tsc {
    /// CPUID states that it runs at one rate in every P-, C- and T-state (leaf 0x8000_0007,
    /// EDX bit 8: Intel SDM volume 3, 19.17.1).
    pub invariant: bool,
    /// The kernel found that its rate is constant (flag in /proc/cpuinfo).
    pub constant: bool,
    /// The kernel found that it doesn't stop in deep sleep.
    pub nonstop: bool,
    /// The kernel trusts it without a watchdog.
    pub reliable: bool,
    /// This thread may read it (`PR_GET_TSC`).
    pub readable: bool,
}

/// Programs that implement the system calls in place of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// gVisor's Sentry.
    Gvisor,
    /// Windows Subsystem for Linux, version 1.
    Wsl1,
    /// User-mode Linux.
    UserMode,
}

/// A time namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeNamespace {
    /// Whether it is the machine's initial namespace.
    pub initial: bool,
    /// Nanoseconds that CLOCK_MONOTONIC is ahead of the initial namespace's.
    pub monotonic: i128,
    /// Nanoseconds that CLOCK_BOOTTIME is ahead of the initial namespace's.
    pub boottime: i128,
}

/// Filters of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Seccomp {
    /// 0: none, 1: strict, 2: filters.
    pub mode: u32,
    /// The number of filters that run at each system call; `None` before Linux 5.9.
    pub filters: Option<u32>,
}

/// The vDSO that a process was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Vdso {
    /// The image's DT_SONAME.
    pub soname: Option<String>,
    /// Its build id, in hexadecimal.
    pub build_id: Option<String>,
    /// Whether it is the kernel's own image; false where another image replaced it.
    pub is_the_kernels: bool,
    /// Whether the process can't move, replace or unmap it, nor its data pages (mseal(2)).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// Exports of the kernel's vDSO that are newer than what `vdso ls --arch` lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// How a function is served, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// How the vDSO's own function serves it.
    pub vdso: Served,
    /// How the C library's function serves it.
    pub libc: Served,
    /// Median cost by the vDSO, in nanoseconds.
    pub vdso_ns: Option<f64>,
    /// Median cost by the C library, in nanoseconds.
    pub libc_ns: Option<f64>,
    /// Median cost of the system call, in nanoseconds.
    pub system_call_ns: Option<f64>,
}

/// An examined process other than this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The path of its program.
    pub program: String,
    /// How the program is linked.
    pub linkage: Option<Linkage>,
    /// Whether its vDSO has the same build id as this process's. Only then do calls made in this
    /// process apply to it.
    pub same_image: bool,
    /// With the same build id: the number of bytes that differ.
    pub patched: Option<u64>,
}

impl Facts {
    /// The facts that `vdso doctor` prints beside the findings: a name and a text for each.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let none = || "could not be read".to_owned();
        if let Some(process) = &self.process {
            let linkage = match process.linkage {
                Some(Linkage::Static) => ", static",
                Some(Linkage::Dynamic) => ", dynamic",
                None => "",
            };
            lines.push((
                "process",
                format!("{} ({}{linkage})", process.pid, process.program),
            ));
        }
        lines.push((
            "kernel",
            format!("{} ({})", self.release, self.architecture.unwrap_or("?")),
        ));
        lines.push((
            "vDSO",
            self.vdso
                .as_ref()
                .map_or_else(|| "none".to_owned(), Vdso::line),
        ));
        lines.push((
            "clocksource",
            self.clocksource.as_ref().map_or_else(none, |clocksource| {
                let available = clocksource.available.join(", ");
                format!("{} (available: {available})", clocksource.current)
            }),
        ));
        lines.extend(self.tsc.map(|tsc| ("TSC", tsc.line())));
        let machine = [
            self.hypervisor
                .as_ref()
                .map(|name| format!("virtual ({name})")),
            self.container
                .as_ref()
                .map(|name| format!("container ({name})")),
        ];
        let machine: Vec<String> = machine.into_iter().flatten().collect();
        if !machine.is_empty() {
            lines.push(("machine", machine.join(", ")));
        }
        lines.push((
            "time ns",
            match self.time_namespace {
                None => "the kernel has none, or it could not be read".into(),
                Some(namespace) if namespace.initial => "the machine's".into(),
                Some(_) => "its own".into(),
            },
        ));
        lines.push((
            "seccomp",
            match self.seccomp {
                None => none(),
                Some(Seccomp { mode: 0, .. }) => "off".into(),
                Some(Seccomp { mode: 1, .. }) => "strict".into(),
                Some(_) => "filters".into(),
            },
        ));
        lines
    }
}

impl Vdso {
    fn line(&self) -> String {
        let name = self.soname.as_deref().unwrap_or("an image without a name");
        let id = match &self.build_id {
            Some(id) => format!(", build id {id}"),
            None => String::new(),
        };
        let origin = if self.is_the_kernels {
            "the kernel's"
        } else {
            "not the kernel's"
        };
        format!("{name}, {origin}{id}")
    }
}

impl Tsc {
    fn line(self) -> String {
        let words = [
            (self.invariant, "invariant (CPUID)"),
            (self.constant, "constant_tsc"),
            (self.nonstop, "nonstop_tsc"),
            (self.reliable, "tsc_reliable"),
            (!self.readable, "reading is disabled (PR_SET_TSC)"),
        ];
        let words: Vec<&str> = words
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, word)| *word)
            .collect();
        if words.is_empty() {
            "neither invariant nor constant".into()
        } else {
            words.join(", ")
        }
    }
}
