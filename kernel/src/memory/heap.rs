//! The kernel's heap: one region that is set aside at boot.
#![allow(unsafe_code, reason = "implements the global allocator")]

use crate::lock::Guarded;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use linked_list_allocator::Heap;

struct Allocator(Guarded<Heap>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Guarded::new(Heap::empty()));

// SAFETY: the crate's heap gives out blocks that do not overlap and have the layout asked for. The
// lock of the kernel guards it.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = self.0.get().allocate_first_fit(layout);
        block.map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: by the contract of `dealloc`, `alloc` returned the block for this layout.
            unsafe { self.0.get().deallocate(block, layout) }
        }
    }
}

/// Gives the heap its region.
///
/// # Safety
/// Once, with memory that is mapped and that nothing else uses, ever.
pub unsafe fn initialise(start: *mut u8, length: usize) {
    // SAFETY: as the caller promises.
    unsafe { ALLOCATOR.0.get().init(start, length) }
}
