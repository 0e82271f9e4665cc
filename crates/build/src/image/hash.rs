//! The order of the dynamic symbols, which the GNU hash table dictates: by bucket.

use object::elf;

/// Which bits of a hash the Bloom filter's second probe uses: those above the bits that
/// the first one and the choice of a bucket do.
pub(super) const BLOOM_SHIFT: u32 = 26;

/// Sizes of the tables, and the order of the symbols.
pub(super) struct Buckets {
    /// Buckets of both tables: one for each symbol, so that chains stay short however
    /// many symbols there are.
    pub(super) count: u32,
    /// Words of the Bloom filter, each as large as an address, a power of two: at least 8 bits for each symbol.
    pub(super) bloom: u32,
    /// Symbols in the order of their buckets.
    pub(super) order: Vec<usize>,
    hashes: Vec<u32>,
}

impl Buckets {
    /// For these names, and a file of 64 or 32 bits.
    pub(super) fn new<'n>(names: impl ExactSizeIterator<Item = &'n str>, is_64: bool) -> Self {
        let symbols = names.len();
        // Odd, so that names that differ in few letters spread.
        let count = symbols as u32 | 1;
        let word = if is_64 { 64 } else { 32 };
        let bloom = (symbols * 8).div_ceil(word).next_power_of_two() as u32;
        let hashes: Vec<u32> = names.map(|name| elf::gnu_hash(name.as_bytes())).collect();
        let mut order: Vec<usize> = (0..symbols).collect();
        order.sort_by_key(|index| hashes[*index] % count);
        Self {
            count,
            bloom,
            order,
            hashes,
        }
    }

    /// The hash of the symbol at `index` of the order.
    pub(super) fn gnu_hash(&self, index: usize) -> u32 {
        self.hashes[self.order[index]]
    }
}
