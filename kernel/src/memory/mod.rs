//! Memory: pages of the machine, the kernel's heap, and address spaces of processes.

pub mod area;
pub mod frames;
pub mod heap;
pub mod shared;
pub mod space;
pub mod table;

pub use area::{Area, Forked, Rights, Source};
pub use frames::{Frame, PAGE};
pub use shared::{Section, SharedImage};
pub use space::Space;

/// `address` rounded down to a page.
pub const fn page_of(address: usize) -> usize {
    address & !(PAGE - 1)
}

/// `length` rounded up to whole pages; `None` when that is no address.
pub const fn whole_pages(length: usize) -> Option<usize> {
    length.checked_next_multiple_of(PAGE)
}
