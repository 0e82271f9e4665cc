//! The vvar pages as the image sees them.
#![allow(
    unsafe_code,
    reason = "addresses that the linker chose become references to atomics here"
)]

use vdsokit_vvar::header::{Header, State};
use vdsokit_vvar::latch::{self, Latch, Word};
use vdsokit_vvar::layout::Shape;
use vdsokit_vvar::scalar::Scalar;
use vdsokit_vvar::value::Value;

/// The scalar at `address`. Acquire.
///
/// # Safety
/// `address` is that of a scalar variable of type `T` in mapped vvar pages.
#[inline(always)]
pub unsafe fn scalar<T: Scalar>(address: *const u8) -> T {
    // SAFETY: (1) a scalar variable is at the address, as the caller guarantees, and the
    // layout aligns it to its size; (2) `T::Cell` is an unsigned atomic, for which any bits are
    // valid; (3) the pages are mapped as long as the image is.
    T::load(unsafe { &*address.cast::<T::Cell>() })
}

/// Words of the latch of a `T`.
const fn words(shape: &Shape<'_>) -> usize {
    latch::size_of(shape.size()) / 8
}

/// The value in the latch at `address`, whole.
///
/// # Safety
/// `address` is that of a variable of type `T` in mapped vvar pages.
#[inline(always)]
pub unsafe fn latched<T: Value>(address: *const u8) -> Option<T> {
    let count = const { words(&T::SHAPE) };
    // SAFETY: (1) a latch of `count` words is at the address, as the caller guarantees, and
    // the layout aligns it to 64 bytes; (2) a word is an atomic, for which any bits are
    // valid; (3) the pages are mapped as long as the image is.
    let words = unsafe { core::slice::from_raw_parts(address.cast::<Word>(), count) };
    Some(Latch::new(words)?.read(T::load))
}

/// The header of the image's vvar pages.
#[cfg(vdsokit_image)]
#[inline(always)]
fn header() -> &'static Header {
    // SAFETY: (1) the vvar pages begin with a header, and are mapped as long as the image
    // is; (2) it consists of atomics, for which any bits are valid.
    unsafe { &*crate::arch::pages().cast::<Header>() }
}

/// Outside of an image: a header that was never published.
#[cfg(not(vdsokit_image))]
fn header() -> &'static Header {
    static HEADER: Header = Header::new(0, 0, 0);
    &HEADER
}

/// The publisher's state. Acquire: a caller that reads [`State::Live`] sees all writes that
/// the publisher made before.
#[inline(always)]
#[must_use]
pub fn state() -> State {
    header().state()
}

/// `CLOCK_BOOTTIME` in nanoseconds at the publisher's last heartbeat. Acquire.
#[inline(always)]
#[must_use]
pub fn updated() -> u64 {
    header().updated()
}
