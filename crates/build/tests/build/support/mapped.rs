//! An image as delivery at exec leaves it: mapped whole, found by its address.
#![allow(
    unsafe_code,
    reason = "an image is mapped and a function of it called, as a vDSO's readers do"
)]

use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::fs::File;
use std::path::Path;
use std::ptr::null_mut;
use vdsokit_elf::memory;

/// A function without arguments of the image at `path`, never unmapped.
pub(crate) fn function(path: &Path, name: &str, version: &str) -> extern "C" fn() -> u64 {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len() as usize;
    let access = ProtFlags::READ | ProtFlags::EXEC;
    // SAFETY: a new mapping, which touches no memory that anybody else has. File offsets
    // and addresses differ by the same in both segments, so one mapping has both.
    let base = unsafe { mmap(null_mut(), size, access, MapFlags::PRIVATE, &file, 0) };
    // SAFETY: an image has just been mapped there, and stays.
    let image = unsafe { memory::image_at(base.unwrap().cast()) }.unwrap();
    let symbol = image.lookup_version(name, version).unwrap();
    let address = image.address_of(&symbol) as usize;
    // SAFETY: (1) the address is that of a function of the image, which is mapped
    // executable and stays; (2) callers ask for functions of this type.
    unsafe { std::mem::transmute::<usize, extern "C" fn() -> u64>(address) }
}
