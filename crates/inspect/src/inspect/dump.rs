//! An image in memory as a file.

use super::{Bytes, InspectError, Target, bytes_of};
use std::fs::File;
use std::os::unix::fs::FileExt;
use vdsokit_elf::{Class, Image};

/// The image that a process was started with, or that a core dump holds, as a file that readelf,
/// objdump and gdb can read. The file of an image is returned unchanged.
///
/// # Errors
/// [`InspectError`] where there is none, or the target can't be read.
pub fn dump(target: &Target) -> Result<Vec<u8>, InspectError> {
    let copy = bytes_of(target)?;
    match (&copy.address, target) {
        (None, _) => Ok(copy.bytes),
        (Some(address), Target::Process(pid)) => {
            let memory = File::open(format!("/proc/{pid}/mem"));
            let memory = memory.map_err(InspectError::process(*pid))?;
            Ok(file(&copy, *address, |at, bytes| {
                memory.read_exact_at(bytes, at).is_ok()
            }))
        }
        (Some(address), Target::File(_)) => Ok(file(&copy, *address, |_, _| false)),
    }
}

/// The largest file that segments are added to.
const MAX_FILE: u64 = 64 << 20;

/// The mapping with which the image begins, and the segments behind it, which `read` reads. Section
/// headers that were not mapped are removed.
fn file(copy: &Bytes, address: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> Vec<u8> {
    let mut bytes = copy.bytes.clone();
    let Ok(image) = Image::parse_memory(&copy.bytes, address) else {
        return bytes;
    };
    for segment in image.segments().filter(|segment| segment.is_load()) {
        let end = segment.offset.saturating_add(segment.filesz);
        if end <= copy.bytes.len() as u64 || end > MAX_FILE {
            continue;
        }
        let mut part = vec![0; segment.filesz as usize];
        if read(image.locate(segment.vaddr), &mut part) {
            let (start, end) = (segment.offset as usize, end as usize);
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(&part);
        }
    }
    let header = image.header();
    let sections = u64::from(header.shnum) * u64::from(header.shentsize);
    if header.shoff.saturating_add(sections) > bytes.len() as u64 {
        remove_sections(&mut bytes, header.class);
    }
    bytes
}

/// Sets e_shoff, e_shnum and e_shstrndx to 0 (System V ABI, chapter 4).
fn remove_sections(bytes: &mut [u8], class: Class) {
    let (offset, count) = match class {
        Class::Elf32 => (32..36, 48..52),
        Class::Elf64 => (40..48, 60..64),
    };
    for range in [offset, count] {
        if let Some(field) = bytes.get_mut(range) {
            field.fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmapped_section_headers_are_removed() {
        let copy = bytes_of(&Target::this()).unwrap();
        let address = copy.address.unwrap();
        let whole = file(&copy, address, |_, _| false);
        let page = rustix::param::page_size();
        let cut = Bytes {
            bytes: copy.bytes[..page].to_vec(),
            ..copy.clone()
        };
        let image = file(&cut, address, |_, _| false);
        let header = *Image::parse_memory(&image, address).unwrap().header();
        assert_eq!((header.shoff, header.shnum, header.shstrndx), (0, 0, 0));
        let header = *Image::parse(&whole).unwrap().header();
        assert!(header.shnum > 0);
    }

    #[test]
    fn segments_behind_the_mapping_are_read() {
        let copy = bytes_of(&Target::this()).unwrap();
        let address = copy.address.unwrap();
        let image = Image::parse_memory(&copy.bytes, address).unwrap();
        let load = image.segments().find(|segment| segment.is_load()).unwrap();
        let cut = Bytes {
            bytes: copy.bytes[..load.filesz as usize - 1].to_vec(),
            ..copy.clone()
        };
        let dumped = file(&cut, address, |at, part| {
            assert_eq!(at, address);
            part.copy_from_slice(&copy.bytes[..part.len()]);
            true
        });
        assert_eq!(dumped.len() as u64, load.filesz);
        assert_eq!(dumped.last(), Some(&copy.bytes[dumped.len() - 1]));
    }
}
