//! What the lab checks: a table for each subject.

/// A command that runs one test of an integration test's file in a guest.
macro_rules! test {
    ($file:literal, $test:literal) => {
        &[$file, "--ignored", "--exact", "--nocapture", $test]
    };
}

/// A file of the host's, at the same place in the guest or at another.
macro_rules! host_file {
    ($path:literal) => {
        host_file!($path, $path)
    };
    ($at:literal, $path:literal) => {
        Need::File {
            at: $at,
            make: |_| Ok(std::path::PathBuf::from($path)),
        }
    };
}

/// A program in C or assembly of `tools/lab/tests/architectures`, linked statically.
macro_rules! static_program {
    ($architecture:ident, $at:expr, $name:literal, $source:literal $(, $option:literal)*) => {
        Need::File {
            at: $at,
            make: |workshop| {
                let source = std::path::Path::new(crate::checks::SOURCES).join($source);
                let options = ["-static", $($option),*].map(std::ffi::OsStr::new);
                let architecture = crate::Architecture::$architecture;
                crate::programs::compile_for(workshop, architecture, $name, &source, options)
            },
        }
    };
}

/// One of Linux's own tests of its vDSO, compiled for an architecture, at a place in the guest.
macro_rules! selftest {
    ($architecture:ident, $at:literal, $name:literal) => {
        Need::File {
            at: concat!($at, $name),
            make: |workshop| {
                let architecture = crate::Architecture::$architecture;
                crate::selftests::static_program(workshop, architecture, $name)
            },
        }
    };
}

mod arm;
mod clock;
mod current;
mod doctor;
mod guest;
mod publisher;
mod riscv;
mod served;

use crate::check::{Check, DEBIAN_6_1, DEBIAN_6_12, Need, PROCESSOR, STOCK};

/// Where the sources of programs for other architectures lie.
const SOURCES: &str = "tools/lab/tests/architectures";

/// The program itself.
const VDSO: Need = Need::Program {
    package: "vdsokit-cli",
    name: "vdso",
};

/// The C library and its loader, for programs of the host's and of Debian's packages.
const LOADER: Need = host_file!("/lib64/ld-linux-x86-64.so.2");
const LIBC: Need = host_file!("/lib/x86_64-linux-gnu/libc.so.6");
const LIBM: Need = host_file!("/lib/x86_64-linux-gnu/libm.so.6");

/// A row that needs nothing, on both stock kernels as they are. Its bound is long: emulation is slow.
const fn row(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        name,
        why,
        command,
        needs: &[],
        kernels: STOCK,
        rare: &[],
        command_line: "",
        processor: PROCESSOR,
        seconds: 180,
    }
}

/// The same row, of which an ordinary run has the newer kernel alone: what it shows is in code that no
/// difference between the two reaches. `--all` has both.
const fn on_the_newer(check: Check) -> Check {
    Check {
        kernels: &[DEBIAN_6_12],
        rare: &[DEBIAN_6_1],
        ..check
    }
}

/// The same row, of which an ordinary run has the older kernel alone. Its verifier leaves more checks in a
/// program, and fewer instructions boot it.
const fn on_the_older(check: Check) -> Check {
    Check {
        kernels: &[DEBIAN_6_1],
        rare: &[DEBIAN_6_12],
        ..check
    }
}

/// In the order in which they run.
const TABLES: [&[Check]; 8] = [
    guest::CHECKS,
    publisher::CHECKS,
    current::CHECKS,
    served::CHECKS,
    doctor::CHECKS,
    clock::CHECKS,
    arm::CHECKS,
    riscv::CHECKS,
];

/// Every check.
pub fn all() -> impl Iterator<Item = &'static Check> {
    TABLES.into_iter().flatten()
}

/// The checks with these names, or all when none is given.
///
/// # Errors
/// The first name that no check has.
pub fn named(names: &[String]) -> Result<Vec<&'static Check>, &str> {
    if names.is_empty() {
        return Ok(all().collect());
    }
    names
        .iter()
        .map(|name| {
            let row = all().find(|check| check.name == *name);
            row.ok_or(name.as_str())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Which;

    #[test]
    fn names_are_unique_and_fit_into_a_plan() {
        let all: Vec<&Check> = all().collect();
        for (at, check) in all.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(check.name.chars().all(plain), "{}", check.name);
            assert!(!check.command.is_empty() && check.kernels(Which::All).next().is_some());
            for word in check.command {
                assert!(!word.contains(['\t', '\n']), "{}: {word}", check.name);
            }
            let earlier = &all[..at];
            assert!(earlier.iter().all(|other| other.name != check.name));
        }
    }

    /// Two files can't be in one place.
    #[test]
    fn a_place_in_the_guest_is_one_files() {
        let needs = || all().flat_map(|check| check.needs);
        for need in needs() {
            let same = needs().filter(|other| other.at() == need.at());
            for other in same {
                assert_eq!(format!("{other:?}"), format!("{need:?}"));
            }
        }
    }

    #[test]
    fn a_name_that_no_row_has_is_said() {
        assert_eq!(named(&["nonsense".into()]).unwrap_err(), "nonsense");
        assert_eq!(named(&[]).unwrap().len(), all().count());
    }
}
