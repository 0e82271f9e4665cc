//! Derives findings from facts, without any access to the system, so that tests can use the facts
//! of other machines.

use super::facts::{Call, Facts, Sandbox};
use super::finding::{Cause, Finding, Verdict};
use super::{clocksource, tsc};
use crate::function::{ClockId, Function, Make};
use crate::probe::Served;
use crate::process::Linkage;
use vdsokit_elf::arch;

/// All findings, the most severe first.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(sandbox) = facts.sandbox {
        findings.push(in_sandbox(sandbox));
    }
    if facts.vdso.is_none() {
        findings.push(no_vdso(facts));
    } else {
        findings.extend(killed(facts));
        let slow = slow_by(facts, |function| function.needs_counter());
        if !slow.is_empty() {
            if let Some(rest) = tick_clocks_too(facts) {
                findings.push(rest);
            } else {
                findings.push(clocksource::slow(facts, &slow));
                findings.extend(tsc::why_not(facts));
            }
        }
        findings.extend(other_slow(facts));
        findings.extend(tsc::intercepted(facts));
        findings.extend(missing(facts));
        findings.extend(unknown_exports(facts));
        findings.extend(sealed(facts));
        findings.extend(memory_force(facts));
        findings.extend(replaced(facts));
        findings.extend(patched(facts));
        findings.extend(other_image(facts));
    }
    findings.extend(undetermined(facts));
    findings.extend(libc_bypasses(facts));
    findings.extend(statically_linked(facts));
    findings.extend(time_namespace(facts));
    findings.extend(seccomp(facts));
    findings.sort_by_key(|finding| finding.grade);
    findings
}

/// The most severe result of the findings.
#[must_use]
pub fn verdict(findings: &[Finding]) -> Verdict {
    findings
        .iter()
        .map(|finding| Verdict::from(finding.grade))
        .min()
        .unwrap_or(Verdict::Fast)
}

/// Whether the vDSO's function makes no system call; `None` where that is unknown. Where no filter
/// could be installed, a call that costs less than half of the system call can't contain one.
pub(super) fn is_direct(call: &Call) -> Option<bool> {
    match call.vdso {
        Served::Directly => Some(true),
        Served::BySystemCall => Some(false),
        Served::Refused | Served::Absent | Served::Killed(_) => None,
        Served::Unknown(_) => match (call.vdso_ns, call.system_call_ns) {
            (Some(vdso), Some(system_call)) if 2.0 * vdso < system_call => Some(true),
            _ => None,
        },
    }
}

/// Functions that a vDSO can serve and for which this one makes a system call.
fn slow_by(facts: &Facts, wanted: impl Fn(Function) -> bool) -> Vec<Function> {
    let calls = facts.calls.iter().filter(|call| {
        call.function.is_servable() && wanted(call.function) && is_direct(call) == Some(false)
    });
    calls.map(|call| call.function).collect()
}

/// Names for a sentence: `A, B and C`.
pub(super) fn list(functions: &[Function]) -> String {
    let names: Vec<String> = functions.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

fn in_sandbox(sandbox: Sandbox) -> Finding {
    let (what, advice) = match sandbox {
        Sandbox::Gvisor => (
            "The kernel is gVisor's: its Sentry handles every system call and supplies the \
             vDSO.",
            "The vDSO's clocks are fast in gVisor too; system calls cost more than on Linux. \
             Batch them, or run this workload outside the sandbox.",
        ),
        Sandbox::Wsl1 => (
            "Windows implements the system calls (WSL 1).",
            "WSL 2 runs a real Linux kernel: `wsl --set-version NAME 2`.",
        ),
        Sandbox::UserMode => (
            "This is user-mode Linux: the kernel is a Linux process.",
            "Its vDSO makes system calls for every function; a virtual machine would not.",
        ),
    };
    Finding::note(Cause::Sandbox, what).advise(advice)
}

fn no_vdso(facts: &Facts) -> Finding {
    let switch = ["vdso=0", "vdso32=0", "vdso=off"]
        .into_iter()
        .find(|word| super::has_word(facts, word));
    match switch {
        Some(word) => Finding::slow(
            Cause::NoVdso,
            format!("There is no vDSO: the kernel's command line has `{word}`."),
        )
        .advise("Remove it from the kernel's command line and reboot."),
        None => Finding::slow(
            Cause::NoVdso,
            "The process was started without a vDSO: its auxiliary vector has no AT_SYSINFO_EHDR.",
        )
        .advise(
            "Some tracers and sandboxes remove it in order to intercept every call; run the \
             program outside of them. `vdso ls --arch NAME` shows whether the architecture has \
             a vDSO.",
        ),
    }
}

/// Calls that kill the caller.
fn killed(facts: &Facts) -> Option<Finding> {
    let dead: Vec<(Function, i32)> = facts
        .calls
        .iter()
        .filter_map(|call| match call.vdso {
            Served::Killed(signal) => Some((call.function, signal)),
            _ => None,
        })
        .collect();
    let (_, signal) = *dead.first()?;
    let functions: Vec<Function> = dead.iter().map(|(function, _)| *function).collect();
    if facts.tsc.is_some_and(|tsc| !tsc.readable) {
        return Some(
            Finding::slow(
                Cause::TscForbidden,
                format!(
                    "This process may not read the TSC (PR_SET_TSC): the vDSO's {} is killed by \
                     signal {signal}.",
                    list(&functions)
                ),
            )
            .advise(
                "Start it outside of the tool that forbids the TSC, such as a recorder of \
                 executions.",
            ),
        );
    }
    Some(
        Finding::slow(
            Cause::Killed,
            format!(
                "A call of the vDSO's {} is killed by signal {signal}.",
                list(&functions)
            ),
        )
        .advise(
            "The image or its data pages are broken: compare it with `vdso ls` of another \
             process.",
        ),
    )
}

/// Even clocks that need no counter make system calls: then the clocksource is not the cause.
fn tick_clocks_too(facts: &Facts) -> Option<Finding> {
    let tick = slow_by(
        facts,
        |function| matches!(function, Function::ClockGettime(clock) if clock.make() == Make::Tick),
    );
    if tick.is_empty() {
        return None;
    }
    Some(
        Finding::slow(
            Cause::VdsoAlwaysFallsBack,
            format!(
                "The vDSO makes a system call for {}, which needs no counter: this vDSO makes \
                 a system call with every clocksource.",
                list(&tick)
            ),
        )
        .advise(
            "A tracer may have patched it to intercept every call, or the publisher of its pages \
             is not running: `vdso ls PID` shows the image.",
        ),
    )
}

/// Functions that need no counter and make a system call all the same.
fn other_slow(facts: &Facts) -> Option<Finding> {
    // RISC-V's is nothing but the system call, in every kernel (arch/riscv/kernel/vdso/getcpu.S).
    let is_call = |function| {
        function == Function::Getcpu && matches!(facts.architecture, Some("riscv64" | "riscv32"))
    };
    let slow = slow_by(facts, |function| {
        !function.needs_counter()
            && !is_call(function)
            && !matches!(function, Function::ClockGettime(clock) if clock.make() == Make::Tick)
    });
    if slow.is_empty() {
        return None;
    }
    Some(
        Finding::slow(
            Cause::FallsBack,
            format!(
                "The vDSO exports {} but makes a system call for it.",
                list(&slow)
            ),
        )
        .advise(
            "The vDSO's getrandom does so until the kernel has gathered enough entropy; \
             otherwise check whether a tracer has patched the vDSO.",
        ),
    )
}

/// Functions that this architecture's vDSO has in other kernels.
fn missing(facts: &Facts) -> Option<Finding> {
    let abi = arch::named(facts.architecture?)?;
    let absent: Vec<String> = facts
        .calls
        .iter()
        .filter(|call| call.vdso == Served::Absent && call.function.is_servable())
        .filter_map(|call| {
            let function = abi.function(call.function.call())?;
            Some(match function.since {
                Some(since) => format!("{} (since Linux {since})", call.function),
                None => call.function.to_string(),
            })
        })
        .collect();
    if absent.is_empty() {
        return None;
    }
    Some(
        Finding::note(
            Cause::FunctionMissing,
            format!("This vDSO does not export {}.", absent.join(", ")),
        )
        .advise("A newer kernel serves it without a system call."),
    )
}

fn unknown_exports(facts: &Facts) -> Option<Finding> {
    let unknown = &facts.vdso.as_ref()?.unknown;
    if unknown.is_empty() {
        return None;
    }
    let names = unknown.join(", ");
    Some(
        Finding::note(
            Cause::UnknownExports,
            format!("This vDSO exports functions that `vdso ls --arch` does not list: {names}."),
        )
        .advise("The kernel is newer than this program. Its doctor does not call them."),
    )
}

/// Linux 6.15 `mm/Kconfig`, MSEAL_SYSTEM_MAPPINGS.
fn sealed(facts: &Facts) -> Option<Finding> {
    facts.vdso.as_ref().filter(|vdso| vdso.sealed)?;
    Some(
        Finding::note(
            Cause::Sealed,
            "The vDSO is sealed: nothing can be mapped in its place while the process runs.",
        )
        .advise(
            "`vdso run` maps another one beside it when a program starts. `vdso attach` can't \
             replace it on x86-64; a kernel built without CONFIG_MSEAL_SYSTEM_MAPPINGS does not \
             seal it.",
        ),
    )
}

/// Linux 6.12 `fs/proc/base.c`, `proc_mem_foll_force()`.
fn memory_force(facts: &Facts) -> Option<Finding> {
    let words = ["never", "ptrace"].map(|value| format!("proc_mem.force_override={value}"));
    let word = words.iter().find(|word| super::has_word(facts, word))?;
    Some(
        Finding::note(
            Cause::MemoryForce,
            format!(
                "The kernel's command line has `{word}`: /proc/PID/mem does not write to memory \
                 that its process may not write."
            ),
        )
        .advise("`vdso run`, `attach` and `detach` write by ptrace(2) where it is refused."),
    )
}

fn replaced(facts: &Facts) -> Option<Finding> {
    let vdso = facts.vdso.as_ref().filter(|vdso| !vdso.is_the_kernels)?;
    let name = vdso.soname.as_deref().unwrap_or("an image without a name");
    Some(Finding::note(
        Cause::Replaced,
        format!("The vDSO is not the kernel's own: {name} replaced it when the process began."),
    ))
}

fn patched(facts: &Facts) -> Option<Finding> {
    let process = facts.process.as_ref()?;
    let bytes = process.patched.filter(|&bytes| bytes > 0)?;
    Some(
        Finding::slow(
            Cause::Patched,
            format!(
                "{bytes} bytes of the process's vDSO differ from what the kernel mapped: its code \
                 was patched."
            ),
        )
        .advise(
            "Recorders and sandboxes patch it to intercept every call. `vdso dump PID -o FILE` \
             and `objdump -d FILE` show the patched code.",
        ),
    )
}

fn other_image(facts: &Facts) -> Option<Finding> {
    let process = facts
        .process
        .as_ref()
        .filter(|process| !process.same_image)?;
    Some(
        Finding::unknown(
            Cause::OtherImage,
            format!(
                "Process {} has another vDSO than this program, so its functions could not be \
                 tested.",
                process.pid
            ),
        )
        .advise("`vdso ls PID` shows that vDSO."),
    )
}

fn statically_linked(facts: &Facts) -> Option<Finding> {
    let process = facts.process.as_ref()?;
    (process.linkage == Some(Linkage::Static)).then(|| {
        Finding::note(
            Cause::Static,
            "The program is linked statically: whether it calls the vDSO at all is up to the C \
             library in it, and a preloaded library does not reach it.",
        )
    })
}

/// Functions for which it is unknown whether they make a system call.
fn undetermined(facts: &Facts) -> Option<Finding> {
    let functions: Vec<Function> = facts
        .calls
        .iter()
        .filter(|call| matches!(call.vdso, Served::Unknown(_)) && is_direct(call).is_none())
        .map(|call| call.function)
        .collect();
    if functions.is_empty() {
        return None;
    }
    Some(
        Finding::unknown(
            Cause::Undetermined,
            format!(
                "Whether {} makes a system call could not be determined: this process may not \
                 install a seccomp filter.",
                list(&functions)
            ),
        )
        .advise("Run it where a process may call seccomp(2): outside of the container."),
    )
}

/// Functions that the vDSO serves and this program's C library doesn't call.
fn libc_bypasses(facts: &Facts) -> Option<Finding> {
    if facts.process.is_some() {
        return None;
    }
    let bypassed: Vec<Function> = facts
        .calls
        .iter()
        .filter(|call| call.vdso == Served::Directly && call.libc == Served::BySystemCall)
        .map(|call| call.function)
        .collect();
    if bypassed.is_empty() {
        return None;
    }
    Some(
        Finding::note(
            Cause::LibcBypasses,
            format!(
                "The vDSO serves {} without a system call, but this program's C library makes \
                 one.",
                list(&bypassed)
            ),
        )
        .advise(if bypassed == [Function::Getrandom] {
            "glibc uses the vDSO's getrandom since 2.41."
        } else {
            "Use a newer C library, or link dynamically."
        }),
    )
}

fn time_namespace(facts: &Facts) -> Option<Finding> {
    let namespace = facts
        .time_namespace
        .filter(|namespace| !namespace.initial)?;
    let seconds = |nanoseconds: i128| nanoseconds as f64 / 1e9;
    Some(
        Finding::note(
            Cause::TimeNamespace,
            format!(
                "The process is in a time namespace of its own: CLOCK_MONOTONIC differs from the \
                 machine's by {:+} s and CLOCK_BOOTTIME by {:+} s; CLOCK_REALTIME is the same.",
                seconds(namespace.monotonic),
                seconds(namespace.boottime)
            ),
        )
        .advise(
            "The vDSO adds the offset itself, from a data page of the namespace, which costs a \
             nanosecond or two and no system call. Don't compare monotonic times with processes \
             outside.",
        ),
    )
}

fn seccomp(facts: &Facts) -> Option<Finding> {
    let seccomp = facts.seccomp.filter(|seccomp| seccomp.mode != 0)?;
    let filters = match seccomp.filters {
        Some(1) => "a filter".to_owned(),
        Some(filters) => format!("{filters} filters"),
        None => "filters".to_owned(),
    };
    Some(if seccomp.mode == 1 {
        Finding::note(
            Cause::Seccomp,
            "Seccomp is in strict mode: a call of the vDSO that falls back to a system call \
             kills the process.",
        )
    } else {
        Finding::note(
            Cause::Seccomp,
            format!(
                "Seccomp runs {filters} before every system call. Calls that the vDSO serves are \
                 not affected; a fallback to the system call is slower, and fails where the \
                 filter forbids it."
            ),
        )
    })
}

/// The facts of `clock_gettime` for a clock.
pub(super) fn call_of_clock(facts: &Facts, clock: ClockId) -> Option<&Call> {
    facts
        .calls
        .iter()
        .find(|call| call.function == Function::ClockGettime(clock))
}
