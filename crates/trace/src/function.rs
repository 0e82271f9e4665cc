//! The functions of Linux's vDSO that can be wrapped.
//!
//! `__vdso_sgx_enter_enclave` can't: it has a calling convention of its own, in which it may return
//! with another stack (arch/x86/entry/vdso/vsgx.S).

/// How a function reports that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not in a way that is known.
    None,
    /// By a negative errno value as an `int`.
    Int,
    /// By a negative errno value as a `long`.
    Long,
}

/// An argument that points to what a function writes when it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its number, from 0.
    pub argument: u8,
    /// How many words of 32 bits are written there.
    pub words: u8,
}

/// A function of Linux's vDSO.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name, without `__vdso_`.
    pub name: &'static str,
    /// Its symbol in the kernel's vDSO.
    pub symbol: &'static str,
    /// The system call that has the same result. `None`: only the vDSO has such a function.
    pub number: Option<u32>,
    /// How it fails.
    pub failure: Failure,
    /// What it writes, at most two things.
    pub written: &'static [Written],
}

/// The version of all symbols (arch/x86/entry/vdso/vdso.lds.S).
pub const VERSION: &str = "LINUX_2.6";

/// What can be traced. Numbers are those of arch/x86/entry/syscalls/syscall_64.tbl.
pub const KNOWN: [Known; 6] = [
    Known {
        name: "clock_gettime",
        symbol: "__vdso_clock_gettime",
        number: Some(228),
        failure: Failure::Int,
        written: &[Written {
            argument: 1,
            words: 4,
        }],
    },
    Known {
        name: "gettimeofday",
        symbol: "__vdso_gettimeofday",
        number: Some(96),
        failure: Failure::Int,
        written: &[Written {
            argument: 0,
            words: 4,
        }],
    },
    Known {
        name: "time",
        symbol: "__vdso_time",
        number: Some(201),
        failure: Failure::None,
        written: &[],
    },
    Known {
        name: "clock_getres",
        symbol: "__vdso_clock_getres",
        number: Some(229),
        failure: Failure::Int,
        written: &[Written {
            argument: 1,
            words: 4,
        }],
    },
    Known {
        name: "getcpu",
        symbol: "__vdso_getcpu",
        number: Some(309),
        failure: Failure::Long,
        written: &[
            Written {
                argument: 0,
                words: 1,
            },
            Written {
                argument: 1,
                words: 1,
            },
        ],
    },
    Known {
        name: "getrandom",
        symbol: "__vdso_getrandom",
        number: None,
        failure: Failure::Long,
        written: &[],
    },
];

/// The function with this name, with or without `__vdso_`.
#[must_use]
pub fn known(name: &str) -> Option<&'static Known> {
    let plain = name.strip_prefix("__vdso_").unwrap_or(name);
    KNOWN.iter().find(|known| known.name == plain)
}
