//! What the lab checks: one table.

use crate::{Error, Workshop, debian};
use std::path::PathBuf;

/// One check: a command that succeeds inside a guest.
#[derive(Debug)]
pub struct Check {
    /// Its name, unique in the table: words parted by dashes.
    pub name: &'static str,
    /// What it shows, for whoever reads the list.
    pub why: &'static str,
    /// Program and arguments. Programs of [`needs`](Self::needs) and busybox's
    /// applets are in the guest's path; the working directory is an empty tmpfs.
    pub command: &'static [&'static str],
    /// What has to be in the guest.
    pub needs: &'static [Need],
    /// The kernels that it is for.
    pub kernels: &'static [Kernel],
    /// What the kernel's command line says beyond the lab's own words.
    pub command_line: &'static str,
    /// When it has taken too long, in seconds of emulated time.
    pub seconds: u64,
}

/// Something that the host puts into the guest.
#[derive(Debug)]
pub enum Need {
    /// A program of the workspace, as `/bin/NAME`.
    Program {
        /// Its package.
        package: &'static str,
        /// The program's name.
        name: &'static str,
    },
    /// An integration test of the workspace, as `/bin/NAME`. Mark its tests
    /// `#[ignore = "runs in the lab"]` and name one in the command:
    /// `&["NAME", "--ignored", "--exact", "the_test"]`. A run that did not
    /// execute exactly one test counts as failed, so a test that was renamed
    /// can't pass by not being there.
    Test {
        /// Its package.
        package: &'static str,
        /// The test's name, which is its file's.
        name: &'static str,
    },
    /// Any other file.
    File {
        /// Its absolute path in the guest.
        at: &'static str,
        /// Makes it, or finds it, on the host.
        make: fn(&Workshop) -> Result<PathBuf, Error>,
    },
}

/// A kernel that the lab can boot.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// What reports call it; also what `uname -r` begins with in the guest.
    pub name: &'static str,
    /// Finds or makes its bzImage.
    pub image: fn(&Workshop) -> Result<PathBuf, Error>,
}

/// The stock kernel of Debian 12.
pub const DEBIAN_6_1: Kernel = Kernel {
    name: "6.1",
    image: |workshop| debian::kernel(workshop, "6.1"),
};

/// The stock kernel of Debian 13, which Debian 12 has among its updates.
pub const DEBIAN_6_12: Kernel = Kernel {
    name: "6.12",
    image: |workshop| debian::kernel(workshop, "6.12"),
};

/// Both stock kernels.
pub const STOCK: &[Kernel] = &[DEBIAN_6_1, DEBIAN_6_12];

/// A shell command for rows that need no program.
macro_rules! shell {
    ($script:expr) => {
        &["sh", "-e", "-c", $script]
    };
}

/// The table.
pub const CHECKS: &[Check] = &[
    Check {
        name: "stock-kernel",
        why: "a stock kernel comes up with two CPUs, BTF and the file systems checks rely on",
        command: shell!(
            "uname -r; test $(grep -c ^processor /proc/cpuinfo) = 2; test -s \
             /sys/kernel/btf/vmlinux; for fs in proc sysfs devtmpfs tmpfs bpf securityfs tracefs; \
             do grep -q \" $fs \" /proc/mounts || { echo \"no $fs\"; exit 1; }; done"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "",
        seconds: 10,
    },
    Check {
        name: "rust-test",
        why: "a Rust test of the workspace runs inside, as root and as nobody's neighbour",
        command: &["guest", "--ignored", "--exact", "process_1_is_the_labs"],
        needs: &[Need::Test {
            package: "vdsokit-lab",
            name: "guest",
        }],
        kernels: STOCK,
        command_line: "",
        seconds: 20,
    },
    Check {
        name: "clocksource-hpet",
        why: "the command line chooses the clocksource: a kernel whose vDSO is slow",
        command: shell!(
            "cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource; grep -qx \
             hpet current_clocksource"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "clocksource=hpet",
        seconds: 10,
    },
    Check {
        name: "clocksource-acpi-pm",
        why: "the slowest clocksource there is",
        command: shell!(
            "cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource; grep -qx \
             acpi_pm current_clocksource"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "clocksource=acpi_pm",
        seconds: 10,
    },
    Check {
        name: "clocksource-tsc",
        why: "a kernel that trusts its TSC under emulation: the vDSO is fast",
        command: shell!(
            "cd /sys/devices/system/clocksource/clocksource0; cat current_clocksource; grep -qx \
             tsc current_clocksource"
        ),
        needs: &[],
        kernels: STOCK,
        command_line: "tsc=reliable",
        seconds: 10,
    },
];

/// The rows with these names, or all when none is given.
///
/// # Errors
/// The first name that no row has.
pub fn named(names: &[String]) -> Result<Vec<&'static Check>, &str> {
    if names.is_empty() {
        return Ok(CHECKS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let row = CHECKS.iter().find(|check| check.name == *name);
            row.ok_or(name.as_str())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_into_a_plan() {
        for (at, check) in CHECKS.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(check.name.chars().all(plain), "{}", check.name);
            assert!(!check.command.is_empty() && !check.kernels.is_empty());
            for word in check.command {
                assert!(!word.contains(['\t', '\n']), "{}: {word}", check.name);
            }
            let earlier = &CHECKS[..at];
            assert!(earlier.iter().all(|other| other.name != check.name));
        }
    }

    #[test]
    fn a_name_that_no_row_has_is_said() {
        assert_eq!(named(&["nonsense".into()]).unwrap_err(), "nonsense");
        assert_eq!(named(&[]).unwrap().len(), CHECKS.len());
    }
}
