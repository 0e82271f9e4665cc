//! 32-bit programs on x86-64 kernels.
//!
//! Their vDSO is i386's, and its pages stay where they are: the kernel returns from `sysenter` into it
//! (arch/x86/entry/common.c, `int80_landing_pad`), handlers of signals return through it, and
//! AT_SYSINFO leads to `__kernel_vsyscall` there. So the object is mapped beside it. In the process's
//! own copy of its pages, the symbols of the functions that tell time are led to jumps to the
//! object's. The jumps lie in the zeros behind the image's contents, and the image's segment is made
//! to include them, since readers check that a symbol lies within it (rustix, `Vdso::sym`). No
//! instruction of the kernel's is changed, so the object calls the kernel's functions where they are.
//!
//! The thread runs the same code as a 64-bit program's: what decides how a CPU executes is the
//! code selector, which a tracer may set (arch/x86/kernel/ptrace.c, `set_segment_reg`), and
//! `syscall` in 64-bit code is x86-64's call in any process.

use std::fs::{self, File};
use std::io;

use vdsokit_elf::Image;
use vdsokit_elf::constants::DT_SYMTAB;

use crate::arch::{self, number};
use crate::error::Unserved;
use crate::kernel::{self, KernelVdso};
use crate::memory::Memory;
use crate::object::{Object, PAGE};
use crate::proc;
use crate::sys::{self, Pid};
use crate::visit::{Caller, Failure, StubError, Visit};

/// The functions that tell time. What the kernel's others return is not changed by an object.
const TIME: [&str; 4] = [
    "__vdso_clock_gettime",
    "__vdso_clock_gettime64",
    "__vdso_gettimeofday",
    "__vdso_time",
];

/// Bytes of a [`jump`].
const JUMP: usize = 16;

/// An object for 32-bit programs, and the kernel's vDSO for them.
#[derive(Debug)]
pub(crate) struct Target {
    object: Object,
    kernel: Option<Kernel>,
}

/// The kernel's vDSO for 32-bit programs, which is the same in each of them but for its address.
#[derive(Debug)]
struct Kernel {
    vdso: KernelVdso,
    redirects: Vec<Redirect>,
    /// The program header of its segment, in bytes from the image's start.
    header: usize,
    /// The size of that segment once it includes the jumps.
    size: u32,
}

/// A symbol to be led to a function of the object. Places are in bytes from the start of the
/// kernel's image.
#[derive(Debug, PartialEq, Eq)]
struct Redirect {
    /// Of the symbol's entry.
    symbol: usize,
    /// Of the jump.
    jump: usize,
    /// The address of the jump, before the load bias is added.
    value: u32,
    /// The function, in bytes from the object's start.
    function: u64,
}

impl Target {
    pub(crate) fn new(object: Object) -> Target {
        Target {
            object,
            kernel: None,
        }
    }

    /// The files that programs map.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.object.files()
    }

    /// Reads the kernel's vDSO, which is at `address` in `pid`, unless it is known.
    pub(crate) fn read_kernel(
        &mut self,
        pid: Pid,
        memory: &Memory,
        address: u64,
    ) -> Result<(), Failure> {
        if self.kernel.is_none() {
            self.object.keep().map_err(io::Error::other)?;
            let mut vdso = KernelVdso::read(pid, memory, address)?;
            vdso.resolve(&self.object.links);
            let kernel = Kernel::new(vdso, address, &self.object);
            self.kernel = Some(kernel.ok_or(Unserved::NoRoom)?);
        }
        Ok(())
    }

    /// Where the kernel's vDSO has room for the code of a guest, behind the jumps, in bytes from the
    /// image's start. `None` also where more than one write would lead the symbols to the object.
    pub(crate) fn spare(&self) -> Option<u64> {
        let kernel = self.kernel.as_ref()?;
        let jumps = kernel.redirects.len() * JUMP;
        let spare = kernel.vdso.spare(jumps + arch::guest::length())?;
        let is_in_first_page = |end: usize| end <= PAGE as usize;
        let mut symbols = kernel.redirects.iter().map(|redirect| redirect.symbol);
        let is_one_write = is_in_first_page(kernel.header + HEADER_MEMORY_SIZE + 4)
            && symbols.all(|symbol| is_in_first_page(symbol + SYMBOL));
        is_one_write.then_some(spare + jumps as u64)
    }

    /// Maps the object, and then leads the symbols of the kernel's vDSO at `home` to it: after each call
    /// and each write the program can begin. On an error the process is as it was; if undoing fails too,
    /// it is ended.
    ///
    /// The image is written by pages, the first one last. It has the symbols, and the jumps are behind
    /// them. A tracer that is killed has written a page or not (fs/proc/base.c, `mem_rw`).
    pub(crate) fn install(&self, caller: &mut impl Caller, home: u64) -> Result<(), Failure> {
        let Some(kernel) = &self.kernel else {
            return Err(Unserved::NoVdso.into());
        };
        let address = self.map(caller, kernel, home)?;
        let page = PAGE as usize;
        let before = kernel.vdso.bytes();
        let after = kernel.redirected(home, address);
        let changed = (0..before.len()).step_by(page).filter(|&at| {
            let end = before.len().min(at + page);
            before[at..end] != after[at..end]
        });
        let changed: Vec<usize> = changed.collect();
        let write = |at: usize, bytes: &[u8]| {
            let end = bytes.len().min(at + page);
            caller.memory().write(home + at as u64, &bytes[at..end])
        };
        let outcome = changed.iter().rev().try_for_each(|&at| write(at, &after));
        let Err(error) = outcome else {
            return Ok(());
        };
        let restored = changed.iter().try_for_each(|&at| write(at, before));
        let length = self.object.length();
        let unmapped = caller.call(number::MUNMAP, [address, length, 0, 0, 0, 0]);
        if restored.is_err() || unmapped.is_err() {
            sys::kill(caller.pid());
            return Err(Failure::Ended);
        }
        Err(error.into())
    }

    /// The same by the stub, as one change.
    pub(crate) fn put(&self, visit: &mut Visit) -> Result<(), Failure> {
        let Some(kernel) = &self.kernel else {
            return Err(Unserved::NoVdso.into());
        };
        let home = visit.home;
        visit.memory.write(home, arch::stub())?;
        let outcome = self.map(visit, kernel, home);
        let bytes = match outcome {
            Ok(address) => kernel.redirected(home, address),
            Err(_) => kernel.vdso.bytes().to_vec(),
        };
        if visit.memory.write(home, &bytes).is_err() || matches!(outcome, Err(Failure::Ended)) {
            sys::kill(visit.pid);
            return Err(Failure::Ended);
        }
        outcome.map(drop)
    }

    /// Maps the object and fills its links to the kernel's vDSO at `home`. Returns its address.
    fn map(&self, caller: &mut impl Caller, kernel: &Kernel, home: u64) -> Result<u64, Failure> {
        let length = self.object.length();
        let address = match self.object.address() {
            Some(address) => address,
            None => {
                let maps = fs::read_to_string(format!("/proc/{}/maps", caller.pid()))?;
                let no_room = || io::Error::from_raw_os_error(libc::ENOMEM);
                free_address(&maps, length).ok_or_else(|| Unserved::Map(no_room()))?
            }
        };
        let address = caller.map(&self.object.places_at(address))?;
        let functions = kernel.vdso.functions(home);
        for (word, value) in self.object.linked(address, functions) {
            let Err(error) = caller.memory().write_word(word, value) else {
                continue;
            };
            return match caller.call(number::MUNMAP, [address, length, 0, 0, 0, 0]) {
                Ok(_) => Err(error.into()),
                Err(StubError::Refused(_) | StubError::Failure(_)) => Err(Failure::Ended),
            };
        }
        Ok(address)
    }
}

impl Kernel {
    /// `None`: there is no room for the jumps, or the image is not of the shape that Linux gives it.
    fn new(vdso: KernelVdso, address: u64, object: &Object) -> Option<Kernel> {
        let image = Image::parse_memory(vdso.bytes(), address).ok()?;
        let offset = |vaddr: u64| Some(image.locate(vaddr).checked_sub(address)? as usize);
        let symbols = offset(image.dynamic_value(DT_SYMTAB)?)?;
        let (index, load) = image
            .segments()
            .enumerate()
            .find(|(_, segment)| segment.is_load())?;
        let redirected = image
            .symbols()
            .filter(|symbol| symbol.is_export())
            .filter_map(|symbol| {
                let name = symbol.name().to_str()?;
                let function = object.function(TIME.iter().find(|time| **time == name)?)?;
                Some((symbol.index as usize, function))
            });
        let redirected: Vec<_> = redirected.collect();
        let length = redirected.len() * JUMP;
        let spare = vdso.spare(length)?;
        let redirects =
            (spare as usize..)
                .step_by(JUMP)
                .zip(redirected)
                .map(|(jump, (index, function))| Redirect {
                    symbol: symbols + index * SYMBOL,
                    jump,
                    value: (load.vaddr + (jump as u64 - load.offset)) as u32,
                    function,
                });
        let header = image.header();
        Some(Kernel {
            redirects: redirects.collect(),
            header: header.phoff as usize + index * usize::from(header.phentsize),
            size: (spare + length as u64 - load.offset) as u32,
            vdso,
        })
    }

    /// The image's bytes at `home` with its symbols led to the object at `address`.
    fn redirected(&self, home: u64, address: u64) -> Vec<u8> {
        let mut bytes = self.vdso.bytes().to_vec();
        let mut write = |at: usize, new: &[u8]| bytes[at..at + new.len()].copy_from_slice(new);
        for redirect in &self.redirects {
            let from = home + redirect.jump as u64;
            write(redirect.jump, &jump(from, address + redirect.function));
            write(
                redirect.symbol + SYMBOL_VALUE,
                &redirect.value.to_le_bytes(),
            );
        }
        for field in [HEADER_FILE_SIZE, HEADER_MEMORY_SIZE] {
            write(self.header + field, &self.size.to_le_bytes());
        }
        bytes
    }
}

/// The size of a symbol and the place of its `st_value`; the places of `p_filesz` and `p_memsz` in a
/// program header (elf(5), the structures of 32 bits).
const SYMBOL: usize = 16;
const SYMBOL_VALUE: usize = 4;
const HEADER_FILE_SIZE: usize = 16;
const HEADER_MEMORY_SIZE: usize = 20;

/// The instruction at `from` that jumps to `to`, and what fills it up. Addresses of 32 bits wrap.
fn jump(from: u64, to: u64) -> [u8; JUMP] {
    let mut code = [0xcc; JUMP];
    let distance = (to as u32).wrapping_sub((from as u32).wrapping_add(5));
    code[0] = 0xe9;
    code[1..5].copy_from_slice(&distance.to_le_bytes());
    code
}

/// Where `length` bytes of address space are free below the kernel's vDSO, by the lines of
/// `/proc/PID/maps`. The kernel can't be left to choose: for a call of 64 bits it looks beyond what
/// a 32-bit program can address (arch/x86/kernel/sys_x86_64.c, `get_mmap_base`).
fn free_address(maps: &str, length: u64) -> Option<u64> {
    /// Nothing grows into this distance from the kernel's pages by accident.
    const DISTANCE: u64 = 0x10000;
    /// The default of `vm.mmap_min_addr`.
    const LOWEST: u64 = 0x10000;
    let mut end = kernel::mappings(maps)?
        .first()?
        .start
        .checked_sub(DISTANCE)?;
    loop {
        let start = end.checked_sub(length).filter(|&start| start >= LOWEST)?;
        let overlaps = |range: &std::ops::Range<u64>| range.start < end && start < range.end;
        match proc::ranges(maps).find(overlaps) {
            Some(range) => end = range.start,
            None => return Some(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_overlaps_no_mapping() {
        let maps = "08048000-08049000 r-xp 00000000 00:00 0      /program\n\
                    f7f00000-f7fd0000 rw-p 00000000 00:00 0\n\
                    f7fe0000-f7fe4000 r--p 00000000 00:00 0      [vvar]\n\
                    f7fe4000-f7fe6000 r-xp 00000000 00:00 0      [vdso]\n";
        // The mapping of the second line leaves no room at the preferred distance.
        assert_eq!(free_address(maps, 0x3000), Some(0xf7ef_d000));
        let free = maps.replace("f7fd0000", "f7f10000");
        assert_eq!(free_address(&free, 0x3000), Some(0xf7fc_d000));
        let full = maps.replace("08048000-08049000", "00001000-f7f00000");
        assert_eq!(free_address(&full, 0x3000), None);
    }

    #[test]
    fn jumps_reach_both_ways_around_the_address_space() {
        assert_eq!(jump(0x1000, 0x1005)[..5], [0xe9, 0, 0, 0, 0]);
        assert_eq!(
            jump(0xf000_0000, 0x1000)[1..5],
            0x1000_0ffb_u32.to_le_bytes()
        );
    }
}
