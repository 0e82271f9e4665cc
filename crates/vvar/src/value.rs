//! Typed values of more than one scalar: arrays, texts, and records by derive.
//!
//! A value is loaded from a copy of a [`crate::latch`] word by word and decoded with
//! ordinary arithmetic, so all bit patterns give a value (rule 4) and no code here is
//! unsafe.

use crate::latch::{Copy as Words, CopyMut as WordsMut};
use crate::layout::{Shape, Type};
use crate::scalar::Scalar;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

/// A value that is stored in a latch.
///
/// Arrays of scalars and [`Text`] implement it; a struct of those and of scalars
/// derives it (`#[derive(Record)]` in the crate `vdsokit`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a variable",
    label = "not a type that vvar pages can hold",
    note = "use a scalar, an array of scalars, a `Text<N>`, or a struct with `#[derive(Record)]`"
)]
pub trait Value: Copy + Send + Sync + 'static {
    /// Its type in the layout.
    const SHAPE: Shape<'static>;
    /// Decodes one copy of a latch. A total, pure function: see
    /// [`crate::latch::Latch::read`].
    fn load(words: Words<'_>) -> Self;
    /// Stores the whole value into the copy that the writer fills.
    fn store(&self, words: &WordsMut<'_>);
}

/// A value that can be a field of a record: a scalar, an array of scalars, a [`Text`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a field of a record",
    label = "not a type that a record can hold",
    note = "use a scalar, an array of scalars, or a `Text<N>`"
)]
pub trait Element: Copy + Send + Sync + 'static {
    /// Its type.
    const TYPE: Type;
    /// Decodes the bytes at `offset`.
    fn load_at(words: Words<'_>, offset: usize) -> Self;
    /// Stores into the bytes at `offset`.
    fn store_at(&self, words: &WordsMut<'_>, offset: usize);
}

/// The shift that brings the `size` bytes at `offset` to the low end of their word.
const fn shift(offset: usize, size: usize) -> u32 {
    let from_start = offset % 8;
    let bytes = if cfg!(target_endian = "little") {
        from_start
    } else {
        8 - from_start - size
    };
    bytes as u32 * 8
}

impl<T: Scalar> Element for T {
    const TYPE: Type = Type::Scalar(T::TYPE);

    #[inline(always)]
    fn load_at(words: Words<'_>, offset: usize) -> Self {
        Self::from_bits(words.word(offset / 8) >> shift(offset, T::TYPE.size()))
    }

    #[inline(always)]
    fn store_at(&self, words: &WordsMut<'_>, offset: usize) {
        let size = T::TYPE.size();
        if size == 8 {
            return words.set_word(offset / 8, self.to_bits());
        }
        let shift = shift(offset, size);
        let mask = ((1_u64 << (8 * size)) - 1) << shift;
        let others = words.word(offset / 8) & !mask;
        words.set_word(offset / 8, others | (self.to_bits() << shift));
    }
}

impl<T: Scalar, const N: usize> Element for [T; N] {
    const TYPE: Type = Type::Array(T::TYPE, N as u32);

    #[inline(always)]
    fn load_at(words: Words<'_>, offset: usize) -> Self {
        core::array::from_fn(|index| T::load_at(words, offset + index * T::TYPE.size()))
    }

    #[inline(always)]
    fn store_at(&self, words: &WordsMut<'_>, offset: usize) {
        for (index, element) in self.iter().enumerate() {
            element.store_at(words, offset + index * T::TYPE.size());
        }
    }
}

impl<T: Scalar, const N: usize> Value for [T; N] {
    const SHAPE: Shape<'static> = Shape::Plain(<Self as Element>::TYPE);

    #[inline(always)]
    fn load(words: Words<'_>) -> Self {
        Self::load_at(words, 0)
    }

    #[inline(always)]
    fn store(&self, words: &WordsMut<'_>) {
        self.store_at(words, 0);
    }
}

/// UTF-8 text of at most `N - 1` bytes: `str[N]` in a declaration.
///
/// Texts compare and hash as their [`as_str`](Text::as_str), whatever bytes follow the NUL.
#[derive(Clone, Copy)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// The text `text`.
    ///
    /// # Errors
    /// [`TextError`] when the text has more than `N - 1` bytes or contains a NUL.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.len() >= N {
            return Err(TextError::TooLong {
                bytes: text.len(),
                most: N.saturating_sub(1),
            });
        }
        if text.contains('\0') {
            return Err(TextError::Nul);
        }
        let mut bytes = [0; N];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// The text up to the first NUL. Bytes that are not UTF-8 (a publisher may be hostile)
    /// end it as well.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            // Not by indexing: this runs in images, which have no panic machinery.
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|valid| core::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        }
    }
}

impl<const N: usize> TryFrom<&str> for Text<N> {
    type Error = TextError;

    fn try_from(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const N: usize> FromStr for Text<N> {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const N: usize> AsRef<str> for Text<N> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize, const M: usize> PartialEq<Text<M>> for Text<N> {
    fn eq(&self, other: &Text<M>) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> Eq for Text<N> {}

impl<const N: usize> Hash for Text<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<const N: usize> PartialEq<Text<N>> for str {
    fn eq(&self, other: &Text<N>) -> bool {
        self == other.as_str()
    }
}

impl<const N: usize> PartialEq<Text<N>> for &str {
    fn eq(&self, other: &Text<N>) -> bool {
        *self == other.as_str()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl<const N: usize> Element for Text<N> {
    const TYPE: Type = Type::Text(N as u32);

    #[inline]
    fn load_at(words: Words<'_>, offset: usize) -> Self {
        Self(<[u8; N]>::load_at(words, offset))
    }

    #[inline]
    fn store_at(&self, words: &WordsMut<'_>, offset: usize) {
        self.0.store_at(words, offset);
    }
}

impl<const N: usize> Value for Text<N> {
    const SHAPE: Shape<'static> = Shape::Plain(<Self as Element>::TYPE);

    #[inline]
    fn load(words: Words<'_>) -> Self {
        Self::load_at(words, 0)
    }

    #[inline]
    fn store(&self, words: &WordsMut<'_>) {
        self.store_at(words, 0);
    }
}

/// Why a text was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// Longer than the type allows.
    TooLong {
        /// Bytes of the text.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// It contains a NUL, which terminates a text.
    Nul,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes, most } => {
                write!(f, "the text has {bytes} bytes; at most {most} fit")
            }
            Self::Nul => f.write_str("the text contains a NUL"),
        }
    }
}

impl core::error::Error for TextError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::latch::{Latch, LatchWriter, Word};
    use proptest::prelude::*;

    fn round<T: Value>(value: T) -> T {
        let words: Vec<Word> = (0..=2 * T::SHAPE.size().div_ceil(8))
            .map(|_| Word::new(u64::MAX))
            .collect();
        let latch = Latch::new(&words).unwrap();
        LatchWriter::new(latch).write(|copy| value.store(&copy));
        latch.read(T::load)
    }

    #[test]
    fn the_bytes_are_laid_out_as_in_c() {
        let words: Vec<Word> = (0..3).map(|_| Word::new(0)).collect();
        LatchWriter::new(Latch::new(&words).unwrap())
            .write(|copy| Text::<6>::new("abc").unwrap().store(&copy));
        // The first write goes into copy 1 or copy 0: exactly one of them has it.
        let bytes: Vec<_> = words[1..]
            .iter()
            .map(|word| {
                word.load(core::sync::atomic::Ordering::Relaxed)
                    .to_ne_bytes()
            })
            .filter(|bytes| bytes.starts_with(b"abc\0"))
            .collect();
        assert_eq!(bytes.len(), 1);
    }

    #[test]
    fn elements_lie_side_by_side_and_leave_their_neighbours_alone() {
        let words: Vec<Word> = (0..5).map(|_| Word::new(u64::MAX)).collect();
        words[0].store(0, core::sync::atomic::Ordering::Relaxed);
        let elements = [0x0102_u16, 0x0304, 0x0506, 0x0708, 0x090a];
        LatchWriter::new(Latch::new(&words).unwrap()).write(|copy| {
            elements.store(&copy);
            7_u8.store_at(&copy, 11);
        });
        // The first write goes into the second copy.
        let bytes: Vec<u8> = words[3..]
            .iter()
            .flat_map(|word| {
                word.load(core::sync::atomic::Ordering::Relaxed)
                    .to_ne_bytes()
            })
            .collect();
        let mut expected = vec![0xff; 16];
        for (at, element) in elements.iter().enumerate() {
            expected[2 * at..][..2].copy_from_slice(&element.to_ne_bytes());
        }
        expected[11] = 7;
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        assert!(Text::<4>::new("abc").is_ok());
        assert_eq!(
            Text::<4>::new("abcd"),
            Err(TextError::TooLong { bytes: 4, most: 3 })
        );
        assert!(Text::<0>::new("").is_err());
        assert_eq!(Text::<4>::new("a\0"), Err(TextError::Nul));
    }

    #[test]
    fn a_text_converts_from_and_compares_with_a_str() {
        let text: Text<8> = "Brocken".parse().unwrap();
        assert_eq!(Text::try_from("Brocken"), Ok(text));
        assert_eq!(text, "Brocken");
        assert_eq!("Brocken", text);
        assert_eq!(*"Brocken", text);
        assert_ne!("Brock", text);
        assert_ne!(*"Brock", text);
        assert_ne!(text, *"Brock");
        assert_eq!(Text::<8>::default(), "");
        assert_eq!(text, *"Brocken");
        assert_ne!(text, "Brock");
        assert_eq!(Text([b'a', 0, b'x', 0]), Text([b'a', 0]));
        let upper = |text: &dyn AsRef<str>| text.as_ref().to_uppercase();
        assert_eq!(upper(&text), "BROCKEN");
        let error = "Zugspitze".parse::<Text<8>>().unwrap_err();
        assert_eq!(error, TextError::TooLong { bytes: 9, most: 7 });
    }

    /// What follows the terminating NUL is no part of a text, and neither is its capacity.
    #[test]
    fn texts_are_equal_hashed_and_shown_by_their_characters() {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        fn hash<const N: usize>(text: Text<N>) -> u64 {
            BuildHasherDefault::<DefaultHasher>::new().hash_one(text)
        }
        let (one, other) = (Text([b'a', 0, b'x', 0]), Text([b'b', 0, b'x', 0]));
        assert_ne!(one, other);
        assert_ne!(hash(one), hash(other));
        assert_eq!(hash(one), hash(Text([b'a', 0])));
        assert_eq!(format!("{one} {one:?} {one:>3}"), "a \"a\"   a");
    }

    #[test]
    fn a_text_that_is_not_utf8_is_cut_before_the_first_bad_byte() {
        assert_eq!(Text([b'a', 0xff, b'b']).as_str(), "a");
        assert_eq!(Text([b'a', b'b', b'c']).as_str(), "abc");
    }

    proptest! {
        #[test]
        fn values_come_back(a: [u8; 11], b: [f64; 3], c: [i16; 5], d in "[a-zäß]{0,8}") {
            prop_assert_eq!(round(a), a);
            prop_assert_eq!(round(b).map(f64::to_bits), b.map(f64::to_bits));
            prop_assert_eq!(round(c), c);
            let text = Text::<17>::new(&d).unwrap();
            prop_assert_eq!(round(text), text);
            prop_assert_eq!(text.as_str(), d);
        }
    }
}
