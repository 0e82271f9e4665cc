//! The hypervisor's page about the CPU's counter: Linux's `/dev/vmclock0`.
//!
//! A live migration may change the counter's rate and value without warning, and so may a
//! restored snapshot. The hypervisor then writes another marker into a page that it shares with
//! the kernel and that the driver lets processes map (Linux 6.13,
//! `include/uapi/linux/vmclock-abi.h` and `drivers/ptp/ptp_vmclock.c`). The page may also have the
//! time; a publisher needs the marker alone, since it disciplines the counter to the kernel's
//! clocks.
#![allow(
    unsafe_code,
    reason = "this module reads a page that another machine's program writes, by atomics"
)]

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::param::page_size;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use vdsokit_vvar::mapping::{Access, MappedFile};

/// The device of the first such page; a machine has no second one.
pub(super) const DEVICE: &str = "/dev/vmclock0";

/// `VMCLOCK_MAGIC`, "VCLK".
const MAGIC: u32 = 0x4b4c_4356;
/// The version of the layout.
const VERSION: u16 = 1;
/// Bytes that every page has in use: up to the flags, as the driver requires
/// (`VMCLOCK_MIN_SIZE`).
const LEAST: u32 = 32;

/// The start of `struct vmclock_abi`. Its numbers are little-endian.
#[repr(C)]
struct Abi {
    magic: AtomicU32,
    size: AtomicU32,
    /// The version in the lower half; the counter's and the time's kinds above.
    version: AtomicU32,
    /// Odd while the hypervisor writes.
    sequence: AtomicU32,
    /// Another number after each disruption, and never the same again.
    marker: AtomicU64,
}

const _: () = assert!(core::mem::offset_of!(Abi, marker) == 16);

/// How often a marker is read again that was being written meanwhile. The hypervisor writes a few
/// words; one that takes longer has stopped while it wrote.
const TRIES: u32 = 1000;

/// The mapped page.
#[derive(Debug)]
pub(super) struct VmClock(MappedFile);

impl VmClock {
    /// Maps the page; `None` where there is no such file.
    ///
    /// # Errors
    /// When the file can't be opened or mapped, or has another layout.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The driver refuses mappings of another size, or that may be written.
        let clock = Self(MappedFile::new(&file, 0, page_size(), Access::Read)?);
        let abi = clock.abi();
        let load = |word: &AtomicU32| u32::from_le(word.load(Ordering::Relaxed));
        let is_known = load(&abi.magic) == MAGIC
            && load(&abi.size) >= LEAST
            && load(&abi.version) as u16 == VERSION;
        is_known.then_some(Some(clock)).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it has no layout of vmclock that is known here",
            )
        })
    }

    fn abi(&self) -> &Abi {
        // SAFETY: (1) the mapping is a page long and lives as long as `self`; (2) it is aligned to a
        // page; (3) all of it is read by atomics, so that the hypervisor may write meanwhile. The
        // device is a page of memory; a test's file has to be a page long.
        unsafe { self.0.base().cast().as_ref() }
    }

    /// The marker of disruptions; `None` while the hypervisor writes the page.
    pub(super) fn marker(&self) -> Option<u64> {
        let abi = self.abi();
        let sequence = || u32::from_le(abi.sequence.load(Ordering::Acquire));
        (0..TRIES).find_map(|_| {
            let before = sequence();
            let marker = u64::from_le(abi.marker.load(Ordering::Relaxed));
            // Orders the load of the marker before the second one of the sequence number, as
            // `virt_rmb()` does in the driver.
            fence(Ordering::Acquire);
            let is_whole = before % 2 == 0 && before == sequence();
            is_whole.then_some(marker)
        })
    }
}
