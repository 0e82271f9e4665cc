//! The bytes of a variable's value, of any type.

use vdsokit_vvar::directory::{Entry, Kind};
use vdsokit_vvar::latch::LatchWriter;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::pages::{Pages, PagesMut};
use vdsokit_vvar::scalar::{Cell, Scalar, ScalarType};

use crate::dynamic::{bits, low};

/// Calls a function that is generic in a scalar's type with the unsigned type of its
/// width.
macro_rules! by_width {
    ($scalar:expr, $ty:ident => $call:expr) => {
        match $scalar.size() {
            1 => {
                type $ty = u8;
                $call
            }
            2 => {
                type $ty = u16;
                $call
            }
            4 => {
                type $ty = u32;
                $call
            }
            _ => {
                type $ty = u64;
                $call
            }
        }
    };
}

/// Reads the bytes of a variable's current value. Those of a latched variable are of one
/// write. `None` when the variable is outside the pages.
pub(crate) fn read(pages: Pages<'_>, entry: &Entry<'_>) -> Option<Vec<u8>> {
    let size = entry.size();
    if let Some(scalar) = scalar(entry) {
        let bits = by_width!(scalar, T => pages.scalar::<T>(entry.offset)?.load_bits());
        return Some(low(&bits.to_ne_bytes(), size).to_vec());
    }
    let latch = pages.latch(entry.offset, size)?;
    let mut bytes: Vec<u8> = latch.read(|copy| {
        (0..latch.words())
            .flat_map(|index| copy.word(index).to_ne_bytes())
            .collect()
    });
    bytes.truncate(size);
    Some(bytes)
}

/// Writes the bytes of a whole value; the caller is the only writer of the variable. `None`
/// when the variable is outside the pages.
pub(crate) fn write(pages: &PagesMut<'_>, entry: &Entry<'_>, bytes: &[u8]) -> Option<()> {
    if let Some(scalar) = scalar(entry) {
        return store(pages, entry.offset, scalar, bits(bytes));
    }
    let mut latch: LatchWriter<'_> = pages.latch(entry.offset, bytes.len())?;
    latch.write(|copy| {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            copy.set_word(index, u64::from_ne_bytes(word));
        }
    });
    Some(())
}

/// Writes a scalar: one atomic store, release. `None` when it is outside the pages.
pub(crate) fn store(
    pages: &PagesMut<'_>,
    offset: usize,
    scalar: ScalarType,
    bits: u64,
) -> Option<()> {
    by_width!(scalar, T => T::store(pages.scalar::<T>(offset)?, bits as T));
    Some(())
}

/// The type of a scalar; `None` for a latched variable.
pub(crate) fn scalar(entry: &Entry<'_>) -> Option<ScalarType> {
    match entry.kind {
        Kind::Plain(Type::Scalar(scalar)) => Some(scalar),
        _ => None,
    }
}
