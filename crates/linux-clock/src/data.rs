//! Linux's data page, and the other sources of a clock.
#![allow(
    unsafe_code,
    reason = "pages are addresses, which the kernel or a hypervisor writes concurrently"
)]

use crate::facts;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// The sources of readings: the pages before the image, and the CPU.
///
/// # Safety
/// The pages are always mapped and readable, have the layout of `facts`, and are aligned as their
/// structures are; for `pvclock` and `hvclock` only while the mode is theirs. They are written by
/// atomic stores, or in another address space.
pub(crate) unsafe trait DataPages: Copy {
    /// The page at the vvar page's address: the kernel's own, or that of the process's time
    /// namespace.
    fn shown(self) -> Page;
    /// The kernel's own page, in a time namespace.
    fn outside(self) -> Page;
    /// The clock page of KVM or Xen.
    fn pvclock(self) -> Page;
    /// The clock page of Hyper-V.
    fn hvclock(self) -> Page;
    /// The time-stamp counter, read after the instructions before it.
    fn tsc(self) -> u64;
    /// The number of the CPU and, in the bits above, that of its node.
    fn cpu_and_node(self) -> u32;
    /// The system call with two arguments: its result, or a negative number of errno.h.
    ///
    /// # Safety
    /// The arguments are valid for the call.
    unsafe fn call(self, number: usize, first: usize, second: usize) -> isize;
}

/// A structure in a page that is written concurrently: every load is a relaxed atomic one.
#[derive(Clone, Copy)]
pub(crate) struct Page(*const u8);

impl Page {
    /// The structure at this address.
    pub(crate) const fn at(address: *const u8) -> Self {
        Self(address)
    }

    /// The structure so many bytes further.
    #[inline(always)]
    pub(crate) fn skip(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    #[inline(always)]
    pub(crate) fn byte(self, offset: usize) -> u8 {
        // SAFETY: `DataPages` vouches for the page, `facts` for the offset.
        let byte = unsafe { &*self.skip(offset).0.cast::<AtomicU8>() };
        byte.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn half(self, offset: usize) -> u32 {
        // SAFETY: `DataPages` vouches for the page, `facts` for the offset; a field of 4 bytes is
        // aligned.
        let half = unsafe { &*self.skip(offset).0.cast::<AtomicU32>() };
        half.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn word(self, offset: usize) -> u64 {
        // SAFETY: `DataPages` vouches for the page, `facts` for the offset; a field of 8 bytes is
        // aligned.
        let word = unsafe { &*self.skip(offset).0.cast::<AtomicU64>() };
        word.load(Ordering::Relaxed)
    }

    /// Loads the sequence count, which a writer raises before and after its stores, before all
    /// later loads.
    #[inline(always)]
    pub(crate) fn begin(self, offset: usize) -> u32 {
        let number = self.half(offset);
        fence(Ordering::Acquire);
        number
    }

    /// Whether the sequence count is still `number`, after all earlier loads.
    #[inline(always)]
    pub(crate) fn is_still(self, offset: usize, number: u32) -> bool {
        fence(Ordering::Acquire);
        self.half(offset) == number
    }
}

/// Seconds, and nanoseconds in addition, which may be more than a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) seconds: u64,
    pub(crate) nanoseconds: u64,
}

impl Moment {
    #[inline(always)]
    fn base(data: Page, clock: u32) -> Self {
        let base = data.skip(facts::BASE + clock as usize * facts::BASE_SIZE);
        Self {
            seconds: base.word(facts::BASE_SECONDS),
            nanoseconds: base.word(facts::BASE_NANOSECONDS),
        }
    }

    /// The offset of a clock by a part of a time namespace's page.
    #[inline(always)]
    pub(crate) fn offset(namespace: Page, clock: u32) -> Self {
        let offset = namespace.skip(facts::OFFSET + clock as usize * facts::OFFSET_SIZE);
        Self {
            seconds: offset.word(facts::OFFSET_SECONDS),
            nanoseconds: offset.word(facts::OFFSET_NANOSECONDS),
        }
    }

    #[inline(always)]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.wrapping_add(other.seconds),
            nanoseconds: self.nanoseconds.wrapping_add(other.nanoseconds),
        }
    }
}

/// The result of `read` for one consistent state of a clock's base and its page; `part` is the
/// offset of the clock's part of the data page. In a time namespace the clock's offset is added.
#[inline(always)]
pub(crate) fn consistent(
    source: impl DataPages,
    part: usize,
    clock: u32,
    read: impl Fn(Page, Moment) -> Option<Moment>,
) -> Option<Moment> {
    let shown = source.shown().skip(part);
    let mut data = shown;
    let mut offset = Moment::default();
    loop {
        let number = data.begin(facts::SEQUENCE);
        if number & 1 == 0 {
            let moment = read(data, Moment::base(data, clock))?;
            if data.is_still(facts::SEQUENCE, number) {
                return Some(moment.plus(offset));
            }
        } else if is_of_a_namespace(data) {
            // Its count is always 1. It never changes while it is mapped.
            offset = Moment::offset(shown, clock);
            data = source.outside().skip(part);
        } else {
            spin_loop();
        }
    }
}

/// [`consistent`] for the common case: no writer at the same time, and `data` is a part of the
/// kernel's own page.
#[inline(always)]
pub(crate) fn mostly(
    data: Page,
    clock: u32,
    read: impl Fn(Page, Moment) -> Option<Moment>,
) -> Option<Moment> {
    let number = data.begin(facts::SEQUENCE);
    if number & 1 != 0 {
        return None;
    }
    let moment = read(data, Moment::base(data, clock))?;
    data.is_still(facts::SEQUENCE, number).then_some(moment)
}

/// The kernel's own page, in a time namespace too.
#[inline(always)]
pub(crate) fn outside(source: impl DataPages) -> Page {
    let shown = source.shown();
    if is_of_a_namespace(shown) {
        source.outside()
    } else {
        shown
    }
}

#[inline(always)]
pub(crate) fn is_of_a_namespace(data: Page) -> bool {
    facts::TIME_NAMESPACES && data.half(facts::MODE) == facts::MODE_TIME_NAMESPACE
}
