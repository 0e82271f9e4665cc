//! Finding a symbol by name, version and file.

use crate::constants::VERSYM_HIDDEN;
use crate::hash::{gnu_hash, sysv_hash};
use crate::image::Image;
use crate::symbol::{Entry, Symbol};
use crate::version::is_string;

/// The most symbols that a look-up compares. A chain in a table that a linker wrote has a handful;
/// this bounds the cost of a hostile image.
pub const MAX_STEPS: u32 = 16384;

impl<'a> Image<'a> {
    /// The symbol with this name: its default version, or where it has none, any version.
    pub fn lookup(&self, name: &str) -> Option<Symbol<'a>> {
        let mut hidden = None;
        let found = self.find(name.as_bytes(), |index, entry| {
            let is_hidden = self.has_versions()
                && self
                    .version_entry(index)
                    .is_some_and(|stated| stated & VERSYM_HIDDEN != 0);
            if is_hidden && hidden.is_none() {
                hidden = Some((index, *entry));
            }
            !is_hidden
        });
        found
            .or(hidden)
            .map(|(index, entry)| self.symbol_from(index, &entry))
    }

    /// The symbol with this name and version. In an image without versions, the one with this
    /// name, as in glibc, musl and Go.
    #[inline]
    pub fn lookup_version(&self, name: &str, version: &str) -> Option<Symbol<'a>> {
        let wanted = if self.has_versions() {
            Some(self.find_version(|found| is_string(found.name, version.as_bytes()))?)
        } else {
            None
        };
        let (index, entry) = self.find(name.as_bytes(), |index, _| match wanted {
            Some(wanted) => self
                .version_entry(index)
                .is_some_and(|stated| stated & !VERSYM_HIDDEN == wanted.index),
            None => true,
        })?;
        Some(self.symbol_with(index, &entry, |_| wanted))
    }

    /// The symbol with this name and version, in the file that defines the version: `file` has
    /// to be the name of the base definition, or the soname where there is none.
    ///
    /// Two images may each define a version of the same name; the file tells them apart.
    pub fn lookup_in_file(&self, name: &str, version: &str, file: &str) -> Option<Symbol<'a>> {
        let defined_in = self.base_name().or_else(|| self.soname())?;
        if defined_in != file {
            return None;
        }
        self.lookup_version(name, version)
    }

    /// The first symbol of this name that `accept` takes.
    #[inline]
    fn find(
        &self,
        name: &[u8],
        mut accept: impl FnMut(u32, &Entry) -> bool,
    ) -> Option<(u32, Entry)> {
        let mut matches = |index: u32| -> Option<(u32, Entry)> {
            let entry = self.symbol_entry(index)?;
            let is_it = entry.is_candidate()
                && self
                    .string_tail(u64::from(entry.name))
                    .is_some_and(|tail| is_string(tail, name))
                && accept(index, &entry);
            is_it.then_some((index, entry))
        };
        if self.gnu.is_some() {
            self.gnu_chain(name, &mut matches)
        } else if self.sysv.is_some() {
            self.sysv_chain(name, &mut matches)
        } else {
            (0..self.symbol_count().min(MAX_STEPS)).find_map(matches)
        }
    }

    /// Walks the GNU table's chain for a name until `matches` yields something.
    ///
    /// The Bloom filter is not read: it saves the read of a bucket when the name is missing, and
    /// costs another cache line when it is present.
    #[inline]
    fn gnu_chain<T>(&self, name: &[u8], mut matches: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let table = self.gnu.as_ref()?;
        let hash = gnu_hash(name);
        let mut index = table.bucket(&self.data, hash % table.bucket_count)?;
        // Ends at the chain's last entry, or with `None` at the end of the table's bytes.
        for _ in 0..MAX_STEPS {
            let stored = table.stored(&self.data, index)?;
            if stored | 1 == hash | 1 {
                if let Some(found) = matches(index) {
                    return Some(found);
                }
            }
            if stored & 1 != 0 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }

    /// Walks the SysV table's chain for a name until `matches` yields something.
    #[inline]
    fn sysv_chain<T>(&self, name: &[u8], mut matches: impl FnMut(u32) -> Option<T>) -> Option<T> {
        let table = self.sysv.as_ref()?;
        let mut index = table.bucket(&self.data, sysv_hash(name))?;
        // A chain has no symbol twice unless it is cyclic.
        for _ in 0..table.chain_count.min(MAX_STEPS) {
            if index == 0 {
                return None;
            }
            if let Some(found) = matches(index) {
                return Some(found);
            }
            index = table.next(&self.data, index)?;
        }
        None
    }
}
