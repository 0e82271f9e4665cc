//! `libcurrent.so.1`, built with this crate: `getpid`, `gettid`, `getppid` and the CPU-time
//! clocks of unchanged programs, without a system call where `vdso serve current` publishes.
//!
//! Its source is the module `library` of `vdsokit-current`.
#![cfg(target_arch = "x86_64")]

/// The library, an ELF shared object without dependencies.
pub const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libcurrent.so.1"));

/// Its name.
pub const SONAME: &str = "libcurrent.so.1";

/// Its functions beside those of the C library, as a declaration of `vdsokit-build` describes them.
pub const DECLARATION: &str = include_str!("../../current/current.toml");

/// The header for C programs that link with it, as `vdso build` makes it of the declaration.
pub const HEADER: &str = include_str!("../../current/include/vdso_current.h");
