//! Whatever ends the programs, readers find the pages retired before, and ask the kernel.

use super::tasks::{Counts, cpus, fork, shared, until, wait};
use super::{Published, kernel, reader, until_known};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use vdsokit_bpf::current::{Audience, Current};
use vdsokit_bpf::sys;
use vdsokit_current::{DIRECTORY, Hint, LIVE, RETIRED, Reader};

/// Lets tasks of two processes read on all CPUs while `end` ends the programs, and asserts that none is wrong
/// then or after.
fn while_tasks_read(end: impl FnOnce()) {
    #[derive(Default)]
    struct Shared {
        stop: AtomicBool,
        counts: Counts,
    }
    let shared: &'static Shared = shared();
    let reader = reader();
    until_known(reader);
    let readers = || {
        std::thread::scope(|scope| {
            for _ in 0..2 * cpus() {
                scope.spawn(|| {
                    while !shared.stop.load(Ordering::Relaxed) {
                        shared.counts.many_ids(reader, 100);
                        std::thread::yield_now();
                    }
                });
            }
        });
    };
    let workers = [fork(readers), fork(readers)];
    until(|| shared.counts.numbers()[0] > 10_000);
    assert_eq!(reader.head().state.load(Ordering::Acquire), LIVE);
    end();
    until(|| reader.head().state.load(Ordering::Acquire) == RETIRED);
    assert_eq!(reader.tid(&Hint::new()), None);
    // Frozen slots are wrong a moment later.
    let before = shared.counts.numbers()[0];
    until(|| shared.counts.numbers()[0] > before + 100_000);
    shared.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        assert!(wait(worker));
    }
    let [reads, unknown, wrong] = shared.counts.numbers();
    println!("{reads} reads, {unknown} unknown, {wrong} wrong");
    assert_eq!(wrong, 0);
    assert!(unknown > 0 && unknown < reads);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-retire"]
fn retiring_ends_reads_before_anything_is_detached() {
    let published = Published::for_everybody();
    while_tasks_read(|| drop(published));
    assert!(!Path::new(DIRECTORY).exists());
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-unmount"]
fn unmounting_the_bpf_file_system_retires_the_pages() {
    let _published = Published::for_everybody();
    while_tasks_read(|| unmount("/sys/fs/bpf", UnmountFlags::empty()).unwrap());
    mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None).unwrap();
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm current-unpin"]
fn removing_any_one_link_retires_the_pages() {
    let links = || {
        let entries = std::fs::read_dir(DIRECTORY).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut links: Vec<_> = paths
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .as_encoded_bytes()
                    .starts_with(b"link-")
            })
            .collect();
        links.sort();
        links
    };
    let first = Published::for_everybody();
    let all = links();
    drop(first);
    assert!(all.len() >= 6, "{all:?}");
    for link in all {
        let _published = Published::for_everybody();
        let reader = reader();
        assert_eq!(reader.head().state.load(Ordering::Acquire), LIVE);
        std::fs::remove_file(&link).unwrap();
        until(|| reader.head().state.load(Ordering::Acquire) == RETIRED);
        println!("{} removed: retired", link.display());
    }
}

/// Nothing is pinned: the kernel releases the links when the process that holds them dies.
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-killed"]
fn killing_a_publisher_that_has_pinned_nothing_retires_the_pages() {
    let ready: &AtomicBool = shared();
    // Head and slots stay, the links do not.
    let child = fork(|| {
        let mut current = Current::start(kernel(), &Audience::World).unwrap();
        current.pin(Path::new(DIRECTORY)).unwrap();
        for entry in std::fs::read_dir(DIRECTORY).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .as_encoded_bytes()
                .starts_with(b"link-")
            {
                std::fs::remove_file(path).unwrap();
            }
        }
        ready.store(true, Ordering::Relaxed);
        loop {
            std::thread::park();
        }
    });
    until(|| ready.load(Ordering::Relaxed));
    let _published = Published;
    while_tasks_read(|| {
        // SAFETY: the child that was started above.
        unsafe { libc::kill(child, libc::SIGKILL) };
        assert!(!wait(child));
    });
}

/// Killed, a publisher that has pinned everything leaves the kernel publishing.
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-goes-on"]
fn the_kernel_goes_on_without_the_publisher() {
    let child = fork(|| {
        let mut current = Current::start(kernel(), &Audience::World).unwrap();
        current.pin(Path::new(DIRECTORY)).unwrap();
        // SAFETY: it ends this process, without any destructor.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    });
    assert!(!wait(child));
    let _published = Published;
    let reader = reader();
    until_known(reader);
    assert_eq!(reader.tid(&Hint::new()), Some(super::tasks::tid()));
    // A second publisher is refused: slots are never filled by two.
    let second = Current::start(kernel(), &Audience::World)
        .unwrap()
        .pin(Path::new(DIRECTORY));
    assert!(second.is_err());
    assert_eq!(reader.head().state.load(Ordering::Acquire), LIVE);
}

/// `bpftool link detach`: no kernel so far lets links of these kinds be detached so.
#[test]
#[ignore = "runs in the lab: cargo xtask vm current-link-detach"]
fn another_process_can_t_detach_a_link() {
    let _published = Published::for_everybody();
    let reader = reader();
    let refused = sys::detach_links().unwrap();
    println!("{refused} links refused to be detached");
    assert!(refused >= 6);
    assert_eq!(reader.head().state.load(Ordering::Acquire), LIVE);
    assert!(Reader::open().is_some());
}
