//! Why the TSC is not the clocksource of an x86, or slow although it is.
//!
//! The kernel drops it when the command line disables it, when its rate changes or it stops in deep
//! sleep, when the processors' counters disagree, or when the watchdog finds that it runs wrong
//! (Linux 6.12 `arch/x86/kernel/tsc.c`, `kernel/time/clocksource.c`,
//! `Documentation/admin-guide/kernel-parameters.txt`).

use super::facts::{Facts, Tsc};
use super::finding::{Cause, Finding};
use super::judge::{call_of_clock, is_direct};
use super::{has_word, log_says};
use crate::function::ClockId;

/// Why the TSC is not among the clocksources; nothing where it is, or there is none.
pub(super) fn why_not(facts: &Facts) -> Option<Finding> {
    let tsc = facts.tsc?;
    let clocksource = facts.clocksource.as_ref()?;
    if clocksource.available.iter().any(|name| name == "tsc") {
        return None;
    }
    let finding = disabled(facts)
        .or_else(|| unstable(facts))
        .or_else(|| changes(facts, tsc))
        .unwrap_or_else(|| {
            let finding = Finding::note(
                Cause::TscMissing,
                "The kernel does not offer the TSC as a clocksource, and the reason is \
                 unknown.",
            );
            match facts.log {
                Some(_) => finding.advise(
                    "Its log no longer has lines about the TSC: read it soon after the next boot.",
                ),
                None => finding.advise(
                    "This user may not read its log, which may have the reason: as root, `dmesg | grep -iE \
                     'tsc|clocksource'`.",
                ),
            }
        });
    Some(finding)
}

fn disabled(facts: &Facts) -> Option<Finding> {
    let word = ["notsc", "tsc=unstable"]
        .into_iter()
        .find(|word| has_word(facts, word))?;
    Some(
        Finding::note(
            Cause::TscDisabled,
            format!("The TSC is no clocksource: the kernel's command line has `{word}`."),
        )
        .advise(format!(
            "Remove `{word}` from the kernel's command line and reboot."
        )),
    )
}

fn unstable(facts: &Facts) -> Option<Finding> {
    let line = log_says(facts, "Marking TSC unstable")
        .or_else(|| log_says(facts, "Marking clocksource 'tsc' as unstable"))
        .or_else(|| log_says(facts, "Marking clocksource 'tsc-early' as unstable"))?;
    let advice = if facts.hypervisor.is_some() {
        "The machine is virtual: its hypervisor must give all processors one invariant TSC (QEMU: \
         `-cpu host,migratable=off,+invtsc`) and not starve them. If you know that the TSC is \
         sound, boot with `tsc=reliable`."
    } else {
        "Update the firmware: firmware often leaves the processors' counters unsynchronised. If you know that the \
         TSC is sound, boot with `tsc=reliable`, which switches the watchdog off."
    };
    Some(
        Finding::note(
            Cause::TscUnstable,
            format!("The kernel has marked the TSC as unstable. Its log: \"{line}\"."),
        )
        .advise(advice),
    )
}

fn changes(facts: &Facts, tsc: Tsc) -> Option<Finding> {
    if tsc.constant && tsc.nonstop {
        return None;
    }
    let how = if tsc.constant {
        "stops in deep sleep (no nonstop_tsc in /proc/cpuinfo)"
    } else {
        "has no constant rate (no constant_tsc in /proc/cpuinfo)"
    };
    let advice = match &facts.hypervisor {
        Some(hypervisor) => format!(
            "The machine is virtual ({hypervisor}), and its hypervisor does not offer an \
             invariant TSC. QEMU: `-cpu host,migratable=off,+invtsc`."
        ),
        None => "Processors since about 2008 have an invariant TSC: this is an older one, or its \
                 firmware hides it."
            .into(),
    };
    Some(
        Finding::note(
            Cause::TscNotInvariant,
            format!("The TSC is no clocksource: according to the kernel it {how}."),
        )
        .advise(advice),
    )
}

/// A trap to the hypervisor costs about a microsecond; the rest of the vDSO's function costs a few
/// nanoseconds.
const INTERCEPTED_NS: f64 = 300.0;
const INTERCEPTED_RATIO: f64 = 10.0;

/// Whether reading the TSC is a trap: a clock that reads it then costs far more than one that
/// does not, though neither makes a system call.
pub(super) fn intercepted(facts: &Facts) -> Option<Finding> {
    facts.tsc?;
    let fine =
        call_of_clock(facts, ClockId::Monotonic).filter(|call| is_direct(call) == Some(true))?;
    let coarse = call_of_clock(facts, ClockId::MonotonicCoarse)?;
    let (fine, coarse) = (fine.vdso_ns?, coarse.vdso_ns?);
    if fine < INTERCEPTED_NS || fine < INTERCEPTED_RATIO * coarse {
        return None;
    }
    let monitor = facts.hypervisor.as_deref().unwrap_or("the hypervisor");
    Some(
        Finding::slow(
            Cause::TscIntercepted,
            format!(
                "The clocks make no system call, yet one that reads the TSC costs {fine:.0} ns \
                 and one that doesn't {coarse:.0} ns: {monitor} seems to intercept reads of the TSC."
            ),
        )
        .advise(
            "This happens after a migration to a host whose TSC has another rate, and with \
             emulated TSCs: use a host with TSC scaling, or restart the virtual machine on this \
             host.",
        ),
    )
}
