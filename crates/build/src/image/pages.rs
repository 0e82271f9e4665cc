//! The vvar pages of a fresh image: header and initial values.

use crate::declaration::Declaration;
use vdsokit_vvar::directory::Directory;
use vdsokit_vvar::header::{self, Header};
use vdsokit_vvar::latch;

const _: () = assert!(
    cfg!(target_endian = "little"),
    "images are little-endian, and `Header::to_bytes` writes in the order of this machine"
);

/// Whole pages of `page` bytes that hold the initial values where `note`, the
/// declaration's directory, says.
pub(super) fn pages(declaration: &Declaration, note: &[u8], page: usize) -> Vec<u8> {
    let directory = Directory::parse(note).expect("a directory that `encode` wrote");
    let used = directory.used();
    let mut bytes = vec![0; used.next_multiple_of(page)];
    let header = Header::new(directory.layout(), directory.len() as u32, used as u32);
    bytes[..header::SIZE].copy_from_slice(&header.to_bytes());
    for (entry, variable) in directory.iter().zip(&declaration.variables) {
        let init = &variable.init;
        let mut put = |at: usize| bytes[at..at + init.len()].copy_from_slice(init);
        if entry.is_latched() {
            // Sequence number 0 makes the first copy the current one. The second holds the
            // same value, so that a reader never finds bytes that were not declared.
            let first = entry.offset + latch::size_of(0);
            put(first);
            put(first + latch::stride(init.len()));
        } else {
            put(entry.offset);
        }
    }
    bytes
}
