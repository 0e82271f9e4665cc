//! Any user may read a pinned map. No process may write to it.

use super::*;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use vdsokit_bpf::{Error, open, retire};

const NOBODY: u32 = 65_534;

fn as_nobody(test: &str, directory: &Path) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--ignored", "--exact", test])
        .env("DIRECTORY", directory);
    child.uid(NOBODY).gid(NOBODY);
    child.status().unwrap().success()
}

/// Asserts that this process can map the pages for reading only, and can't make them writable.
fn cannot_write(mapping: &vdsokit_bpf::MappedPages) {
    let size = mapping.size();
    let both = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address of a new mapping, so none is replaced.
    let result = unsafe {
        mmap(
            std::ptr::null_mut(),
            size,
            both,
            MapFlags::SHARED,
            mapping.map(),
            0,
        )
    };
    assert_eq!(result.unwrap_err(), Errno::PERM);
    // SAFETY: the kernel chooses the address of a new mapping, so none is replaced.
    let base = unsafe {
        let read = ProtFlags::READ;
        mmap(
            std::ptr::null_mut(),
            size,
            read,
            MapFlags::SHARED,
            mapping.map(),
            0,
        )
    };
    // SAFETY: `base` is the mapping made above, which nothing else uses; a refused call leaves
    // its protection as it is.
    let result = unsafe {
        mprotect(
            base.unwrap(),
            size,
            MprotectFlags::READ | MprotectFlags::WRITE,
        )
    };
    assert_eq!(result.unwrap_err(), Errno::ACCESS);
}

#[test]
#[ignore = "run by another test"]
fn reads_as_nobody() {
    assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
    let directory = std::env::var_os("DIRECTORY").unwrap();
    let directory = Path::new(&directory);
    let mapping = open(directory).unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    next_tick(pages);
    assert!(load::<u64>(pages, 64) > 0);
    cannot_write(&mapping);
    assert!(retire(directory).is_err());
    assert_eq!(pages.header().state(), State::Live);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-readers"]
fn unprivileged_readers_read_and_cannot_write() {
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    assert_eq!(layout.add("forks", "forks", &[]), 64);
    let mut publisher = layout.start();
    let directory = Path::new("/sys/fs/bpf/readers");
    publisher.pin(directory).unwrap();
    assert!(as_nobody("access::reads_as_nobody", directory));
    // Nor can root, once the publisher has frozen the map.
    cannot_write(&publisher.mapping().unwrap());
    drop(publisher);
    retire(directory).unwrap();
}

#[test]
#[ignore = "run by another test"]
fn publishes_as_nobody() {
    let kernel = kernel();
    // /proc/kallsyms shows this user zeros instead of addresses.
    let hidden = kernel.resolve("nr_threads:i32", &Hook::Tick).unwrap_err();
    assert!(matches!(hidden, Error::HiddenSymbols { .. }), "{hidden}");
    let mut layout = Layout::new(kernel);
    layout.add("processes", "processes", &[]);
    let result = Publisher::start(kernel, &layout.image(), &layout.variables, Machine::THIS);
    let error = result.unwrap_err();
    println!("{error}");
    let text = error.to_string();
    assert!(matches!(error, Error::Denied { .. }));
    assert!(
        text.contains("CAP_BPF") && text.contains("CAP_PERFMON") && text.contains("kptr_restrict")
    );
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-privileges"]
fn missing_privileges_are_named() {
    std::fs::write("/proc/sys/kernel/kptr_restrict", "1").unwrap();
    assert!(as_nobody("access::publishes_as_nobody", Path::new("/")));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-lockdown"]
fn a_locked_down_kernel_is_named() {
    // BPF reads per-CPU variables without the helper that lockdown disables.
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    layout.add("processes", "processes", &[]);
    drop(layout.start());
    layout.add("forks", "forks", &[]);
    let result = Publisher::start(kernel, &layout.image(), &layout.variables, Machine::THIS);
    let error = result.unwrap_err();
    println!("{error}");
    assert!(error.to_string().contains("locked down (confidentiality)"));
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-drop"]
fn a_publisher_needs_no_privileges_once_it_runs() {
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    layout.add("processes", "processes", &[]);
    let publisher = layout.start();
    vdsokit_bpf::privileges::drop_all().unwrap();
    let mapping = publisher.mapping().unwrap();
    let pages = mapping.pages().unwrap();
    until_live(pages);
    next_tick(pages);
    assert_eq!(publisher.failures().unwrap()[0].1, 0);
    let result = Publisher::start(kernel, &layout.image(), &layout.variables, Machine::THIS);
    assert!(matches!(result.unwrap_err(), Error::Denied { .. }));
}
