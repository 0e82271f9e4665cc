//! What the stub of every architecture reads: a [`Block`], the files to map, and the words to
//! write into them. `struct stat` begins with `st_dev` and `st_ino` on all of them.

/// The [`Entry::source`] of anonymous memory: as a descriptor, what mmap(2) takes for it.
pub(crate) const ANONYMOUS: u64 = u64::MAX;

/// One range to map. An array of them follows a [`Block`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Entry {
    /// A descriptor (below 4096), the address of a path to open, or [`ANONYMOUS`].
    pub(crate) source: u64,
    /// `st_dev` that the opened file must have: in another pid namespace a path into /proc names
    /// a file of another process.
    pub(crate) device: u64,
    /// `st_ino` that the opened file must have.
    pub(crate) inode: u64,
    /// Where to map, in bytes from the address of the first entry.
    pub(crate) distance: u64,
    pub(crate) length: u64,
    pub(crate) protection: u64,
    pub(crate) flags: u64,
    pub(crate) offset: u64,
    /// How many [`Word`]s are written once it is mapped.
    pub(crate) words: u64,
    /// The address of the first of them.
    pub(crate) first_word: u64,
    /// The protection to set when they are written. Not used if there are none.
    pub(crate) becomes: u64,
}

/// A word to be written into what has been mapped.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    /// Where, in bytes from the address of the first entry.
    pub(crate) distance: u64,
    pub(crate) value: u64,
    /// All ones: the address of the first entry is added to the value. Otherwise 0.
    pub(crate) is_relative: u64,
}

/// The input of the stub, followed by the entries.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Block {
    /// How many entries follow.
    pub(crate) count: u64,
    /// Where to write the address of the first entry when everything is mapped; the stub then
    /// continues with the registers in `frame`. 0: it stops instead.
    pub(crate) slot: u64,
    /// The address of the registers ([`frame`]).
    pub(crate) frame: u64,
    /// Room for a `struct stat`, which has 144 bytes or fewer.
    pub(crate) stat: [u64; 18],
    /// A `struct prctl_mm_map` with the auxiliary vector for the kernel's copy; its first word is
    /// 0 if the copy is not to be changed.
    pub(crate) saved: MemoryMap,
}

/// A `struct prctl_mm_map` (include/uapi/linux/prctl.h): two members of 32 bits are one word.
pub(crate) type MemoryMap = [u64; 13];

/// The bytes of a block, its entries and their words in the memory of the process.
pub(crate) fn block_bytes(block: &Block, entries: &[Entry], words: &[Word]) -> Vec<u8> {
    let &Block {
        count,
        slot,
        frame,
        stat,
        saved,
    } = block;
    let entries = entries.iter().flat_map(|entry| {
        let &Entry {
            source,
            device,
            inode,
            distance,
            length,
            protection,
            flags,
            offset,
            words,
            first_word,
            becomes,
        } = entry;
        [
            source, device, inode, distance, length, protection, flags, offset, words, first_word,
            becomes,
        ]
    });
    let words = words.iter().flat_map(|word| {
        let &Word {
            distance,
            value,
            is_relative,
        } = word;
        [distance, value, is_relative]
    });
    bytes(
        [count, slot, frame]
            .into_iter()
            .chain(stat)
            .chain(saved)
            .chain(entries)
            .chain(words),
    )
}

/// The bytes of words in memory.
pub(super) fn bytes(words: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 << 10);
    words.for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
    bytes
}
