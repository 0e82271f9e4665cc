//! A value of the kernel's, and how a program comes by it.

use crate::btf::TypeId;
use vdsokit_vvar::layout::Type;

/// A value of the kernel's: its type, and how a program fetches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As it was asked for.
    pub expression: String,
    /// Its type in the vvar pages.
    pub ty: Type,
    /// Its type in the kernel, which is `ty` or a narrower scalar.
    pub(crate) found: Type,
    pub(crate) fetch: Fetch,
    /// Which numbers the program has to keep back.
    pub(crate) guard: Guard,
}

/// Which numbers a program takes for addresses of the kernel's when they look like one.
///
/// What decides is where a value comes from, not the type that it ends as: a number is plain
/// only when the kernel itself describes every step to it. A cast, a type behind a colon, a
/// member of a union and an index without a bound lead to bytes that may be a pointer's, or half
/// of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// None: the user has allowed addresses.
    Off,
    /// Unsigned numbers of 8 bytes. What the kernel itself calls signed may be negative.
    Unsigned,
    /// All numbers of 8 bytes: the kernel keeps pointers with flags in `atomic_long_t`
    /// (`struct mutex`, `struct work_struct`).
    All,
    /// Every aligned word of 8 bytes that the value lies in, whatever its type.
    Words,
}

/// How a program comes by a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// From memory: all offsets but the last lead to a pointer that is followed.
    Memory { base: Base, offsets: Vec<i32> },
    /// As the sum over all CPUs.
    Sum { variable: TypeId, offset: i16 },
    /// From the clock that counts since boot.
    Uptime,
}

/// What the first offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Address(u64),
    /// An argument of the hook's. When it is `typed`, the one offset leads to a number that the
    /// kernel's own type of it has there, so that the verifier lets a program load it.
    Argument {
        number: i16,
        typed: bool,
    },
}

/// A variable that the kernel has, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What to declare.
    pub name: String,
    /// Its type; `None` when the kernel describes none.
    pub ty: Option<String>,
    /// What it is, for those with a name of their own; `per CPU` for those.
    pub doc: String,
}

/// Whether the program can check every aligned word that a value lies in before it publishes
/// any byte of it: a scalar within one word, or whole words.
pub(super) fn covered_by_words(fetch: &Fetch, found: Type) -> bool {
    let start = usize::from(fetch.place_in_word());
    match (fetch, found) {
        // The kernel aligns a variable of every CPU as its type wants it, which may be less.
        (Fetch::Sum { .. }, _) => found.size() == 8,
        (_, Type::Scalar(scalar)) => start + scalar.size() <= 8,
        (_, Type::Array(..) | Type::Text(_)) => start == 0 && found.size().is_multiple_of(8),
    }
}

impl Fetch {
    /// How far behind the start of an aligned word the value begins. A pointer that is followed
    /// to it is checked to be aligned itself when the program runs.
    pub(crate) fn place_in_word(&self) -> u8 {
        let (base, offset) = match self {
            Self::Memory { base, offsets } => {
                let base = match (base, offsets.len()) {
                    (Base::Address(address), 1) => *address,
                    _ => 0,
                };
                (base, offsets.last().copied().unwrap_or(0).into())
            }
            Self::Sum { .. } | Self::Uptime => (0, 0),
        };
        (u64::wrapping_add_signed(base, offset) & 7) as u8
    }
}
