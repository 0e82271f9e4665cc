//! The kernel's own vDSO: its place in a process, and the functions that links name.

use std::fs;
use std::io;
use std::ops::Range;

use vdsokit_elf::{Image, Kind, Symbol};

use crate::link::Link;
use crate::memory::Memory;
use crate::object::Function;
use crate::sys::Pid;

/// The kernel's vDSO, which is the same in every 64-bit process of one boot but for its address
/// (arch/x86/entry/vdso/vma.c, `vdso64_image`). It is read once, in a process where the kernel
/// mapped it: that of this process may have been replaced.
#[derive(Debug)]
pub(crate) struct KernelVdso {
    bytes: Vec<u8>,
    /// The first byte behind the image's contents, in bytes from its start.
    spare: usize,
    exports: Vec<Function>,
    /// For each link its function, in bytes from the image's start.
    functions: Vec<Option<u64>>,
}

impl KernelVdso {
    /// Reads the vDSO of `pid` at `address`.
    pub(crate) fn read(pid: Pid, memory: &Memory, address: u64) -> io::Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mappings = mappings(&maps).unwrap_or_default();
        let Some(vdso) = mappings.last() else {
            return Err(io::Error::other("the kernel's vDSO is not mapped"));
        };
        if vdso.start != address {
            return Err(io::Error::other(
                "AT_SYSINFO_EHDR is not where the kernel's vDSO is mapped",
            ));
        }
        let mut bytes = vec![0; (vdso.end - vdso.start) as usize];
        memory.read_exact(address, &mut bytes)?;
        let image = Image::parse_memory(&bytes, address)
            .map_err(|error| io::Error::other(format!("the kernel's vDSO: {error}")))?;
        let functions = image
            .symbols()
            .filter(|symbol| symbol.is_export() && symbol.kind != Kind::Object);
        let function = |symbol: Symbol<'_>| {
            Some(Function {
                name: symbol.name().to_str()?.to_owned(),
                version: match symbol.version {
                    Some(version) => Some(version.name().to_str()?.to_owned()),
                    None => None,
                },
                distance: image.address_of(&symbol) - address,
                size: symbol.size,
            })
        };
        let exports = functions.filter_map(function).collect();
        let spare = spare(&bytes, loaded(&image));
        Ok(KernelVdso {
            spare,
            exports,
            functions: Vec::new(),
            bytes,
        })
    }

    /// The functions that it exports.
    pub(crate) fn exports(&self) -> &[Function] {
        &self.exports
    }

    /// Looks up the functions that `links` name, for [`KernelVdso::functions`].
    pub(crate) fn resolve(&mut self, links: &[Link]) {
        let function = |link: &Link| {
            let exports = self.exports.iter();
            let mut found = exports.filter(|export| export.name == link.name);
            let version = link.version.as_str();
            let found = found.find(|export| export.version.as_deref().unwrap_or("") == version);
            Some(found?.distance)
        };
        self.functions = links.iter().map(function).collect();
    }

    /// The image's bytes, up to the end of its mapping.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A place for `length` bytes of code that is no part of the image, in bytes from the image's
    /// start.
    pub(crate) fn spare(&self, length: usize) -> Option<u64> {
        (self.bytes.len() - self.spare >= length).then_some(self.spare as u64)
    }

    /// A place of `length` bytes that is not loaded, at the end of the image's mapping and aligned to 16
    /// bytes, in bytes from the image's start. Section headers may be there.
    pub(crate) fn unloaded(&self, length: usize) -> Option<u64> {
        let at = (self.bytes.len().checked_sub(length)? & !15) as u64;
        let image = Image::parse_memory(&self.bytes, 0).ok()?;
        loaded(&image).filter(|&end| end <= at).map(|_| at)
    }

    /// The place for code that stays in a process, in bytes from the image's start. Where the
    /// image is padded with too few zeros it is the one at its end that is not loaded, and the second
    /// value says that section headers may be there.
    pub(crate) fn place(&self, length: usize) -> Option<(u64, bool)> {
        let padding = self.spare(length).map(|at| (at, false));
        padding.or_else(|| Some((self.unloaded(length)?, true)))
    }

    /// For each link the address of its function, or 0, the image being at `address`.
    pub(crate) fn functions(&self, address: u64) -> impl Iterator<Item = u64> {
        self.functions
            .iter()
            .map(move |function| function.map_or(0, |offset| address + offset))
    }
}

/// What an image whose section headers are overwritten has in the place of their address, number and index of
/// names: offsets in an ELF header, and bytes. Without a number nothing is looked for at the address.
pub(crate) const NO_SECTIONS: [(u64, &[u8]); 2] = [(0x3c, &[0; 4]), (0x28, &[0; 8])];

/// The `length` bytes at the address `at` in a process, which is [`KernelVdso::unloaded`], before `code` is
/// written there. Where a tracer that died has left the code they are those of this process's own vDSO.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn before(memory: &Memory, at: u64, code: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    memory.read_exact(at, &mut bytes)?;
    match bytes.starts_with(code) {
        true => own_unloaded(length),
        false => Ok(bytes),
    }
}

/// The bytes at [`KernelVdso::unloaded`] of this process's own vDSO, in which nothing is replaced.
#[cfg(not(target_arch = "x86_64"))]
fn own_unloaded(length: usize) -> io::Result<Vec<u8>> {
    let pid = std::process::id() as Pid;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let image = mappings(&maps).and_then(|mappings| mappings.last().cloned());
    let missing = || io::Error::other("this process has no vDSO");
    let image = image.ok_or_else(missing)?;
    let memory = Memory::open(pid)?;
    let kernel = KernelVdso::read(pid, &memory, image.start)?;
    let mut bytes = vec![0; length];
    let at = kernel.unloaded(length).ok_or_else(missing)?;
    memory.read_exact(image.start + at, &mut bytes)?;
    Ok(bytes)
}

/// The end of what is loaded of an image, in bytes from its start.
fn loaded(image: &Image<'_>) -> Option<u64> {
    let loads = image.segments().filter(|segment| segment.is_load());
    loads.map(|load| load.offset + load.filesz).max()
}

/// The start of the zeros that fill the last page behind an image of `bytes`, which is loaded up to
/// `loaded`. It is at least the length of a section header behind the last byte that is not 0:
/// section headers may end in zeros.
fn spare(bytes: &[u8], loaded: Option<u64>) -> usize {
    let last = bytes.iter().rposition(|&byte| byte != 0);
    let loaded = loaded.map_or(bytes.len(), |end| end as usize);
    let end = last.map_or(0, |last| last + 1 + SECTION_HEADER);
    end.max(loaded).next_multiple_of(16).min(bytes.len())
}

/// Bytes of a section header.
const SECTION_HEADER: usize = 64;

/// The mappings of the kernel's vDSO, in ascending order and without a gap: those of its
/// vvar pages, then `[vdso]`; from the lines of `/proc/PID/maps`.
pub(crate) fn mappings(maps: &str) -> Option<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        let name = rest.rsplit(' ').next()?;
        if !name.starts_with("[vvar") && name != "[vdso]" {
            continue;
        }
        if found.last().is_some_and(|last| last.end != start) {
            found.clear();
        }
        found.push(start..end);
        if name == "[vdso]" {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spare_is_neither_loaded_nor_a_section_header() {
        let mut bytes = vec![0; 4096];
        assert_eq!(spare(&bytes, Some(100)), 112);
        bytes[1000] = 1;
        assert_eq!(spare(&bytes, Some(100)), 1072);
        assert_eq!(spare(&bytes, Some(2000)), 2000);
        assert_eq!(spare(&bytes, Some(1 << 20)), 4096);
        assert_eq!(spare(&bytes, None), 4096);
        bytes[4095] = 1;
        assert_eq!(spare(&bytes, Some(100)), 4096);
    }

    #[test]
    fn vvar_pages_of_every_kernel_are_found() {
        // Linux 6.18, 6.1, and one without vvar pages beside the image.
        let new = "7f46dfa6c000-7f46dfa70000 r--p 00000000 00:00 0      [vvar]\n\
                   7f46dfa70000-7f46dfa72000 r--p 00000000 00:00 0      [vvar_vclock]\n\
                   7f46dfa72000-7f46dfa74000 r-xp 00000000 00:00 0      [vdso]\n";
        let (first, second) = (0x7f46_dfa6_c000, 0x7f46_dfa7_0000);
        let vdso = 0x7f46_dfa7_2000..0x7f46_dfa7_4000;
        assert_eq!(
            mappings(new),
            Some(vec![first..second, second..vdso.start, vdso])
        );
        let old = "7ffc3d1f5000-7ffc3d1f9000 r--p 00000000 00:00 0      [vvar]\n\
                   7ffc3d1f9000-7ffc3d1fb000 r-xp 00000000 00:00 0      [vdso]\n";
        let (vvar, vdso) = (0x7ffc_3d1f_5000, 0x7ffc_3d1f_9000);
        assert_eq!(mappings(old), Some(vec![vvar..vdso, vdso..vdso + 0x2000]));
        let apart = old.replace("7ffc3d1f9000 r--p", "7ffc3d1f8000 r--p");
        assert_eq!(
            mappings(&apart),
            Some(vec![std::ops::Range {
                start: vdso,
                end: vdso + 0x2000
            }])
        );
        assert_eq!(
            mappings("7ffe90a0c000-7ffe90a2d000 rw-p 00000000 00:00 0   [stack]\n"),
            None
        );
    }
}
