//! The lab: stock Linux kernels, booted to run checks inside.
//!
//! Much of vdsokit can only be tried on a kernel that may be set up at will:
//! one whose clocksource is `hpet`, one that lets BPF programs be loaded, one
//! without BTF, one built an hour ago. The lab boots such a kernel under
//! QEMU without KVM, so that it runs wherever a process runs, whatever the guest's architecture,
//! hands it a file system in memory with our own statically linked programs,
//! and runs a list of [checks](mod@checks) in it.
//!
//! ```text
//! host                               guest
//! checks -> boots (kernel, command line, processor)
//!           programs -> initramfs -> lab-init, process 1
//!                       plan      ->   runs each check, one after the other
//!           reports   <- a port   <-   start, output, ok | failed, end
//!           console.log <- another <-  the kernel's own messages
//!                                      power off
//! ```
//!
//! # Words
//! - A **check** is a command that the guest runs; its exit status is the result.
//! - A **boot** is one start of one kernel with one command line on one processor. Checks that
//!   need the same boot share it: a boot costs about five seconds of emulation,
//!   most checks far less.
//! - The **plan** is the list of checks as the guest reads it.
//!
//! # Bounds
//! The guest ends a check that takes longer than its own bound, kills whatever
//! the check left running, and goes on with the next one. The host ends a guest
//! that sends no result for longer; the checks that it had not finished count as
//! failed. Neither bound is a measurement: they are there so that a hang ends.
//!
//! # Adding a check
//! A row in a table of the module [`checks`](mod@checks), nothing else. What it needs from the host (a
//! program or a test of this workspace, a file that a function makes) stands in the row.

mod architecture;
pub mod check;
pub mod checks;
pub mod cpio;
pub mod debian;
mod error;
mod machine;
pub mod own;
pub mod plan;
mod programs;
pub mod selftests;
pub mod table;
mod workshop;

pub use architecture::Architecture;
pub use check::{Check, Kernel, Need, Which};
pub use error::Error;
pub use workshop::Workshop;

use plan::Verdict;
use programs::Programs;
use std::path::PathBuf;
use std::time::Duration;

/// One check's result on one kernel.
#[derive(Debug)]
pub struct Report {
    /// The check's name, `@`, the kernel's name.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What it printed, standard error included.
    pub output: String,
}

/// Every check of one boot, and where to look for more.
#[derive(Debug)]
pub struct BootReport {
    /// The kernel's name and its command line.
    pub name: String,
    /// From the start of the emulator to the guest's first word.
    pub booted: Option<Duration>,
    /// In the order in which they ran.
    pub reports: Vec<Report>,
    /// Whether the guest sent no result for longer than a check and its end may take.
    pub hung: bool,
    /// What the kernel printed on its console.
    pub console: PathBuf,
}

impl BootReport {
    /// Whether the emulator, not the kernel or what is checked, ended the guest.
    ///
    /// The emulator runs each CPU in a thread of its own. While the kernel patches its text,
    /// as it does for every hook that is attached, a CPU now and then still meets the
    /// breakpoint that was there for it to wait at, when the kernel has already taken it out
    /// again and knows nothing of it: an oops `int3`. On a machine the kernel's own
    /// synchronisation keeps that from happening (arch/x86/kernel/alternative.c,
    /// `text_poke_bp_batch`), and nothing in this workspace makes a breakpoint.
    ///
    /// A guest that never says a word has not run any check: a 6.12 kernel was seen to hang when it
    /// switched its clocksource, once. A guest that hangs later has stopped as a whole, since its
    /// process 1 ends a check that takes too long: a 6.1 kernel was seen to, once, with both of its
    /// CPUs busy, in a check that passed in the next boot. A kernel that can't start, and one that a
    /// check hangs, fails every boot.
    fn emulator_failed(&self) -> bool {
        self.booted.is_none()
            || self.hung
            || std::fs::read_to_string(&self.console)
                .is_ok_and(|console| console.contains("int3: 0000 [#1]"))
    }
}

/// Checks that share a kernel, a command line and a processor.
#[derive(Debug, Clone)]
struct Boot<'table> {
    kernel: Kernel,
    command_line: &'table str,
    processor: check::Processor,
    checks: Vec<&'table Check>,
}

/// Sorts checks into as few boots as will do, in the order of the table.
fn boots<'table>(checks: &[&'table Check], which: Which<'_>) -> Vec<Boot<'table>> {
    let mut boots: Vec<Boot<'table>> = Vec::new();
    for &check in checks {
        for kernel in check.kernels(which) {
            let same = |boot: &&mut Boot<'table>| {
                boot.kernel.name == kernel.name
                    && boot.command_line == check.command_line
                    && boot.processor == check.processor
            };
            match boots.iter_mut().find(same) {
                Some(boot) => boot.checks.push(check),
                None => boots.push(Boot {
                    kernel,
                    command_line: check.command_line,
                    processor: check.processor,
                    checks: vec![check],
                }),
            }
        }
    }
    boots
}

/// Runs `checks`, each on those of its kernels that are meant, and hands each boot's
/// report to `each` as soon as it is there.
///
/// # Errors
/// When the lab itself can't be set up: no qemu, no kernel, a program that
/// doesn't build. A check that fails is a report, not an error.
pub fn run(
    workshop: &Workshop,
    checks: &[&Check],
    which: Which<'_>,
    mut each: impl FnMut(&BootReport),
) -> Result<(), Error> {
    let mut architectures: Vec<Architecture> = Vec::new();
    for kernel in checks.iter().flat_map(|check| check.kernels(which)) {
        if !architectures.contains(&kernel.architecture) {
            machine::find_emulator(kernel.architecture)?;
            architectures.push(kernel.architecture);
        }
    }
    // One run at a time in a checkout: they share its directory, and two
    // emulated machines are slower together than one after the other.
    let _lock = workshop.lock()?;
    let boots = boots(checks, which);
    for architecture in architectures {
        let mut of_architecture = boots.iter().collect::<Vec<_>>();
        of_architecture.retain(|boot| boot.kernel.architecture == architecture);
        let checks = of_architecture.iter().flat_map(|boot| &boot.checks);
        let programs =
            Programs::build(workshop, architecture, checks.flat_map(|check| check.needs))?;
        for boot in of_architecture {
            each(&boot_until_it_counts(workshop, boot, &programs)?);
        }
    }
    Ok(())
}

/// Boots again when the emulator failed, as often as the workshop allows.
fn boot_until_it_counts(
    workshop: &Workshop,
    boot: &Boot<'_>,
    programs: &Programs,
) -> Result<BootReport, Error> {
    let mut report = machine::boot(workshop, boot, programs)?;
    for _ in 1..workshop.boots {
        if !report.emulator_failed() {
            break;
        }
        eprintln!(
            "{}: the emulator lost a breakpoint, or the guest hung; booting again",
            report.name
        );
        for report in &report.reports {
            if let Verdict::Failed(reason) = &report.verdict {
                eprintln!("  {}: {reason}", report.name);
            }
        }
        report = machine::boot(workshop, boot, programs)?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn check(name: &'static str, command_line: &'static str) -> Check {
        Check {
            name,
            why: "",
            command: &["true"],
            needs: &[],
            kernels: &[check::DEBIAN_6_1, check::DEBIAN_6_12],
            command_line,
            processor: check::PROCESSOR,
            seconds: 1,
            rare: &[],
        }
    }

    #[test]
    fn only_a_lost_breakpoint_and_a_hung_guest_are_the_emulators_fault() {
        let directory = tempfile::tempdir().unwrap();
        let failed = |console: &str, booted, hung| {
            let file = directory.path().join("console.log");
            std::fs::write(&file, console).unwrap();
            let report = BootReport {
                name: String::new(),
                booted,
                reports: Vec::new(),
                hung,
                console: file,
            };
            report.emulator_failed()
        };
        let booted = Some(Duration::from_secs(2));
        let failed_with = |console| failed(console, booted, false);
        assert!(failed("", None, false));
        assert!(failed("", booted, true));
        assert!(failed_with(
            "[   22.9] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n"
        ));
        assert!(!failed_with(
            "[   22.9] BUG: unable to handle page fault\nOops: 0000 [#1]\n"
        ));
        assert!(!failed_with(""));
    }

    #[test]
    fn checks_with_the_same_kernel_and_command_line_share_a_boot() {
        let (one, two, three) = (check("one", ""), check("two", "quiet"), check("three", ""));
        let boots = boots(&[&one, &two, &three], Which::All);
        let shape: Vec<(&str, &str, Vec<&str>)> = boots
            .iter()
            .map(|boot| {
                let names = boot.checks.iter().map(|check| check.name).collect();
                (boot.kernel.name, boot.command_line, names)
            })
            .collect();
        assert_eq!(
            shape,
            [
                ("6.1", "", vec!["one", "three"]),
                ("6.12", "", vec!["one", "three"]),
                ("6.1", "quiet", vec!["two"]),
                ("6.12", "quiet", vec!["two"]),
            ]
        );
    }
}
