//! A benchmark: the time that every function takes by every route, and the machine.

use crate::call::Library;
use crate::function::{Function, Route};
use crate::measure::{Cost, Plan, measure};
use serde::Serialize;
use std::fs;
use vdsokit_elf::arch;

/// Costs, and the machine on which they were measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Benchmark {
    /// The machine.
    pub machine: Machine,
    /// Samples of each series.
    pub samples: u32,
    /// The file of the image that was measured beside the vDSO.
    pub image: Option<String>,
    /// One for each function.
    pub costs: Vec<Cost>,
}

/// The facts of a machine that affect the cost of a clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The host's name.
    pub host: String,
    /// The time of the benchmark, `2026-01-31 12:00 UTC`.
    pub date: String,
    /// The version of this program.
    pub version: &'static str,
    /// The kernel's release.
    pub release: String,
    /// The architecture by its name in vdso(7).
    pub architecture: Option<&'static str>,
    /// The processor's model, where the kernel reports it.
    pub processor: Option<String>,
    /// The current clocksource.
    pub clocksource: Option<String>,
    /// The hypervisor's name.
    pub hypervisor: Option<String>,
}

impl Machine {
    /// The machine of this process.
    #[must_use]
    pub fn this() -> Self {
        let facts = crate::doctor::machine();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = rustix::system::uname();
        Self {
            host: name.nodename().to_string_lossy().into_owned(),
            date: jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M UTC")
                .to_string(),
            version: env!("CARGO_PKG_VERSION"),
            release: facts.release,
            architecture: arch::current().map(|abi| abi.name),
            processor: model(&cpuinfo),
            clocksource: facts.clocksource.map(|clocksource| clocksource.current),
            hypervisor: facts.hypervisor,
        }
    }

    /// Processor, hypervisor, kernel and clocksource in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let parts = [
            self.processor.clone(),
            self.hypervisor
                .as_ref()
                .map(|name| format!("virtual ({name})")),
            Some(format!("Linux {}", self.release)),
            self.clocksource
                .as_ref()
                .map(|name| format!("clocksource {name}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        parts.join(", ")
    }
}

/// `model name` on x86, `cpu model` on MIPS, `cpu` on PowerPC.
fn model(cpuinfo: &str) -> Option<String> {
    ["model name", "cpu model", "cpu"]
        .into_iter()
        .find_map(|key| {
            cpuinfo.lines().find_map(|line| {
                let (name, text) = line.split_once(':')?;
                (name.trim() == key).then(|| text.trim().to_owned())
            })
        })
}

/// Measures every function by every route, and passes the number of finished ones to `done`.
///
/// `image` is a file's name and the library that it was loaded as.
#[must_use]
pub fn run(
    image: Option<(String, &Library)>,
    plan: Plan,
    mut done: impl FnMut(usize),
) -> Benchmark {
    let routes = [Route::Vdso, Route::Image, Route::Libc, Route::SystemCall];
    let library = image.as_ref().map(|(_, library)| *library);
    let costs = Function::ALL.iter().enumerate().map(|(index, &function)| {
        let cost = measure(function, &routes, library, plan);
        done(index + 1);
        cost
    });
    Benchmark {
        machine: Machine::this(),
        samples: plan.samples,
        costs: costs.collect(),
        image: image.map(|(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_named_as_the_kernel_does() {
        assert_eq!(
            model("processor : 0\nmodel name\t: A B\n").as_deref(),
            Some("A B")
        );
        assert_eq!(model("cpu : POWER9\n").as_deref(), Some("POWER9"));
        assert_eq!(model("Features : fp\n"), None);
    }
}
