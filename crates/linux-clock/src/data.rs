//! Linux's data page, and where else a clock reads.
#![allow(
    unsafe_code,
    reason = "pages are addresses; the kernel or a hypervisor writes them meanwhile"
)]

use crate::facts;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// Where readings come from: the pages that lie before the image, and the CPU.
///
/// # Safety
/// The pages are mapped and readable for ever, laid out as `facts` says, and aligned as their
/// structures are; `pvclock` and `hvclock` only have to be while the mode is theirs. Whoever
/// writes them does so by atomic stores, or in another address space.
pub(crate) unsafe trait Source: Copy {
    /// What the process sees as the vvar page: the kernel's own, or the one of its time
    /// namespace.
    fn shown(self) -> Page;
    /// The kernel's own, in a time namespace.
    fn outside(self) -> Page;
    /// What KVM or Xen tells of its clock.
    fn pvclock(self) -> Page;
    /// What Hyper-V tells of its clock.
    fn hvclock(self) -> Page;
    /// The time-stamp counter, not read before what comes before it.
    fn tsc(self) -> u64;
    /// The number of the CPU and, above, that of its node.
    fn cpu_and_node(self) -> u32;
    /// The system call with two arguments: its result, or a negative number of errno.h.
    ///
    /// # Safety
    /// The arguments are what the call takes.
    unsafe fn call(self, number: usize, first: usize, second: usize) -> isize;
}

/// A structure in a page that is written meanwhile: every load is one of an atomic, relaxed.
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
        // SAFETY: `Source` vouches for the page, `facts` for the offset.
        let byte = unsafe { &*self.skip(offset).0.cast::<AtomicU8>() };
        byte.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn half(self, offset: usize) -> u32 {
        // SAFETY: as in `byte`; a field of 4 bytes is aligned.
        let half = unsafe { &*self.skip(offset).0.cast::<AtomicU32>() };
        half.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn word(self, offset: usize) -> u64 {
        // SAFETY: as in `byte`; a field of 8 bytes is aligned.
        let word = unsafe { &*self.skip(offset).0.cast::<AtomicU64>() };
        word.load(Ordering::Relaxed)
    }

    /// The number that a writer raises before and after its stores, and no load of this
    /// reader's comes before it.
    #[inline(always)]
    pub(crate) fn begin(self, offset: usize) -> u32 {
        let number = self.half(offset);
        fence(Ordering::Acquire);
        number
    }

    /// Has nobody written since it was `number`? All loads that came before came before.
    #[inline(always)]
    pub(crate) fn is_still(self, offset: usize, number: u32) -> bool {
        fence(Ordering::Acquire);
        self.half(offset) == number
    }
}

/// Seconds, and nanoseconds over them, which may be more than a second.
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

    fn offset(namespace: Page, clock: u32) -> Self {
        let offset = namespace.skip(facts::OFFSET + clock as usize * facts::OFFSET_SIZE);
        Self {
            seconds: offset.word(facts::OFFSET_SECONDS),
            nanoseconds: offset.word(facts::OFFSET_NANOSECONDS),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.wrapping_add(other.seconds),
            nanoseconds: self.nanoseconds.wrapping_add(other.nanoseconds),
        }
    }
}

/// What `read` makes of a clock's base and its page in one state of it; `part` is the
/// distance of that part of the data page which the clock's counter has. In a time namespace
/// the clock's offset is added.
#[inline(always)]
pub(crate) fn consistent(
    source: impl Source,
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
            // Its number is always 1. It never changes while a process sees it.
            offset = Moment::offset(shown, clock);
            data = source.outside().skip(part);
        } else {
            spin_loop();
        }
    }
}

/// [`consistent`] where all is as it is mostly: no time namespace, nobody writes.
#[inline(always)]
pub(crate) fn mostly(
    source: impl Source,
    part: usize,
    clock: u32,
    read: impl Fn(Page, Moment) -> Option<Moment>,
) -> Option<Moment> {
    let data = source.shown().skip(part);
    let number = data.begin(facts::SEQUENCE);
    if number & 1 != 0 {
        return None;
    }
    let moment = read(data, Moment::base(data, clock))?;
    data.is_still(facts::SEQUENCE, number).then_some(moment)
}

/// The kernel's own page, whatever the process is shown.
#[inline(always)]
pub(crate) fn outside(source: impl Source) -> Page {
    let shown = source.shown();
    if is_of_a_namespace(shown) {
        source.outside()
    } else {
        shown
    }
}

#[inline(always)]
fn is_of_a_namespace(data: Page) -> bool {
    facts::TIME_NAMESPACES && data.half(facts::MODE) == facts::MODE_TIME_NAMESPACE
}
