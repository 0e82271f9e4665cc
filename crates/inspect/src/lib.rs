//! Looking into vDSOs, whoever publishes them: what is mapped where, what is served without a
//! system call, what it costs, and why it is slow.
//!
//! | module | what it answers |
//! | --- | --- |
//! | [`function`] | what is asked of a vDSO, and by which routes |
//! | [`call`] | a function by a route, ready to be called |
//! | [`probe`] | does a call make a system call? |
//! | [`measure`] | what do calls cost? |
//! | [`benchmark`], [`report`] | what does everything cost, and how does that look? |
//! | [`statistics`] | what can be said of many samples? |
//! | [`inspect`] | what images are there, and what is in them? |
//! | [`process`] | what was a running process started with? |
//! | [`doctor`] | why is it slow here, and what is to be done? |
//!
//! The crate only looks: it changes neither the machine nor another process. Children that it
//! makes to try calls in end with the call.

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

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
