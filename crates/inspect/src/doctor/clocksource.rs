//! Why a clocksource can't be read by the vDSO.
//!
//! A clocksource driver says how a vDSO may read its counter: `vdso_clock_mode` of `struct
//! clocksource` (Linux 6.12 `include/linux/clocksource.h`). What says nothing is read by the
//! kernel alone. The reasons here are from the drivers: `drivers/clocksource/acpi_pm.c`,
//! `drivers/clocksource/hyperv_timer.c`, `drivers/clocksource/arm_arch_timer.c`,
//! `arch/x86/kernel/hpet.c`, `arch/x86/kernel/kvmclock.c`, `arch/x86/xen/time.c`.

use super::facts::{Clocksource, Facts};
use super::finding::{Cause, Finding};
use super::has_word;
use super::judge::list;
use crate::function::Function;

/// Where a clocksource is chosen while the machine runs.
const CHOICE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The finding for functions that make a system call because of the clocksource.
pub(super) fn slow(facts: &Facts, functions: &[Function]) -> Finding {
    let Some(clocksource) = &facts.clocksource else {
        return Finding::slow(
            Cause::Clocksource,
            format!(
                "{} make a system call: the vDSO can't read the counter that the kernel keeps \
                 time with. Which that is could not be read.",
                list(functions)
            ),
        );
    };
    let current = clocksource.current.as_str();
    let chosen = format!("clocksource={current}");
    let by_command_line = has_word(facts, &chosen);
    let mut what = format!(
        "The clocksource is {current}: {}. So {} make a system call.",
        why_not_by_vdso(current),
        list(functions)
    );
    if by_command_line {
        what.push_str(&format!(
            " The kernel's command line asks for it (`{chosen}`)."
        ));
    }
    let advice = change(facts, clocksource, by_command_line);
    let otherwise = published(facts).unwrap_or_default();
    Finding::slow(Cause::Clocksource, what).advise(format!("{advice}{otherwise}"))
}

/// How the kernel comes to a better clocksource.
fn change(facts: &Facts, clocksource: &Clocksource, by_command_line: bool) -> String {
    let current = clocksource.current.as_str();
    let chosen = format!("clocksource={current}");
    match better(&clocksource.available, current) {
        Some(better) => {
            let lasting = if by_command_line {
                format!("; to keep it, take `{chosen}` off the kernel's command line")
            } else {
                format!("; to keep it, boot with `clocksource={better}`")
            };
            format!(
                "{better} is available and a vDSO can read it. As root: `echo {better} > \
                 {CHOICE}`{lasting}."
            )
        }
        None if by_command_line => format!(
            "Take `{chosen}` off the kernel's command line. At present the kernel offers nothing \
             that a vDSO can read; another finding says why."
        ),
        None => advice_without_choice(current, facts),
    }
}

/// What makes clocks fast where the kernel stays as it is: a TSC that runs at one rate, kept
/// to the kernel's clocks by a process.
fn published(facts: &Facts) -> Option<&'static str> {
    facts.tsc.filter(|tsc| tsc.invariant && tsc.readable)?;
    (facts.architecture == Some("x86-64")).then_some(
        " Or leave the kernel as it is: the TSC is invariant all the same. `vdso serve clock` \
         keeps a clock by it for the whole machine, unless it finds the processors' counters \
         apart, and `vdso run --clock -- PROGRAM` runs programs on that clock.",
    )
}

/// Why a vDSO doesn't read it.
fn why_not_by_vdso(name: &str) -> &'static str {
    match name {
        "hpet" => {
            "a timer on the board, which only the kernel reads, over a slow bus, in about a \
             microsecond"
        }
        "acpi_pm" => {
            "a timer of the power management, which only the kernel reads, through an I/O port, \
             and the slowest there is"
        }
        "jiffies" | "refined-jiffies" => "the kernel's own tick, so no counter at all",
        "xen" => {
            "Xen's clock, which a vDSO reads only where Xen declares it stable \
             (PVCLOCK_TSC_STABLE_BIT)"
        }
        "kvm-clock" => {
            "KVM's clock, which a vDSO reads only where the host declares it stable \
             (PVCLOCK_TSC_STABLE_BIT)"
        }
        "hyperv_clocksource_msr" => "a register of Hyper-V, and reading it is a trap to it",
        "arch_sys_counter" => {
            "the generic timer, which a vDSO doesn't read on processors with an erratum of it"
        }
        "tsc" | "tsc-early" => "which a vDSO reads, but this one doesn't",
        _ => "the vDSO of this kernel does not read it",
    }
}

/// An available clocksource that a vDSO reads, the best first.
fn better<'a>(available: &'a [String], current: &str) -> Option<&'a str> {
    [
        "tsc",
        "hyperv_clocksource_tsc_page",
        "kvm-clock",
        "arch_sys_counter",
    ]
    .into_iter()
    .filter(|name| *name != current)
    .find_map(|name| available.iter().find(|other| *other == name))
    .map(String::as_str)
}

fn advice_without_choice(current: &str, facts: &Facts) -> String {
    match (current, &facts.hypervisor) {
        ("kvm-clock", _) => "The host's own clocksource has to be its TSC for that: look there \
                             first."
            .into(),
        ("xen", _) => "Have Xen use its TSC: `clocksource=tsc tsc=stable:socket` on Xen's own \
                       command line, if the machine's TSC is invariant."
            .into(),
        (_, Some(hypervisor)) => format!(
            "This machine is virtual ({hypervisor}): give it an invariant TSC (QEMU: `-cpu \
             host,migratable=off,+invtsc`) or its monitor's own clock."
        ),
        (_, None) => "The kernel offers nothing that a vDSO can read: its log says why (`dmesg | \
                      grep -iE 'tsc|clocksource'`). Update the firmware first."
            .into(),
    }
}
