//! The publisher's side of a built file, mapped as a publisher maps it.
#![allow(
    unsafe_code,
    reason = "a publisher maps the file's pages for writing; there is no safe way to"
)]

use rustix::mm::{MapFlags, ProtFlags, mmap};
use std::fs::File;
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use vdsokit_elf::Image;
use vdsokit_vvar::directory::Entry;
use vdsokit_vvar::pages::{Pages, PagesMut};
use vdsokit_vvar::scalar::Scalar;

/// The pages of the image at `path`, never unmapped.
pub(crate) fn pages(path: &Path) -> PagesMut<'static> {
    let bytes = std::fs::read(path).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let segment = image.segments().filter(|one| one.is_load()).nth(1).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    let size = segment.filesz as usize;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, which touches no memory that anybody else has.
    let base = unsafe {
        mmap(
            null_mut(),
            size,
            access,
            MapFlags::SHARED,
            &file,
            segment.offset,
        )
    };
    let base = NonNull::new(base.unwrap()).unwrap().cast();
    // SAFETY: (1) the mapping is never undone, and tests don't truncate the file; (2)
    // every other mapping of it is read-only; (3) tests have one writer for each file.
    unsafe { PagesMut::new(Pages::new(base, size).unwrap()) }
}

/// Writes a value's bytes as a publisher would.
pub(crate) fn store(pages: &PagesMut<'_>, entry: &Entry<'_>, value: &[u8]) {
    assert_eq!(value.len(), entry.size());
    if entry.is_latched() {
        let mut latch = pages.latch(entry.offset, entry.size()).unwrap();
        latch.write(|copy| {
            for (index, word) in words(value).enumerate() {
                copy.set_word(index, word);
            }
        });
        return;
    }
    let bits = words(value).next().unwrap();
    match value.len() {
        1 => u8::store(pages.scalar::<u8>(entry.offset).unwrap(), bits as u8),
        2 => u16::store(pages.scalar::<u16>(entry.offset).unwrap(), bits as u16),
        4 => u32::store(pages.scalar::<u32>(entry.offset).unwrap(), bits as u32),
        _ => u64::store(pages.scalar::<u64>(entry.offset).unwrap(), bits),
    }
}

/// What a publisher leaves that dies in the middle of a write: half of the copy that
/// is never read.
pub(crate) fn store_half(pages: &PagesMut<'_>, entry: &Entry<'_>) {
    let words = entry.size().div_ceil(8);
    let current = pages
        .pages()
        .latch(entry.offset, entry.size())
        .unwrap()
        .sequence()
        & 1;
    let unused = entry.offset + 8 + (1 - current as usize) * words * 8;
    for word in 0..words.div_ceil(2) {
        let cell = pages.scalar::<u64>(unused + word * 8).unwrap();
        u64::store(cell, u64::MAX);
    }
}

fn words(value: &[u8]) -> impl Iterator<Item = u64> {
    value.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}
