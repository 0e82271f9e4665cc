//! Loading, pinning, retiring, and nothing left behind.

use super::*;
use std::path::Path;
use std::process::Command;
use vdsokit_bpf::{open, retire, sys};
use vdsokit_vvar::header::Condition;

fn system(kernel: &Kernel) -> Publisher {
    let mut layout = Layout::new(kernel);
    layout.add("forks", "forks", &[]);
    layout.add("release", "release", &[]);
    layout.start()
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-leak"]
fn loading_and_unloading_leaves_nothing_behind() {
    let kernel = kernel();
    let before = sys::objects().unwrap();
    let rounds: u32 = std::env::var("ROUNDS").map_or(20, |text| text.parse().unwrap());
    let start = Instant::now();
    for _ in 0..rounds {
        drop(system(kernel));
    }
    println!("{:?} a round", start.elapsed() / rounds);
    // The kernel frees unreferenced objects after an RCU grace period.
    until(|| sys::no_more_objects_than(before).unwrap());
}

#[test]
#[ignore = "run by another test"]
fn pins_and_exits() {
    let directory = std::env::var_os("DIRECTORY").unwrap();
    system(kernel()).pin(Path::new(&directory)).unwrap();
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-detach"]
fn the_kernel_goes_on_publishing_when_the_publisher_is_gone() {
    let before = sys::objects().unwrap();
    let directory = Path::new("/sys/fs/bpf/detached");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "life::pins_and_exits"])
        .env("DIRECTORY", directory)
        .status();
    assert!(child.unwrap().success());
    let mapping = open(directory).unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    next_tick(pages);
    next_tick(pages);
    assert_eq!(pages.header().state(), State::Live);
    // Taken twice, the place is refused.
    let error = system(kernel()).pin(directory).unwrap_err();
    assert!(matches!(error, vdsokit_bpf::Error::File { .. }), "{error}");

    retire(directory).unwrap();
    assert_eq!(pages.header().state(), State::Stopped);
    assert!(!directory.exists());
    assert!(retire(directory).is_err());
    drop(mapping);
    until(|| sys::no_more_objects_than(before).unwrap());
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-retire"]
fn a_publisher_that_retires_says_so() {
    let publisher = system(kernel());
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    publisher.retire().unwrap();
    assert_eq!(pages.header().state(), State::Stopped);
    // One that is only dropped falls silent, and readers find that out by the clock.
    let publisher = system(kernel());
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    drop(publisher);
    assert_eq!(pages.header().state(), State::Live);
    let late = pages.header().updated() + 60 * STALE;
    assert_eq!(pages.header().condition(0, || late), Condition::Stale);
}
