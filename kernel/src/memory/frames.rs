//! The machine's memory in pages: how many hold each, and which are free.
#![allow(
    unsafe_code,
    reason = "reads and writes the machine's memory by its address"
)]

use super::Section;
use crate::arch;
use crate::lock::Guarded;
use core::ops::Range;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// The size of a page in bytes, on each architecture.
pub const PAGE: usize = 4096;

/// The size of the kernel's heap in bytes.
const HEAP: usize = 32 << 20;

/// Where the machine's memory is, as its firmware tells it.
#[derive(Clone, Debug)]
pub struct Ram {
    /// The physical addresses of one contiguous piece. What lies elsewhere is not used.
    pub all: Range<usize>,
    /// Parts of it that are in use: the kernel, the initrd, the firmware's tables.
    pub used: [Range<usize>; 3],
}

struct Frames {
    /// The physical address of the first page.
    start: usize,
    /// The number of holders of each page; 0 when it is free.
    holders: &'static [AtomicU16],
    /// Where the search for a free page begins.
    next: usize,
}

static FRAMES: Guarded<Frames> = Guarded::new(Frames {
    start: 0,
    holders: &[],
    next: 0,
});

/// Takes over the machine's memory: a count for each page and the kernel's heap lie in the first gap
/// that is large enough, the rest is free.
///
/// # Safety
/// Once, with memory that is mapped at [`arch::DIRECT`] and free but for what `ram` says.
pub unsafe fn initialise(ram: &Ram) {
    let start = ram.all.start.next_multiple_of(PAGE);
    let pages = (ram.all.end - start) / PAGE;
    let length = (pages * size_of::<AtomicU16>()).next_multiple_of(PAGE);
    let counts = gap(ram, length + HEAP).expect("the machine has too little memory");
    let heap = counts + length;
    let first = arch::direct(counts).cast::<AtomicU16>();
    // SAFETY: the range lies in memory that is mapped and not in use, and the heap begins behind it.
    // Zeros are valid counts.
    let holders = unsafe {
        first.write_bytes(0, pages);
        core::slice::from_raw_parts(first, pages)
    };
    let own = counts..heap + HEAP;
    for used in ram.used.iter().chain([&own]) {
        let pages = used.start.max(start)..used.end.min(ram.all.end);
        for page in pages.start / PAGE..pages.end.div_ceil(PAGE) {
            holders[page - start / PAGE].store(1, Ordering::Relaxed);
        }
    }
    *FRAMES.get() = Frames {
        start,
        holders,
        next: 0,
    };
    // SAFETY: the range is mapped, and its pages were just marked as in use.
    unsafe { super::heap::initialise(arch::direct(heap), HEAP) }
}

/// The lowest physical address of free memory of this length, at a page.
fn gap(ram: &Ram, length: usize) -> Option<usize> {
    let ends = ram.used.iter().map(|used| used.end);
    let starts = ends
        .chain([ram.all.start])
        .map(|start| start.next_multiple_of(PAGE));
    let is_free = |start: &usize| {
        let end = start + length;
        let overlaps = |used: &Range<usize>| used.start < end && *start < used.end;
        *start >= ram.all.start && end <= ram.all.end && !ram.used.iter().any(overlaps)
    };
    starts.filter(is_free).min()
}

/// One holder of a page of the machine's memory.
#[derive(Debug)]
pub struct Frame {
    physical: usize,
}

impl Frame {
    /// A page that nothing else holds, filled with zeros; `None` when no memory is left.
    pub fn zeroed() -> Option<Self> {
        let mut frames = FRAMES.get();
        let all = frames.holders;
        let (before, behind) = all.split_at(frames.next);
        let free = |holders: &AtomicU16| holders.load(Ordering::Relaxed) == 0;
        let page = match behind.iter().position(free) {
            Some(page) => frames.next + page,
            None => before.iter().position(free)?,
        };
        all[page].store(1, Ordering::Relaxed);
        frames.next = page + 1;
        let frame = Self {
            physical: frames.start + page * PAGE,
        };
        // SAFETY: the page is mapped, and this is its only holder.
        unsafe { frame.start().write_bytes(0, PAGE) };
        Some(frame)
    }

    /// A page of a static, which the kernel holds besides for ever.
    ///
    /// # Panics
    /// When the static has no page of this index.
    pub fn of_static<T: Sync>(section: &'static Section<T>, nth: usize) -> Self {
        assert!(nth < size_of::<Section<T>>() / PAGE);
        let address = (&raw const *section).addr() + nth * PAGE;
        let frame = Self {
            physical: address - arch::DIRECT,
        };
        frame.add_holder();
        frame
    }

    /// The physical address of the page.
    pub fn physical(&self) -> usize {
        self.physical
    }

    /// Whether the page has other holders.
    pub fn is_shared(&self) -> bool {
        self.holders().load(Ordering::Relaxed) > 1
    }

    /// A page with the same contents that nothing else holds.
    pub fn copied(&self) -> Option<Self> {
        let copy = Self::zeroed()?;
        // SAFETY: both are mapped, and differ.
        unsafe { self.start().copy_to_nonoverlapping(copy.start(), PAGE) };
        Some(copy)
    }

    /// Copies bytes out of the page. A program that writes them meanwhile may have them mixed.
    ///
    /// # Panics
    /// When the bytes do not lie in the page.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset <= PAGE && bytes.len() <= PAGE - offset);
        // SAFETY: the bytes lie in the page, which is mapped. No reference to them exists: the
        // kernel reaches a frame by copies and atomic words only.
        unsafe {
            bytes
                .as_mut_ptr()
                .copy_from_nonoverlapping(self.start().add(offset), bytes.len())
        }
    }

    /// Copies bytes into the page.
    ///
    /// # Panics
    /// When the bytes do not lie in the page.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= PAGE && bytes.len() <= PAGE - offset);
        // SAFETY: as for `read`: the bytes lie in the page, and no reference to them exists.
        unsafe {
            bytes
                .as_ptr()
                .copy_to_nonoverlapping(self.start().add(offset), bytes.len())
        }
    }

    /// The 8 bytes at `offset`, as one word.
    ///
    /// # Panics
    /// When `offset` is no multiple of 8 within the page.
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        &self.words(offset)[0]
    }

    /// The 8-byte words of the page from `offset` on.
    ///
    /// # Panics
    /// When `offset` is no multiple of 8 within the page.
    pub fn words(&self, offset: usize) -> &[AtomicU64] {
        assert!(offset < PAGE && offset.is_multiple_of(8));
        // SAFETY: the words are aligned and lie in the page, which stays mapped and held for as long
        // as `self` is borrowed. Every bit pattern is valid. The kernel reaches the bytes by copies
        // and atomic words only.
        unsafe {
            let start = self.start().add(offset).cast();
            core::slice::from_raw_parts(start, (PAGE - offset) / 8)
        }
    }

    fn add_holder(&self) {
        let holders = self.holders();
        let more = holders.load(Ordering::Relaxed).checked_add(1);
        holders.store(
            more.expect("a page has too many holders"),
            Ordering::Relaxed,
        );
    }

    fn start(&self) -> *mut u8 {
        arch::direct(self.physical)
    }

    fn holders(&self) -> &'static AtomicU16 {
        let frames = FRAMES.get();
        &frames.holders[(self.physical - frames.start) / PAGE]
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        self.add_holder();
        Self {
            physical: self.physical,
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let holders = self.holders();
        holders.store(holders.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }
}
