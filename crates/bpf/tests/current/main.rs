//! Facts about the running task beside what system calls say: runs in the lab.
//! The table of checks in tools/lab/src/checks/current.rs names each of these tests.
#![cfg(target_arch = "x86_64")]
#![allow(
    unsafe_code,
    reason = "the tests make tasks in every way that there is, most of which have no safe wrapper"
)]

mod detach;
mod figures;
mod orders;
mod tasks;
mod time;
mod torture;
mod users;

use std::path::Path;
use std::sync::OnceLock;
use vdsokit_bpf::Kernel;
use vdsokit_bpf::current::{Audience, Current, retire};
use vdsokit_current::{DIRECTORY, Hint, Reader};

/// The running kernel, looked at once: under emulation it takes seconds.
fn kernel() -> &'static Kernel {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get_or_init(|| Kernel::running().unwrap())
}

/// Publishes, and retires at the end.
struct Published;

impl Published {
    fn for_everybody() -> Self {
        Self::start(&Audience::World)
    }

    fn start(audience: &Audience) -> Self {
        // A test that was killed has left its own behind.
        if Path::new(DIRECTORY).exists() {
            retire(Path::new(DIRECTORY)).unwrap();
        }
        let mut current =
            Current::start(kernel(), audience).unwrap_or_else(|error| panic!("{error}"));
        current.pin(Path::new(DIRECTORY)).unwrap();
        // The pins keep it.
        drop(current);
        Self
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // A test may have ended it.
        let _ = retire(Path::new(DIRECTORY));
    }
}

fn reader() -> Reader {
    Reader::open().expect("pages are published")
}

/// Waits until this thread was switched in once, so that its slot is filled.
#[track_caller]
fn until_known(reader: Reader) {
    until_asleep(|| reader.tid(&Hint::new()).is_some(), reader);
}

/// As [`tasks::until`], for what takes this thread to be switched in or a tick: it sleeps in each turn.
#[track_caller]
fn until_asleep(mut is_so: impl FnMut() -> bool, reader: Reader) {
    const TURNS: u32 = 10_000;
    for _ in 0..TURNS {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let head = reader.head();
    let slots: Vec<_> = (0..u32::MAX).map_while(|cpu| reader.slot(cpu)).collect();
    panic!("not so after {TURNS} turns: {head:?}, {slots:?}");
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-facts"]
fn the_facts_are_those_of_system_calls() {
    let published = Published::for_everybody();
    let reader = reader();
    until_known(reader);
    assert_eq!(reader.tid(&Hint::new()), Some(tasks::tid()));
    assert_eq!(reader.pid(&Hint::new()), Some(tasks::pid()));
    tasks::until(|| reader.parent(&Hint::new()) == Some(tasks::parent()));
    drop(published);
    assert_eq!(reader.tid(&Hint::new()), None);
    assert!(Reader::open().is_none());
}
