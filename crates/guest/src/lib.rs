//! A vDSO for your kernel.
//!
//! Programs read clocks hundreds of thousands of times a second. With a vDSO they do so without
//! entering the kernel: an *image*, a small ELF object that the kernel maps into every process, has
//! functions that read a *page*, which the kernel writes at each timer interrupt. C libraries, Go
//! and Rust programs made for Linux find it by themselves.
//!
//! This crate has all of it but the mapping, for kernels that run Linux programs, and for emulators
//! and unikernels:
//!
//! | | |
//! | --- | --- |
//! | [`Image`] | the bytes: Linux's functions for x86-64, i386, AArch64, 64-bit RISC-V and LoongArch |
//! | [`Plan`] | which pages to map where, with which rights; execute-only text |
//! | [`Publisher`] | the page, from what a timekeeper has ([`vdsokit_clock::Timekeeper`]) |
//! | [`Process`] | a page for each process: getpid and getppid without a system call |
//! | [`Head`], [`Slot`] | a slot for each CPU: the ids of the task that runs there, right through vfork |
//! | [`Variables`] | variables of your own, and functions that read them |
//! | [`Reseeds`] | random bytes without a system call |
//! | [`hypervisor`] | the counter's rate from KVM's and Hyper-V's pages |
//!
//! `no_std`, no allocation, no unsafe code, and nothing that panics.
//!
//! The format of the page is frozen and documented byte by byte in `docs/page-format.md`; how to
//! get from nothing to `clock_gettime` in a program in `docs/kernels.md`.
#![no_std]
#![forbid(unsafe_code)]

mod current;
pub mod hypervisor;
mod image;
mod page;
mod plan;
mod process;
mod publisher;
mod random;
mod variables;

pub use current::{Head, Running, SLOTS_IN_PAGE, Slot};
pub use image::Image;
pub use page::{Page, WORDS};
pub use plan::{AT_SYSINFO_EHDR, Contents, PageSizeError, Plan, PlannedPage, PlannedPages, Rights};
pub use process::{Facts, Process};
pub use publisher::{LAYOUT, Publisher, VARIABLES};
pub use random::Reseeds;
pub use variables::Variables;
pub use vdsokit_clock;

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Tests the code on the page for those who write a kernel.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/kernels.md")]
struct Kernels;
