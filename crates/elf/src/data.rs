//! Bytes with a word size and a byte order; every read is bounded.

/// The size of an image's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 32-bit addresses (ELFCLASS32).
    Elf32,
    /// 64-bit addresses (ELFCLASS64).
    Elf64,
}

impl Class {
    /// The size of the addresses of the machine that this was compiled for.
    pub const NATIVE: Self = if cfg!(target_pointer_width = "64") {
        Self::Elf64
    } else {
        Self::Elf32
    };

    /// Bytes in an address.
    pub const fn word(self) -> usize {
        match self {
            Self::Elf32 => 4,
            Self::Elf64 => 8,
        }
    }

    /// Bits in an address.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Elf32 => 32,
            Self::Elf64 => 64,
        }
    }

    /// Bytes of a program header.
    pub(crate) const fn segment_size(self) -> usize {
        match self {
            Self::Elf32 => 32,
            Self::Elf64 => 56,
        }
    }

    /// Bytes of a section header.
    pub(crate) const fn section_size(self) -> usize {
        match self {
            Self::Elf32 => 40,
            Self::Elf64 => 64,
        }
    }

    /// Bytes of a symbol.
    pub(crate) const fn symbol_size(self) -> usize {
        match self {
            Self::Elf32 => 16,
            Self::Elf64 => 24,
        }
    }
}

/// The order of an image's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Least significant byte first (ELFDATA2LSB).
    Little,
    /// Most significant byte first (ELFDATA2MSB).
    Big,
}

impl Order {
    /// The order of the machine that this was compiled for.
    pub const NATIVE: Self = if cfg!(target_endian = "little") {
        Self::Little
    } else {
        Self::Big
    };
}

#[cfg(test)]
std::thread_local! {
    /// How often this thread has read from an image.
    static READS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts a read, in this crate's own tests.
#[inline(always)]
fn count() {
    #[cfg(test)]
    READS.with(|reads| reads.set(reads.get() + 1));
}

/// Bytes read with one class and order. `None` always means "outside the bytes".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) class: Class,
    pub(crate) order: Order,
}

impl<'a> Data<'a> {
    /// Reads by `read`, with class and order as constants where they are this machine's own: that
    /// copy of the code, which every process's own vDSO takes, has no branch for them.
    #[inline(always)]
    pub(crate) fn specialised<T>(self, read: impl Fn(Self) -> T) -> T {
        if self.class == Class::NATIVE && self.order == Order::NATIVE {
            read(Self {
                bytes: self.bytes,
                class: Class::NATIVE,
                order: Order::NATIVE,
            })
        } else {
            read(self)
        }
    }

    /// `length` bytes from `start`.
    #[inline(always)]
    pub(crate) fn range(&self, start: usize, length: usize) -> Option<&'a [u8]> {
        count();
        self.bytes.get(start..start.checked_add(length)?)
    }

    /// `N` bytes from `at`, to take fields from without a check for each.
    #[inline(always)]
    pub(crate) fn record<const N: usize>(&self, at: usize) -> Option<Structure<'a, N>> {
        count();
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(Structure {
            bytes,
            order: self.order,
        })
    }

    #[inline(always)]
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        count();
        self.bytes.get(at..)?.first_chunk().copied()
    }

    #[inline(always)]
    pub(crate) fn u16(&self, at: usize) -> Option<u16> {
        let value = u16::from_ne_bytes(self.array(at)?);
        Some(if self.order == Order::NATIVE {
            value
        } else {
            value.swap_bytes()
        })
    }

    #[inline(always)]
    pub(crate) fn u32(&self, at: usize) -> Option<u32> {
        let value = u32::from_ne_bytes(self.array(at)?);
        Some(if self.order == Order::NATIVE {
            value
        } else {
            value.swap_bytes()
        })
    }

    #[inline(always)]
    pub(crate) fn u64(&self, at: usize) -> Option<u64> {
        let value = u64::from_ne_bytes(self.array(at)?);
        Some(if self.order == Order::NATIVE {
            value
        } else {
            value.swap_bytes()
        })
    }

    /// An address or a size, as wide as the class has it.
    #[inline(always)]
    pub(crate) fn word(&self, at: usize) -> Option<u64> {
        match self.class {
            Class::Elf32 => self.u32(at).map(u64::from),
            Class::Elf64 => self.u64(at),
        }
    }
}

/// A structure of `N` bytes: fields at constant offsets, whose bounds the compiler checks away.
#[derive(Clone, Copy)]
pub(crate) struct Structure<'a, const N: usize> {
    bytes: &'a [u8; N],
    order: Order,
}

impl<const N: usize> Structure<'_, N> {
    #[inline(always)]
    fn array<const M: usize>(&self, at: usize) -> [u8; M] {
        // In range for the constant offsets of a format's structure, which tests read.
        self.bytes[at..].first_chunk().copied().unwrap_or([0; M])
    }

    #[inline(always)]
    pub(crate) fn u8(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    #[inline(always)]
    pub(crate) fn u16(&self, at: usize) -> u16 {
        let value = u16::from_ne_bytes(self.array(at));
        if self.order == Order::NATIVE {
            value
        } else {
            value.swap_bytes()
        }
    }

    #[inline(always)]
    pub(crate) fn u32(&self, at: usize) -> u32 {
        let value = u32::from_ne_bytes(self.array(at));
        if self.order == Order::NATIVE {
            value
        } else {
            value.swap_bytes()
        }
    }

    #[inline(always)]
    pub(crate) fn u64(&self, at: usize) -> u64 {
        let value = u64::from_ne_bytes(self.array(at));
        if self.order == Order::NATIVE {
            value
        } else {
            value.swap_bytes()
        }
    }
}

/// Where a table starts and where the bytes that can belong to it end, as offsets into the
/// image's bytes: `start <= end <= bytes.len()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    #[inline]
    pub(crate) fn length(self) -> usize {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::READS;
    use crate::Image;
    use crate::common::hostile_images::{self, LENGTH, NAME, VERSION};

    /// A hostile image costs at most one read per 8 of its bytes. A benchmark measures how long
    /// that takes.
    #[test]
    fn no_image_of_a_mebibyte_costs_more_reads_than_it_has_double_words() {
        for (what, bytes) in hostile_images::all() {
            assert_eq!(bytes.len(), LENGTH);
            READS.set(0);
            let image = Image::parse(&bytes).expect(what);
            let parsed = READS.get();
            assert!(image.lookup_version(NAME, VERSION).is_none(), "{what}");
            let reads = READS.get();
            std::println!(
                "{what}: {parsed} reads to parse, {} to look up",
                reads - parsed
            );
            assert!(reads <= LENGTH / 8, "{what}: {reads} reads");
        }
    }
}
