//! Scalars: variables of up to 8 bytes, each one atomic load and one atomic store.
//!
//! Loads acquire and stores release, so a reader that sees a value also sees everything
//! that its publisher stored before it. On x86-64 both are plain moves.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// The type of a scalar, as named in a declaration and coded in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ScalarType {
    /// One byte; 0 is false, any other value is true.
    Bool = 1,
    /// Signed, 1 byte.
    I8 = 2,
    /// Signed, 2 bytes.
    I16 = 3,
    /// Signed, 4 bytes.
    I32 = 4,
    /// Signed, 8 bytes.
    I64 = 5,
    /// Unsigned, 1 byte.
    U8 = 6,
    /// Unsigned, 2 bytes.
    U16 = 7,
    /// Unsigned, 4 bytes.
    U32 = 8,
    /// Unsigned, 8 bytes.
    U64 = 9,
    /// IEEE 754 binary32.
    F32 = 10,
    /// IEEE 754 binary64.
    F64 = 11,
}

impl ScalarType {
    /// All types, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::Bool,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::F32,
        Self::F64,
    ];

    /// The type with this code in a directory.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    /// The type with this name in a declaration.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name in a declaration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Size in bytes, which is also the alignment.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Whether its range includes negative integers.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// Whether it is an IEEE 754 number.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An unsigned atomic of one of the widths that a scalar can have.
pub trait Cell: sealed::Sealed + Sync {
    /// Loads the bits, acquire.
    fn load_bits(&self) -> u64;
    /// Stores the low bits, as many as the cell has, release.
    fn store_bits(&self, bits: u64);
}

/// A Rust type that is a scalar.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a scalar",
    label = "not a scalar",
    note = "the scalars are `bool`, `i8` to `i64`, `u8` to `u64`, `f32` and `f64`; other variables are read with `latched`"
)]
pub trait Scalar: Copy + sealed::Sealed + Send + Sync + 'static {
    /// Its name in a declaration.
    const TYPE: ScalarType;
    /// The atomic of its width.
    type Cell: Cell;
    /// The value of these bits; bits beyond its width are ignored.
    fn from_bits(bits: u64) -> Self;
    /// Its bits, zero beyond its width.
    fn to_bits(self) -> u64;

    /// Reader: loads the value. Acquire.
    #[inline(always)]
    fn load(cell: &Self::Cell) -> Self {
        Self::from_bits(cell.load_bits())
    }

    /// Writer: stores the value. Release.
    #[inline(always)]
    fn store(cell: &Self::Cell, value: Self) {
        cell.store_bits(value.to_bits());
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! cells {
    ($($cell:ty: $raw:ty),*) => {$(
        impl sealed::Sealed for $cell {}
        impl Cell for $cell {
            #[inline(always)]
            fn load_bits(&self) -> u64 {
                u64::from(self.load(Ordering::Acquire))
            }
            #[inline(always)]
            fn store_bits(&self, bits: u64) {
                self.store(bits as $raw, Ordering::Release);
            }
        }
    )*};
}

cells!(AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64);

macro_rules! scalars {
    ($($ty:ty, $name:ident, $cell:ty, $bits:ident => $from:expr, $value:ident => $to:expr;)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Scalar for $ty {
            const TYPE: ScalarType = ScalarType::$name;
            type Cell = $cell;
            #[inline(always)]
            fn from_bits($bits: u64) -> Self {
                $from
            }
            #[inline(always)]
            fn to_bits(self) -> u64 {
                let $value = self;
                $to
            }
        }
    )*};
}

scalars! {
    bool, Bool, AtomicU8, bits => bits as u8 != 0, value => u64::from(value);
    i8, I8, AtomicU8, bits => bits as i8, value => u64::from(value as u8);
    i16, I16, AtomicU16, bits => bits as i16, value => u64::from(value as u16);
    i32, I32, AtomicU32, bits => bits as i32, value => u64::from(value as u32);
    i64, I64, AtomicU64, bits => bits as i64, value => value as u64;
    u8, U8, AtomicU8, bits => bits as u8, value => u64::from(value);
    u16, U16, AtomicU16, bits => bits as u16, value => u64::from(value);
    u32, U32, AtomicU32, bits => bits as u32, value => u64::from(value);
    u64, U64, AtomicU64, bits => bits, value => value;
    f32, F32, AtomicU32, bits => Self::from_bits(bits as u32), value => u64::from(value.to_bits());
    f64, F64, AtomicU64, bits => Self::from_bits(bits), value => value.to_bits();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_and_names_come_back() {
        for kind in ScalarType::ALL {
            assert_eq!(ScalarType::from_code(kind as u8), Some(kind));
            assert_eq!(ScalarType::from_name(kind.name()), Some(kind));
        }
        assert_eq!(ScalarType::from_code(0), None);
        assert_eq!(ScalarType::from_name("u128"), None);
    }

    /// The codes are those of directories in images, the names those of declarations.
    #[test]
    fn each_type_has_its_code_name_size_and_range() {
        let table = [
            (1, "bool", 1, false, false),
            (2, "i8", 1, true, false),
            (3, "i16", 2, true, false),
            (4, "i32", 4, true, false),
            (5, "i64", 8, true, false),
            (6, "u8", 1, false, false),
            (7, "u16", 2, false, false),
            (8, "u32", 4, false, false),
            (9, "u64", 8, false, false),
            (10, "f32", 4, false, true),
            (11, "f64", 8, false, true),
        ];
        let found = ScalarType::ALL.map(|kind| {
            let (size, is_signed, is_float) = (kind.size(), kind.is_signed(), kind.is_float());
            (kind as u8, kind.name(), size, is_signed, is_float)
        });
        assert_eq!(found, table);
    }

    #[test]
    fn a_foreign_bool_is_a_bool() {
        assert!(bool::load(&AtomicU8::new(2)));
    }

    proptest! {
        #[test]
        fn what_is_stored_is_loaded(bits: u64) {
            fn round<T: Scalar + PartialEq + fmt::Debug>(bits: u64, cell: &T::Cell) {
                let value = T::from_bits(bits);
                T::store(cell, value);
                assert_eq!(T::load(cell).to_bits(), value.to_bits());
            }
            round::<bool>(bits, &AtomicU8::new(0));
            round::<i8>(bits, &AtomicU8::new(0));
            round::<i16>(bits, &AtomicU16::new(0));
            round::<i32>(bits, &AtomicU32::new(0));
            round::<i64>(bits, &AtomicU64::new(0));
            round::<u64>(bits, &AtomicU64::new(0));
            round::<f32>(bits, &AtomicU32::new(0));
            round::<f64>(bits, &AtomicU64::new(0));
        }
    }
}
