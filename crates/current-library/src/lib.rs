//! `libcurrent.so.1`, built with this crate: `getpid`, `gettid`, `getppid` and the CPU-time
//! clocks of unchanged programs, without a system call where `vdso serve current` publishes.
//!
//! Its source is the module `library` of `vdsokit-current`.
#![cfg(target_arch = "x86_64")]

/// The library, an ELF shared object without dependencies.
pub const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libcurrent.so.1"));

/// Its name.
pub const SONAME: &str = "libcurrent.so.1";

/// The header for C programs that link with it.
pub const HEADER: &str = include_str!("../../current/include/vdso_current.h");
