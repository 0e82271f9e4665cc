//! The two hash tables: GNU's and SysV's.
//!
//! A bucket only gives the start of a chain. The walk of a chain is bounded by the table's length,
//! so that a cyclic or unterminated chain costs at most one pass over the bytes.

use crate::constants::{EM_ALPHA, EM_S390};
use crate::data::{Class, Data, Span};

/// The hash of a name in the GNU table ("DJB", 32 bits): glibc 2.36 `elf/dl-hash.h`,
/// `_dl_new_hash`.
#[inline]
pub const fn gnu_hash(name: &[u8]) -> u32 {
    let mut hash = 5381u32;
    let mut at = 0;
    while at < name.len() {
        hash = hash.wrapping_mul(33).wrapping_add(name[at] as u32);
        at += 1;
    }
    hash
}

/// The hash of a name in the SysV table and of a version's name: System V ABI, chapter 5.
#[inline]
pub const fn sysv_hash(name: &[u8]) -> u32 {
    let mut hash = 0u32;
    let mut at = 0;
    while at < name.len() {
        hash = (hash << 4).wrapping_add(name[at] as u32);
        let top = hash & 0xf000_0000;
        hash = (hash ^ (top >> 24)) & !top;
        at += 1;
    }
    hash
}

/// A GNU hash table whose header, filter and buckets lie inside the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gnu {
    /// Never 0.
    pub(crate) bucket_count: u32,
    /// The first symbol that the table holds.
    pub(crate) first: u32,
    /// Where the Bloom filter is, after the table's four counts.
    #[cfg(feature = "std")]
    pub(crate) filter: usize,
    pub(crate) buckets: usize,
    /// The hash of symbol `first + n` is the `n`th of these; its lowest bit ends a chain.
    pub(crate) chain: Span,
}

impl Gnu {
    /// `symbols` is the most symbols that the image can have.
    #[inline(always)]
    pub(crate) fn read(data: &Data<'_>, span: Span, symbols: usize) -> Option<Self> {
        let bucket_count = data.u32(span.start)?;
        let filter_words = data.u32(span.start + 8)?;
        let filter = span.start + 16;
        let filter_size = usize::try_from(filter_words)
            .ok()?
            .checked_mul(data.class.word())?;
        let buckets = filter.checked_add(filter_size)?;
        let buckets_size = usize::try_from(bucket_count).ok()?.checked_mul(4)?;
        let start = buckets.checked_add(buckets_size)?;
        let first = data.u32(span.start + 4)?;
        let hashed = symbols.saturating_sub(usize::try_from(first).ok()?);
        let end = span.end.min(start.saturating_add(hashed.saturating_mul(4)));
        (bucket_count != 0 && start <= span.end).then_some(Self {
            bucket_count,
            first,
            #[cfg(feature = "std")]
            filter,
            buckets,
            chain: Span { start, end },
        })
    }

    #[inline]
    pub(crate) fn bucket(&self, data: &Data<'_>, index: u32) -> Option<u32> {
        data.u32(self.buckets + 4 * index as usize)
    }

    /// The hash stored for a symbol, its lowest bit set at the end of a chain.
    #[inline]
    pub(crate) fn stored(&self, data: &Data<'_>, symbol: u32) -> Option<u32> {
        let from = usize::try_from(symbol.checked_sub(self.first)?)
            .ok()?
            .checked_mul(4)?;
        let at = self.chain.start.checked_add(from)?;
        (at < self.chain.end).then(|| data.u32(at)).flatten()
    }

    /// Whether the Bloom filter accepts a name with this hash; glibc's look-up tests that first
    /// (glibc 2.36 `elf/dl-lookup.c`, `do_lookup_x`).
    #[cfg(feature = "std")]
    pub(crate) fn filter_passes(&self, data: &Data<'_>, hash: u32) -> bool {
        let bits = data.class.bits();
        let word = || {
            // The second half of the table's four counts: words in the filter, and its shift.
            let (words, shift) = (data.u32(self.filter - 8)?, data.u32(self.filter - 4)?);
            let index = (hash / bits).checked_rem(words)? as usize;
            Some((data.word(self.filter + index * data.class.word())?, shift))
        };
        let Some((word, shift)) = word() else {
            return false;
        };
        let second = hash.checked_shr(shift).unwrap_or(0);
        let mask = 1u64 << (hash % bits) | 1u64 << (second % bits);
        word & mask == mask
    }

    /// One more than the highest symbol in the table: the length of the symbol table.
    pub(crate) fn symbol_count(&self, data: &Data<'_>) -> u32 {
        let highest = (0..self.bucket_count)
            .filter_map(|index| self.bucket(data, index))
            .max()
            .unwrap_or_default();
        if highest < self.first {
            return self.first;
        }
        let mut symbol = highest;
        while let Some(stored) = self.stored(data, symbol) {
            symbol = symbol.saturating_add(1);
            if stored & 1 != 0 {
                break;
            }
        }
        symbol
    }
}

/// A SysV hash table that lies inside the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sysv {
    /// Never 0.
    pub(crate) bucket_count: u32,
    /// Entries in the chain: the length of the symbol table.
    pub(crate) chain_count: u32,
    /// Bytes of an entry: 4, or 8 on s390x and alpha.
    pub(crate) entry: usize,
    pub(crate) buckets: usize,
}

impl Sysv {
    #[inline(always)]
    pub(crate) fn read(data: &Data<'_>, span: Span, machine: u16) -> Option<Self> {
        let wide = data.class == Class::Elf64 && matches!(machine, EM_S390 | EM_ALPHA);
        // GNU ld writes 8-byte entries for these two, as their ABIs say; lld writes 4-byte ones.
        // The wrong reading makes a count of 2^32 or more out of two counts and can't fit.
        let wide_table = wide.then(|| Self::read_entries(data, span, 8)).flatten();
        wide_table.or_else(|| Self::read_entries(data, span, 4))
    }

    #[inline(always)]
    fn read_entries(data: &Data<'_>, span: Span, entry: usize) -> Option<Self> {
        let count = |index: usize| {
            let at = span.start + index * entry;
            let value = if entry == 8 {
                data.u64(at)?
            } else {
                u64::from(data.u32(at)?)
            };
            u32::try_from(value).ok()
        };
        let (bucket_count, chain_count) = (count(0)?, count(1)?);
        let entries = usize::try_from(u64::from(bucket_count) + u64::from(chain_count) + 2).ok()?;
        let fits = entries.checked_mul(entry)? <= span.length();
        (bucket_count != 0 && fits).then_some(Self {
            bucket_count,
            chain_count,
            entry,
            buckets: span.start + 2 * entry,
        })
    }

    /// Entry `index` of buckets and chain, which follow each other.
    #[inline]
    fn entry(&self, data: &Data<'_>, index: usize) -> Option<u32> {
        let at = self.buckets + index * self.entry;
        if self.entry == 8 {
            u32::try_from(data.u64(at)?).ok()
        } else {
            data.u32(at)
        }
    }

    /// The first symbol of the chain for a hash; 0 is none.
    #[inline]
    pub(crate) fn bucket(&self, data: &Data<'_>, hash: u32) -> Option<u32> {
        self.entry(data, (hash % self.bucket_count) as usize)
    }

    /// The symbol after `symbol` in its chain; 0 is none.
    #[inline]
    pub(crate) fn next(&self, data: &Data<'_>, symbol: u32) -> Option<u32> {
        if symbol >= self.chain_count {
            return None;
        }
        self.entry(data, self.bucket_count as usize + symbol as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that Go's runtime has compiled in (`src/runtime/vdso_linux_amd64.go`).
    #[test]
    fn hashes_are_those_that_go_has_compiled_in() {
        assert_eq!(sysv_hash(b"__vdso_gettimeofday"), 0x0315_ca59);
        assert_eq!(gnu_hash(b"__vdso_gettimeofday"), 0xb01b_ca00);
        assert_eq!(sysv_hash(b"__vdso_clock_gettime"), 0x0d35_ec75);
        assert_eq!(gnu_hash(b"__vdso_clock_gettime"), 0x6e43_a318);
        assert_eq!(sysv_hash(b"LINUX_2.6"), 0x03ae_75f6);
    }
}
