//! Mapping the pages that `vdso serve current` has pinned.
//!
//! With system calls of its own, since the library that is preloaded stands on no other.
#![allow(unsafe_code, reason = "system calls, and memory that they map")]

use crate::arch;
use crate::cpu_clocks::Clamps;
use crate::layout::{DIRECTORY, FLAG_RDPID, HEAD_NAME, Head, LAYOUT, LIVE, WORLD_NAME, slots_size};
use crate::reader::{Reader, SLOTS};
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

/// arch/x86/entry/syscalls/syscall_64.tbl.
mod number {
    pub(super) const CLOSE: usize = 3;
    pub(super) const MMAP: usize = 9;
    pub(super) const MUNMAP: usize = 11;
    pub(super) const GETUID: usize = 102;
    pub(super) const NEWFSTATAT: usize = 262;
    pub(super) const BPF: usize = 321;
}

impl Reader {
    /// Maps the pages of this process's real user, or those for everybody; `None` when there are
    /// none, or this process may not open them. The mapping lasts until the process ends or executes another
    /// program.
    ///
    /// # What is checked
    /// The directory belongs to root, and no other user can write it, so that its names are root's;
    /// the head has this layout version.
    #[must_use]
    pub fn open() -> Option<Self> {
        owned_by_root()?;
        let head = Map::open(HEAD_NAME)?;
        // SAFETY: getuid(2) takes no arguments and has no effects.
        let user = unsafe { arch::system_call(number::GETUID, [0; 6]) } as u32;
        let mut digits = [0; 10];
        let slots = Map::open(decimal(user, &mut digits)).or_else(|| Map::open(WORLD_NAME))?;
        let first = head.map(0, SLOTS)?;
        // SAFETY: the map was just mapped, readable, and a head is at its start: its publisher is root.
        let (layout, cpus) = unsafe {
            let head = first.as_ref();
            (
                head.layout.load(Ordering::Relaxed),
                head.cpus.load(Ordering::Relaxed),
            )
        };
        let size = SLOTS + slots_size(cpus as usize);
        unmap(first, SLOTS);
        if layout != LAYOUT || cpus > 1 << 12 {
            return None;
        }
        // One range of addresses for both, which nothing else takes meanwhile.
        let base = reserve(size)?;
        let address = base.addr().get();
        if head.map(address, SLOTS).is_none() || slots.map(address + SLOTS, size - SLOTS).is_none()
        {
            unmap(base, size);
            return None;
        }
        // SAFETY: (1) head and slots are mapped as `new` wants them, and never unmapped; (2) both maps
        // are frozen, so only BPF programs store into them, each field by one instruction.
        Some(unsafe { Self::new(base) })
    }
}

/// Pages of this process's own in which every CPU runs the thread `tid`, and a page of clamps in front of
/// them: for tests and benchmarks. Their clock counts ticks of the counter, and the last tick lies an hour or
/// more ahead. Never unmapped.
#[doc(hidden)]
#[must_use]
pub fn in_memory(tid: u32) -> Option<(NonNull<Clamps>, Reader)> {
    const CPUS: u32 = 1 << 12;
    const READ_WRITE: usize = 3;
    let size = size_of::<Clamps>() + SLOTS + slots_size(CPUS as usize);
    // SAFETY: the kernel chooses a place where nothing is mapped.
    let memory = unsafe { map(0, size, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX) }?;
    let memory = memory.cast::<Clamps>();
    // SAFETY: head and slots lie behind the first page, zeros at first, which are their values, and are never
    // unmapped.
    let reader = unsafe { Reader::new(memory.add(1).cast()) };
    let head = reader.head();
    head.layout.store(LAYOUT, Ordering::Relaxed);
    head.cpus.store(CPUS, Ordering::Relaxed);
    let flags = if arch::has_rdpid() { FLAG_RDPID } else { 0 };
    head.flags.store(flags, Ordering::Relaxed);
    head.mult.store(1, Ordering::Relaxed);
    let ahead = arch::counter().wrapping_add(1 << 44);
    head.heartbeat.store(ahead, Ordering::Relaxed);
    for slot in (0..CPUS).filter_map(|cpu| reader.slot(cpu)) {
        slot.tid.store(tid, Ordering::Relaxed);
        slot.pid.store(tid, Ordering::Relaxed);
        slot.parent_known.store(1, Ordering::Relaxed);
    }
    head.state.store(LIVE, Ordering::Relaxed);
    Some((memory, reader))
}

/// A path below the directory, as C has it.
struct Path([u8; 64]);

impl Path {
    fn new(name: &str) -> Option<Self> {
        let mut path = [0; 64];
        let parts = [DIRECTORY, "/", name].map(str::as_bytes);
        let parts = &parts[..if name.is_empty() { 1 } else { 3 }];
        let mut at = 0;
        for part in parts {
            path.get_mut(at..at + part.len())?.copy_from_slice(part);
            at += part.len();
        }
        // A zero is behind it.
        (at < path.len()).then_some(Self(path))
    }

    fn address(&self) -> usize {
        self.0.as_ptr().expose_provenance()
    }
}

/// A number's digits.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            break;
        }
    }
    core::str::from_utf8(&digits[at..]).unwrap_or_default()
}

/// `None` unless the directory is root's and only root can write it.
fn owned_by_root() -> Option<()> {
    const AT_FDCWD: usize = -100_isize as usize;
    const AT_SYMLINK_NOFOLLOW: usize = 0x100;
    // Words of `struct stat` (arch/x86/include/uapi/asm/stat.h): st_mode and st_uid are bytes 24 to
    // 31.
    const MODE_AND_USER: usize = 3;
    const KIND: u32 = 0o170_000;
    const DIRECTORY_KIND: u32 = 0o040_000;
    const OTHERS_WRITE: u32 = 0o022;
    let path = Path::new("")?;
    let mut status = [0_u64; 18];
    let address = status.as_mut_ptr().expose_provenance();
    // SAFETY: (1) the path ends in a zero; (2) `struct stat` has 144 bytes, which there are; (3) both
    // live until the call returns.
    let result = unsafe {
        arch::system_call(
            number::NEWFSTATAT,
            [AT_FDCWD, path.address(), address, AT_SYMLINK_NOFOLLOW, 0, 0],
        )
    };
    let mode = status[MODE_AND_USER] as u32;
    let user = (status[MODE_AND_USER] >> 32) as u32;
    let trusted = mode & KIND == DIRECTORY_KIND && mode & OTHERS_WRITE == 0 && user == 0;
    (result == 0 && trusted).then_some(())
}

/// A BPF map's descriptor.
struct Map(usize);

impl Map {
    /// Opens a pinned map. Not for reading only: Linux takes `VM_SHARED` from a mapping of such a
    /// descriptor, and `bpf_map_mmap` wants it (6.12); the map is frozen.
    fn open(name: &str) -> Option<Self> {
        const OBJ_GET: usize = 7;
        let path = Path::new(name)?;
        // struct { __aligned_u64 pathname; __u32 bpf_fd; __u32 file_flags; }
        let attribute = [path.address() as u64, 0];
        let address = attribute.as_ptr().expose_provenance();
        // SAFETY: the structure is the command's; path and structure live until the call returns.
        let fd = unsafe {
            arch::system_call(
                number::BPF,
                [OBJ_GET, address, size_of_val(&attribute), 0, 0, 0],
            )
        };
        usize::try_from(fd).ok().map(Self)
    }

    /// Maps the first bytes, readable: at an address that was reserved, or anywhere for 0.
    fn map(&self, at: usize, size: usize) -> Option<NonNull<Head>> {
        const FIXED: usize = 0x10;
        let shared = 0x1 | if at == 0 { 0 } else { FIXED };
        // SAFETY: the kernel chooses a place where nothing is mapped, or `at` was reserved for this.
        unsafe { map(at, size, 1, shared, self.0) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: nothing else has the descriptor.
        let _ = unsafe { arch::system_call(number::CLOSE, [self.0, 0, 0, 0, 0, 0]) };
    }
}

/// mmap(2).
///
/// # Safety
/// Nothing is mapped there that is in use.
unsafe fn map(
    at: usize,
    size: usize,
    access: usize,
    flags: usize,
    fd: usize,
) -> Option<NonNull<Head>> {
    // SAFETY: the caller vouches for the place.
    let address = unsafe { arch::system_call(number::MMAP, [at, size, access, flags, fd, 0]) };
    let address = usize::try_from(address).ok()?;
    NonNull::new(core::ptr::with_exposed_provenance_mut(address))
}

/// Flags of mmap(2).
const PRIVATE_ANONYMOUS: usize = 0x22;

/// Keeps a range of addresses that nothing can be read at.
fn reserve(size: usize) -> Option<NonNull<Head>> {
    // SAFETY: the kernel chooses a place where nothing is mapped.
    unsafe { map(0, size, 0, PRIVATE_ANONYMOUS, usize::MAX) }
}

fn unmap(base: NonNull<Head>, size: usize) {
    // SAFETY: it was mapped by this module, and no reader was made of it.
    let _ = unsafe { arch::system_call(number::MUNMAP, [base.addr().get(), size, 0, 0, 0, 0]) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_directories_have_them() {
        for (number, text) in [(0, "0"), (1000, "1000"), (u32::MAX, "4294967295")] {
            assert_eq!(decimal(number, &mut [0; 10]), text);
        }
    }

    #[test]
    fn a_path_ends_in_a_zero() {
        let path = Path::new("1000").unwrap();
        assert!(path.0.starts_with(b"/sys/fs/bpf/current/1000\0"));
        assert!(
            Path::new("")
                .unwrap()
                .0
                .starts_with(b"/sys/fs/bpf/current\0")
        );
        assert!(Path::new(core::str::from_utf8(&[b'x'; 64]).unwrap()).is_none());
    }
}
