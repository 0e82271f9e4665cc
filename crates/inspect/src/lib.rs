//! Inspects vDSOs of any publisher: what is mapped where, what is served without a system call,
//! what it costs, and why it is slow.
//!
//! | module | contents |
//! | --- | --- |
//! | [`function`] | the functions of a vDSO, and the routes to them |
//! | [`call`] | a function by a route, ready to be called |
//! | [`probe`] | whether a call makes a system call |
//! | [`measure`] | the cost of calls |
//! | [`benchmark`], [`report`] | the cost of all functions by all routes, and a page that shows it |
//! | [`statistics`] | order statistics and histograms of samples |
//! | [`inspect`] | the images of a process or file, and their contents |
//! | [`process`] | the program and vDSO that a process was started with |
//! | [`doctor`] | why calls are slow on this machine, and the remedy |
//!
//! The crate only reads: it changes neither the machine nor another process. Child processes in
//! which it tests calls end with the call.

pub mod benchmark;
pub mod call;
pub mod doctor;
pub mod function;
pub mod inspect;
pub mod measure;
pub mod probe;
pub mod process;
pub mod report;
pub mod statistics;

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads `bytes` as each text about the machine and about a process.
#[cfg(fuzzing)]
pub fn exercise(bytes: &[u8]) {
    doctor::exercise(bytes);
    process::exercise(&String::from_utf8_lossy(bytes));
}

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
