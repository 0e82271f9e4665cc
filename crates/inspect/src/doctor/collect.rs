//! Gathering the facts of this machine and of a process.

use super::facts::{Call, Facts, Vdso};
use super::surroundings as read;
use crate::call::Callee;
use crate::function::{Function, Route};
use crate::measure::{Plan, measure};
use crate::probe::{Served, probe};
use std::fs;
use std::io;
use std::path::Path;
use vdsokit_elf::{Image, arch, own, process};

/// Where the kernel says which clocksource it has.
const CLOCKSOURCE: &str = "/sys/devices/system/clocksource/clocksource0";

/// The facts of this process: calls every function and measures it by `plan`. After each one,
/// passes the number of functions that are done to the callback.
///
/// # Errors
/// If no child process can be started, in which the functions are called.
pub fn collect(plan: Plan, mut done: impl FnMut(usize)) -> io::Result<Facts> {
    let mut facts = of_process(machine(), "self");
    let this = std::process::id();
    facts.vdso = own::image().map(|image| describe(&image, is_the_kernels(), this));
    for (index, &function) in Function::ALL.iter().enumerate() {
        facts.calls.push(call(function, plan)?);
        done(index + 1);
    }
    Ok(facts)
}

/// The identity of an image in the process `pid`.
pub(super) fn describe(image: &Image<'_>, is_the_kernels: bool, pid: u32) -> Vdso {
    Vdso {
        soname: image.soname().map(|soname| soname.to_string()),
        build_id: image.build_id().map(crate::hex),
        is_the_kernels,
        sealed: process::is_sealed(pid).unwrap_or_default(),
        unknown: match arch::of(image.header()).filter(|_| is_the_kernels) {
            Some(abi) => abi.unknown(image).map(|name| name.to_string()).collect(),
            None => Vec::new(),
        },
    }
}

/// The facts of the machine, from the kernel and the processor.
#[must_use]
pub fn machine() -> Facts {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (version, cpuinfo) = (text("/proc/version"), text("/proc/cpuinfo"));
    let log = read::log();
    let cpuid = read::cpuid();
    Facts {
        release: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        architecture: arch::current().map(|abi| abi.name),
        command_line: fs::read_to_string("/proc/cmdline")
            .ok()
            .map(|line| line.trim().to_owned()),
        clocksource: read::clocksource(Path::new(CLOCKSOURCE)),
        tsc: read::tsc(&cpuinfo, &cpuid, crate::call::may_read_tsc()),
        hypervisor: cpuid.hypervisor.or_else(|| {
            let kind = fs::read_to_string("/sys/hypervisor/type").ok()?;
            Some(kind.trim().to_owned())
        }),
        container: read::container(Path::new("/")),
        sandbox: read::sandbox(&version, &cpuinfo, log.as_deref()),
        log,
        ..Facts::default()
    }
}

/// Adds the facts of a process from /proc: `self` or a process id.
pub(super) fn of_process(facts: Facts, process: &str) -> Facts {
    let file = |name: &str| format!("/proc/{process}/{name}");
    let text = |name: &str| fs::read_to_string(file(name)).unwrap_or_default();
    let link = |name: &str| {
        let link = fs::read_link(file(name)).unwrap_or_default();
        link.to_string_lossy().into_owned()
    };
    Facts {
        time_namespace: read::time_namespace(
            &link("ns/time"),
            &link("ns/time_for_children"),
            &text("timens_offsets"),
        ),
        seccomp: read::seccomp(&text("status")),
        ..facts
    }
}

/// Whether the image at AT_SYSINFO_EHDR is the mapping that the kernel calls `[vdso]`.
fn is_the_kernels() -> bool {
    let Some(address) = own::address() else {
        return false;
    };
    let Ok(maps) = process::mappings(std::process::id()) else {
        return false;
    };
    let address = address.addr() as u64;
    maps.iter()
        .any(|mapping| mapping.range.start == address && mapping.name == "[vdso]")
}

/// Calls and measures one function.
fn call(function: Function, plan: Plan) -> io::Result<Call> {
    let served = |route| match Callee::resolve(function, route, None) {
        Some(callee) => probe(&callee),
        None => Ok(Served::Absent),
    };
    let (vdso, libc) = (served(Route::Vdso)?, served(Route::Libc)?);
    // A function that killed the child process is not called in this one.
    let routes: Vec<Route> = [
        (Route::Vdso, vdso),
        (Route::Libc, libc),
        (Route::SystemCall, Served::BySystemCall),
    ]
    .into_iter()
    .filter(|(_, served)| !matches!(served, Served::Killed(_)))
    .map(|(route, _)| route)
    .collect();
    let cost = measure(function, &routes, None, plan);
    Ok(Call {
        function,
        vdso,
        libc,
        vdso_ns: cost.median(Route::Vdso),
        libc_ns: cost.median(Route::Libc),
        system_call_ns: cost.median(Route::SystemCall),
    })
}
