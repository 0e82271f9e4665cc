//! The page as its publisher stores it.

use core::sync::atomic::{AtomicU64, Ordering, fence};

/// The words of a page that this crate stores: 4,096 bytes, the smallest page there is. Larger
/// pages hold zeroes behind them.
pub const WORDS: usize = crate::plan::SMALLEST_PAGE / 8;

/// A page of memory that the kernel maps into processes, as its publisher needs it.
///
/// Readers run at the same time, so an implementation has to take care that
///
/// 1. [`store`](Self::store) is one store of 8 bytes, never two halves (a relaxed atomic store, or
///    a volatile one in C);
/// 2. [`fence`](Self::fence) orders all stores before it before all stores after it, for every
///    CPU (a release fence: no instruction on x86-64, `dmb ish` on AArch64, `fence rw, w` on
///    RISC-V).
///
/// An array of atomics does. A kernel whose page type has another interface writes a few lines:
///
/// ```
/// use std::cell::RefCell;
/// use vdsokit_guest::{Page, Publisher};
///
/// /// Stands for a kernel's frame, whose memory can only be reached through this type.
/// struct Frame(RefCell<Vec<u64>>);
///
/// impl Page for Frame {
///     fn store(&self, index: usize, word: u64) {
///         self.0.borrow_mut()[index] = word;
///     }
/// }
///
/// let frame = Frame(RefCell::new(vec![0; 512]));
/// Publisher::new(&frame);
/// assert_eq!(frame.0.borrow()[0].to_ne_bytes(), *b"vvarpage");
/// ```
pub trait Page {
    /// Stores the word with this index, at byte `index * 8` of the page. `index` is below
    /// [`WORDS`].
    fn store(&self, index: usize, word: u64);

    /// Orders all stores before it before all stores after it.
    #[inline(always)]
    fn fence(&self) {
        fence(Ordering::Release);
    }
}

impl Page for [AtomicU64; WORDS] {
    #[inline(always)]
    fn store(&self, index: usize, word: u64) {
        if let Some(place) = self.get(index) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

impl<P: Page + ?Sized> Page for &P {
    #[inline(always)]
    fn store(&self, index: usize, word: u64) {
        (**self).store(index, word);
    }

    #[inline(always)]
    fn fence(&self) {
        (**self).fence();
    }
}
