//! This machine's numbers: the built-in declaration `system` and its source, /proc.

use crate::Error;
use procfs::{
    CpuPressure, Current, CurrentSI, IoPressure, KernelStats, LoadAverage, Meminfo, MemoryPressure,
    ProcError, ProcResult, Uptime, VmStat,
};
use std::fs;
use std::io;
use std::time::Duration;
use vdsokit_macros::Record;
use vdsokit_publish::serve::{Source, Update};
use vdsokit_publish::{LatchedWriter, Publisher, VarWriter};

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

/// The source of a published `system`: [`System::sample`] reads /proc once and writes
/// every variable.
#[derive(Debug)]
pub struct System {
    period: Duration,
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
        })
    }

    /// Reads /proc once and writes every variable.
    ///
    /// # Errors
    /// [`Error::Proc`] names the file that could not be read, or not understood.
    pub fn sample(&mut self) -> Result<(), Error> {
        let load = read("loadavg", LoadAverage::current())?;
        self.threads.set(load.max);
        self.running.set(load.cur);
        self.load.set(Load {
            one: load.one,
            five: load.five,
            fifteen: load.fifteen,
        });

        let stat = read("stat", KernelStats::current())?;
        self.blocked.set(stat.procs_blocked.unwrap_or_default());
        self.context_switches.set(stat.ctxt);
        self.forks.set(stat.processes);

        let memory = read("meminfo", Meminfo::current())?;
        self.memory_total.set(memory.mem_total);
        self.memory_free.set(memory.mem_free);
        self.memory_available
            .set(memory.mem_available.unwrap_or(memory.mem_free));

        let vmstat = read("vmstat", VmStat::current())?.0;
        let free = vmstat.get("nr_free_pages").copied().unwrap_or_default();
        self.free_pages.set(free.try_into().unwrap_or_default());

        self.uptime.set(read("uptime", Uptime::current())?.uptime);
        self.processes.set(processes()?);
        self.sample_pressure();
        self.samples.set(self.samples.get().wrapping_add(1));
        Ok(())
    }

    /// A kernel built without pressure stall information has no such files, and one
    /// booted with it turned off refuses to read them (Documentation/accounting/psi.rst).
    fn sample_pressure(&mut self) {
        let now = (|| -> ProcResult<[f32; 3]> {
            Ok([
                CpuPressure::current()?.some.avg10,
                MemoryPressure::current()?.some.avg10,
                IoPressure::current()?.some.avg10,
            ])
        })();
        self.pressure.set(now.is_ok());
        for (variable, value) in self.pressures.iter().zip(now.unwrap_or_default()) {
            variable.set(value);
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

/// Names the file in the error.
fn read<T>(what: &'static str, result: ProcResult<T>) -> Result<T, Error> {
    result.map_err(|error| Error::Proc {
        what,
        source: match error {
            ProcError::Io(source, _) => source,
            ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
            ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        },
    })
}

/// The number of processes: each is a directory whose name is its id (proc(5)).
fn processes() -> Result<u32, Error> {
    let directory = fs::read_dir("/proc").map_err(|source| Error::Proc {
        what: "the list of processes",
        source,
    })?;
    let numbers = directory.flatten().filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    });
    Ok(numbers.count().try_into().unwrap_or(u32::MAX))
}
