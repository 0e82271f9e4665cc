//! Why a clocksource can't be read by the vDSO.
//!
//! A clocksource driver says how a vDSO may read its counter: `vdso_clock_mode` of `struct
//! clocksource` (Linux 6.12 `include/linux/clocksource.h`). A driver without a mode is read by the
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
                "{} make a system call: the vDSO can't read the kernel's clocksource. Its name \
                 could not be read.",
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
            " The kernel's command line selects it (`{chosen}`)."
        ));
    }
    let advice = change(facts, clocksource, by_command_line);
    let otherwise = published(facts).unwrap_or_default();
    Finding::slow(Cause::Clocksource, what).advise(format!("{advice}{otherwise}"))
}

/// How to select a better clocksource.
fn change(facts: &Facts, clocksource: &Clocksource, by_command_line: bool) -> String {
    let current = clocksource.current.as_str();
    let chosen = format!("clocksource={current}");
    match better(&clocksource.available, current) {
        Some(better) => {
            let lasting = if by_command_line {
                format!(
                    "; to make that permanent, remove `{chosen}` from the kernel's command line"
                )
            } else {
                format!("; to make that permanent, boot with `clocksource={better}`")
            };
            format!(
                "{better} is available and a vDSO can read it. As root: `echo {better} > \
                 {CHOICE}`{lasting}."
            )
        }
        None if by_command_line => format!(
            "Remove `{chosen}` from the kernel's command line. The kernel offers no clocksource \
             that a vDSO can read; another finding gives the reason."
        ),
        None => advice_without_choice(current, facts),
    }
}

/// The remedy without a change to the kernel: a process that disciplines an invariant TSC to the
/// kernel's clocks.
fn published(facts: &Facts) -> Option<&'static str> {
    facts.tsc.filter(|tsc| tsc.invariant && tsc.readable)?;
    (facts.architecture == Some("x86-64")).then_some(
        " Or leave the kernel as it is: the TSC is invariant all the same. `vdso serve clock` \
         keeps a clock by it for the whole machine, unless it finds the processors' counters \
         apart, and `vdso run --clock -- PROGRAM` runs programs on that clock.",
    )
}

/// Why a vDSO doesn't read this clocksource.
fn why_not_by_vdso(name: &str) -> &'static str {
    match name {
        "hpet" => {
            "a timer on the board, which only the kernel reads, over a slow bus, in about a \
             microsecond"
        }
        "acpi_pm" => {
            "the power management timer, which only the kernel reads, through an I/O port: the \
             slowest clocksource"
        }
        "jiffies" | "refined-jiffies" => "the kernel's tick, which is not a counter",
        "xen" => {
            "Xen's clock, which a vDSO reads only where Xen declares it stable \
             (PVCLOCK_TSC_STABLE_BIT)"
        }
        "kvm-clock" => {
            "KVM's clock, which a vDSO reads only where the host declares it stable \
             (PVCLOCK_TSC_STABLE_BIT)"
        }
        "hyperv_clocksource_msr" => "a Hyper-V register; reading it traps to the hypervisor",
        "arch_sys_counter" => {
            "the generic timer, which a vDSO doesn't read on processors where it has an erratum"
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
             host,migratable=off,+invtsc`) or the hypervisor's own clock."
        ),
        (_, None) => {
            "The kernel offers no clocksource that a vDSO can read; its log has the reason \
                      (`dmesg | grep -iE 'tsc|clocksource'`). Update the firmware first."
                .into()
        }
    }
}
