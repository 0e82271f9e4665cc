//! Page tables of one address space.
//!
//! All three architectures have tables of 512 words of 8 bytes; they differ in the number of levels
//! and in the bits of an entry, which [`crate::arch`] knows.

use super::frames::{Frame, PAGE};
use crate::arch;
use crate::errno::Errno;
use alloc::collections::BTreeMap;
use core::sync::atomic::Ordering;

/// The tables of an address space. What they map is held elsewhere.
pub struct Table {
    root: Frame,
    /// The tables below the root, by physical address.
    others: BTreeMap<usize, Frame>,
}

impl Table {
    /// Tables that map the kernel and nothing else.
    pub fn new() -> Result<Self, Errno> {
        let root = Frame::zeroed().ok_or(Errno::MEMORY)?;
        for (index, entry) in arch::kernel_entries() {
            root.word(index * 8).store(entry, Ordering::Relaxed);
        }
        Ok(Self {
            root,
            others: BTreeMap::new(),
        })
    }

    /// The physical address of the root.
    pub fn root(&self) -> usize {
        self.root.physical()
    }

    /// Stores the entry of the page at `address`; 0 maps nothing there.
    pub fn set(&mut self, address: usize, entry: u64) -> Result<(), Errno> {
        let mut table = self.root.physical();
        for level in (1..arch::LEVELS).rev() {
            let offset = offset_of(address, level);
            let entry = self.table(table).word(offset).load(Ordering::Relaxed);
            table = match arch::table_of(entry) {
                Some(next) => next,
                None => self.add(table, offset)?,
            };
        }
        let word = self.table(table).word(offset_of(address, 0));
        word.store(entry, Ordering::Release);
        Ok(())
    }

    fn table(&self, physical: usize) -> &Frame {
        self.others.get(&physical).unwrap_or(&self.root)
    }

    /// A new table below another.
    fn add(&mut self, above: usize, offset: usize) -> Result<usize, Errno> {
        let new = Frame::zeroed().ok_or(Errno::MEMORY)?;
        let physical = new.physical();
        // Its zeros are visible before it is: another CPU may walk the tables meanwhile.
        let entry = arch::table_entry(physical);
        self.table(above)
            .word(offset)
            .store(entry, Ordering::Release);
        self.others.insert(physical, new);
        Ok(physical)
    }
}

/// Where the entry for `address` lies in a table of this level, in bytes.
fn offset_of(address: usize, level: usize) -> usize {
    let bits = PAGE.trailing_zeros() as usize + 9 * level;
    ((address >> bits) & 511) * 8
}
