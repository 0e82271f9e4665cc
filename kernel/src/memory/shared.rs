//! Pages of the kernel's own image that programs map.

use super::{Frame, PAGE, Rights, Space};
use crate::errno::Errno;
use alloc::vec::Vec;
use core::ops::Range;

/// A static that begins a page and fills whole ones, so that a program that maps it sees nothing
/// else of the kernel.
#[repr(C, align(4096))]
pub struct Section<T>(pub T);

/// Whole pages of the kernel's own image. There is one copy of them: what the kernel stores there,
/// programs see at once, and what programs execute is the kernel's own text.
#[derive(Clone, Debug)]
pub struct SharedImage(Vec<Frame>);

impl SharedImage {
    /// The pages of a static.
    pub fn of<T: Sync>(section: &'static Section<T>) -> Self {
        let frames = (0..size_of::<Section<T>>() / PAGE).map(|nth| Frame::of_static(section, nth));
        Self(frames.collect())
    }

    /// The pages, in their order.
    pub fn frames(&self) -> &[Frame] {
        &self.0
    }

    /// Maps some of the pages, by their indices, read-only or execute-only.
    pub fn map(
        &self,
        space: &mut Space,
        address: usize,
        pages: Range<usize>,
        rights: Rights,
    ) -> Result<(), Errno> {
        if rights != Rights::READ && rights != Rights::EXECUTE {
            return Err(Errno::ACCESS);
        }
        let frames = self.0.get(pages).ok_or(Errno::INVALID)?;
        space.give(address, rights, frames.to_vec())
    }
}
