//! This machine's numbers: the built-in declaration `system` and its source, /proc. And what a control group may
//! use: the publisher's own, or another that is given.
//!
//! A container's /proc may lack files, and lines of files (lxcfs). What can't be read keeps its
//! value, is named by the variable `missing`, and the rest goes on.

mod limits;

use crate::Error;
use limits::{CGROUPS, Limits, is_group};
use procfs::{
    CpuPressure, FromRead, IoPressure, LoadAverage, Meminfo, MemoryPressure, ProcResult, Uptime,
    VmStat,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vdsokit_macros::Record;
use vdsokit_publish::serve::{Source, Update};
use vdsokit_publish::{LatchedWriter, Publisher, VarWriter};
use vdsokit_vvar::value::Text;

/// The declaration, as a user would write it: for `vdsokit_build::Declaration::parse`.
pub const DECLARATION: &str = include_str!("system.toml");

/// Load averages over one, five and fifteen minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Record)]
#[vvar(crate = vdsokit_vvar)]
pub struct Load {
    /// Over one minute.
    pub one: f32,
    /// Over five minutes.
    pub five: f32,
    /// Over fifteen minutes.
    pub fifteen: f32,
}

/// Bytes of the variable `missing`: room for the names of all others.
const NAMES: usize = 256;

/// The source of a published `system`: [`System::sample`] reads /proc once and writes
/// every variable.
#[derive(Debug)]
pub struct System {
    period: Duration,
    proc: PathBuf,
    cgroups: PathBuf,
    /// The group whose limits are published; that of this process if there is none.
    group: Option<PathBuf>,
    /// The variables that the last sample could not read.
    unread: Vec<&'static str>,
    missing: LatchedWriter<Text<NAMES>>,
    samples: VarWriter<u64>,
    processes: VarWriter<u32>,
    threads: VarWriter<u32>,
    running: VarWriter<u32>,
    blocked: VarWriter<u32>,
    load: LatchedWriter<Load>,
    memory_total: VarWriter<u64>,
    memory_free: VarWriter<u64>,
    memory_available: VarWriter<u64>,
    free_pages: VarWriter<u64>,
    uptime: VarWriter<f64>,
    context_switches: VarWriter<u64>,
    forks: VarWriter<u64>,
    pressure: VarWriter<bool>,
    pressures: [VarWriter<f32>; 3],
    cpu_limit: VarWriter<f64>,
    memory_limit: VarWriter<u64>,
    memory_used: VarWriter<u64>,
}

impl System {
    /// The source of `publisher`'s values, sampled once each `period`.
    ///
    /// # Errors
    /// [`Error::Unknown`](vdsokit_publish::Error::Unknown) and
    /// [`Error::Mismatch`](vdsokit_publish::Error::Mismatch) when `publisher` publishes
    /// another declaration.
    pub fn new(publisher: &Publisher, period: Duration) -> Result<Self, Error> {
        Ok(Self {
            period,
            proc: PathBuf::from("/proc"),
            cgroups: PathBuf::from(CGROUPS),
            group: None,
            unread: Vec::new(),
            missing: publisher.latched("missing")?,
            samples: publisher.var("samples")?,
            processes: publisher.var("processes")?,
            threads: publisher.var("threads")?,
            running: publisher.var("running")?,
            blocked: publisher.var("blocked")?,
            load: publisher.latched("load")?,
            memory_total: publisher.var("memory_total")?,
            memory_free: publisher.var("memory_free")?,
            memory_available: publisher.var("memory_available")?,
            free_pages: publisher.var("free_pages")?,
            uptime: publisher.var("uptime")?,
            context_switches: publisher.var("context_switches")?,
            forks: publisher.var("forks")?,
            pressure: publisher.var("pressure")?,
            pressures: [
                publisher.var("pressure_cpu")?,
                publisher.var("pressure_memory")?,
                publisher.var("pressure_io")?,
            ],
            cpu_limit: publisher.var("cpu_limit")?,
            memory_limit: publisher.var("memory_limit")?,
            memory_used: publisher.var("memory_used")?,
        })
    }

    /// Reads another directory that has the form of /proc, as a container's host keeps it.
    #[must_use]
    pub fn reading(mut self, proc: &Path) -> Self {
        self.proc = proc.to_owned();
        self
    }

    /// Reads another directory that has the form of /sys/fs/cgroup.
    #[must_use]
    pub fn reading_cgroups(mut self, cgroups: &Path) -> Self {
        self.cgroups = cgroups.to_owned();
        self
    }

    /// Publishes the limits of the control group (version 2) with this directory in place of those of this
    /// process's own: a page has one group's, so readers in several groups have several files.
    ///
    /// # Errors
    /// [`Error::NoGroup`] when it is the directory of no group.
    pub fn of_group(mut self, group: &Path) -> Result<Self, Error> {
        if !is_group(group) {
            return Err(Error::NoGroup {
                path: group.to_owned(),
            });
        }
        self.group = Some(group.to_owned());
        Ok(self)
    }

    /// The variables that the last sample could not read.
    #[must_use]
    pub fn missing(&self) -> &[&'static str] {
        &self.unread
    }

    /// Reads /proc once and writes every variable that can be read.
    ///
    /// # Errors
    /// [`Error::Proc`] when nothing can be read: there is no /proc.
    pub fn sample(&mut self) -> Result<(), Error> {
        self.unread.clear();
        let processes = processes(&self.proc)?;
        self.processes.set(processes);
        self.sample_load();
        self.sample_stat();
        self.sample_memory();
        match self.read::<Uptime>("uptime") {
            Some(uptime) => self.uptime.set(uptime.uptime),
            None => self.unread.push("uptime"),
        }
        self.sample_pressure();
        self.sample_limits();
        // Every name fits: a test counts them.
        if let Ok(names) = Text::new(&self.unread.join(" ")) {
            self.missing.set(names);
        }
        self.samples.set(self.samples.get().wrapping_add(1));
        Ok(())
    }

    fn read<T: FromRead>(&self, file: &str) -> Option<T> {
        T::from_file(self.proc.join(file)).ok()
    }

    fn sample_load(&mut self) {
        let Some(load) = self.read::<LoadAverage>("loadavg") else {
            self.unread.extend(["threads", "running", "load"]);
            return;
        };
        self.threads.set(load.max);
        self.running.set(load.cur);
        self.load.set(Load {
            one: load.one,
            five: load.five,
            fifteen: load.fifteen,
        });
    }

    fn sample_stat(&mut self) {
        let text = fs::read_to_string(self.proc.join("stat")).unwrap_or_default();
        match number(&text, "procs_blocked").and_then(|number| number.try_into().ok()) {
            Some(blocked) => self.blocked.set(blocked),
            None => self.unread.push("blocked"),
        }
        match number(&text, "ctxt") {
            Some(switches) => self.context_switches.set(switches),
            None => self.unread.push("context_switches"),
        }
        match number(&text, "processes") {
            Some(forks) => self.forks.set(forks),
            None => self.unread.push("forks"),
        }
    }

    fn sample_memory(&mut self) {
        match self.read::<Meminfo>("meminfo") {
            Some(memory) => {
                self.memory_total.set(memory.mem_total);
                self.memory_free.set(memory.mem_free);
                self.memory_available
                    .set(memory.mem_available.unwrap_or(memory.mem_free));
            }
            None => self
                .unread
                .extend(["memory_total", "memory_free", "memory_available"]),
        }
        let free = self.read::<VmStat>("vmstat");
        let free = free.and_then(|stat| stat.0.get("nr_free_pages").copied());
        match free.and_then(|free| free.try_into().ok()) {
            Some(free) => self.free_pages.set(free),
            None => self.unread.push("free_pages"),
        }
    }

    /// A kernel built without pressure stall information has no such files, and one
    /// booted with it turned off refuses to read them (Documentation/accounting/psi.rst).
    fn sample_pressure(&mut self) {
        let file = |name: &str| self.proc.join("pressure").join(name);
        let now = (|| -> ProcResult<[f32; 3]> {
            Ok([
                CpuPressure::from_file(file("cpu"))?.some.avg10,
                MemoryPressure::from_file(file("memory"))?.some.avg10,
                IoPressure::from_file(file("io"))?.some.avg10,
            ])
        })();
        self.pressure.set(now.is_ok());
        for (variable, value) in self.pressures.iter().zip(now.unwrap_or_default()) {
            variable.set(value);
        }
    }

    /// A limit on memory that is above the machine's memory is none.
    fn sample_limits(&mut self) {
        let limits = match &self.group {
            Some(group) => Limits::of_group(group),
            None => Limits::read(&self.proc, &self.cgroups),
        };
        match limits.cpus {
            Some(cpus) => self.cpu_limit.set(cpus),
            None => self.unread.push("cpu_limit"),
        }
        match limits.memory {
            Some(limit) if !self.unread.contains(&"memory_total") => {
                self.memory_limit.set(limit.min(self.memory_total.get()));
            }
            _ => self.unread.push("memory_limit"),
        }
        match limits.memory_used {
            Some(used) => self.memory_used.set(used),
            None => self.unread.push("memory_used"),
        }
    }
}

impl Source for System {
    type Error = Error;

    fn period(&self) -> Duration {
        self.period
    }

    fn update(&mut self, _: &Publisher) -> Result<Update, Error> {
        self.sample()?;
        Ok(Update::Current)
    }
}

/// The number behind a word that begins a line, as /proc/stat has them.
fn number(text: &str, word: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

/// Reads `bytes` as each text about the machine and about a control group.
#[cfg(fuzzing)]
pub fn exercise(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = number(&text, "ctxt");
    limits::exercise(&text);
}

/// The number of processes: each is a directory whose name is its id (proc(5)).
fn processes(proc: &Path) -> Result<u32, Error> {
    let directory = fs::read_dir(proc).map_err(|source| Error::Proc {
        what: "the list of processes",
        source,
    })?;
    let numbers = directory.flatten().filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    });
    Ok(numbers.count().try_into().unwrap_or(u32::MAX))
}
