//! A small ELF writer: images of every class and byte order, with and without each table, made
//! without a linker. By default they have the layout of an own image.
#![allow(dead_code, reason = "each test file uses the part it needs")]

pub(crate) mod hostile_images;

use vdsokit_elf::constants::*;
use vdsokit_elf::{Class, Order, gnu_hash, sysv_hash};

/// A symbol to write.
#[derive(Clone, Debug)]
pub(crate) struct Sym {
    pub(crate) name: &'static str,
    /// Offset in the text, or an absolute value for `SHN_ABS`.
    pub(crate) at: u64,
    pub(crate) size: u64,
    pub(crate) kind: u8,
    pub(crate) binding: u8,
    pub(crate) section: u16,
    /// Index into `Recipe::versions`, and whether it is hidden; `None` is the global version.
    pub(crate) version: Option<(usize, bool)>,
}

pub(crate) fn function(name: &'static str, at: u64, version: usize) -> Sym {
    Sym {
        name,
        at,
        size: 16,
        kind: STT_FUNC,
        binding: STB_GLOBAL,
        section: 1,
        version: Some((version, false)),
    }
}

/// What to write.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) class: Class,
    pub(crate) order: Order,
    pub(crate) machine: u16,
    pub(crate) flags: u32,
    pub(crate) page: u64,
    pub(crate) vaddr: u64,
    pub(crate) soname: Option<&'static str>,
    pub(crate) versions: Vec<&'static str>,
    pub(crate) symbols: Vec<Sym>,
    pub(crate) gnu_hash: bool,
    /// Bytes of an entry of the SysV table.
    pub(crate) sysv_hash: Option<usize>,
    pub(crate) build_id: bool,
    pub(crate) stack: Option<u32>,
    pub(crate) vvar: bool,
    pub(crate) text_flags: u32,
    pub(crate) dynamic_flags: u32,
    /// More dynamic entries.
    pub(crate) dynamic: Vec<(u64, u64)>,
    /// More program headers: type, flags; they cover the text.
    pub(crate) segments: Vec<(u32, u32)>,
    /// Added to every address in the dynamic section, as a relocating loader does.
    pub(crate) relocated_by: u64,
    pub(crate) strsz: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            class: Class::Elf64,
            order: Order::Little,
            machine: EM_X86_64,
            flags: 0,
            page: 0x1000,
            vaddr: 0x1000,
            soname: Some("libtest.so.1"),
            versions: vec!["TEST_1.0", "TEST_2.0"],
            symbols: vec![
                function("test_one", 0, 0),
                function("test_two", 16, 0),
                Sym {
                    binding: STB_WEAK,
                    ..function("two", 16, 0)
                },
                Sym {
                    version: Some((0, true)),
                    ..function("test_three", 32, 0)
                },
                Sym {
                    version: Some((1, false)),
                    ..function("test_three", 48, 1)
                },
                Sym {
                    version: Some((0, true)),
                    ..function("test_old", 48, 0)
                },
            ],
            gnu_hash: true,
            sysv_hash: Some(4),
            build_id: true,
            stack: Some(PF_R | PF_W),
            vvar: true,
            text_flags: PF_R | PF_X,
            dynamic_flags: PF_R,
            dynamic: vec![],
            segments: vec![],
            relocated_by: 0,
            strsz: true,
        }
    }
}

/// Bytes in an order and class.
struct Out {
    bytes: Vec<u8>,
    class: Class,
    order: Order,
}

impl Out {
    fn put<const N: usize>(&mut self, little: [u8; N]) {
        let mut value = little;
        if self.order == Order::Big {
            value.reverse();
        }
        self.bytes.extend(value);
    }
    fn u16(&mut self, value: u16) {
        self.put(value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }
    fn word(&mut self, value: u64) {
        match self.class {
            Class::Elf32 => self.put((value as u32).to_le_bytes()),
            Class::Elf64 => self.put(value.to_le_bytes()),
        }
    }
    fn entry(&mut self, size: usize, value: u32) {
        if size == 8 {
            self.put(u64::from(value).to_le_bytes())
        } else {
            self.u32(value)
        }
    }
    fn align(&mut self, to: usize) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
        self.bytes.len()
    }
}

/// A string table.
#[derive(Default)]
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        if self.0.is_empty() {
            self.0.push(0);
        }
        let at = self.0.len();
        self.0.extend(text.as_bytes());
        self.0.push(0);
        at as u32
    }
}

impl Recipe {
    pub(crate) fn big(self) -> Self {
        Self {
            order: Order::Big,
            ..self
        }
    }

    /// The file's bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        // The empty symbol, then the others in the order of their GNU buckets.
        let buckets = 2u32;
        let mut symbols = self.symbols.clone();
        symbols.sort_by_key(|symbol| gnu_hash(symbol.name.as_bytes()) % buckets);

        let mut out = Out {
            bytes: vec![],
            class: self.class,
            order: self.order,
        };
        let mut strings = Strings::default();
        let word = self.class.word();
        let symbol_size = if self.class == Class::Elf64 { 24 } else { 16 };
        let segment_size = if self.class == Class::Elf64 { 56 } else { 32 };
        let extra = usize::from(self.vvar)
            + usize::from(self.build_id)
            + usize::from(self.stack.is_some())
            + self.segments.len();
        let count = 2 + extra;
        let header_size = 40 + 3 * word;
        out.bytes.resize(header_size + count * segment_size, 0);

        let symtab = out.align(8);
        out.bytes.resize(symtab + symbol_size, 0);
        let symbol_table_base = self.vaddr;
        let mut patches = vec![];
        for symbol in &symbols {
            let name = strings.add(symbol.name);
            let info = symbol.binding << 4 | symbol.kind;
            // The value is known when the text is placed.
            out.u32(name);
            if self.class == Class::Elf32 {
                patches.push((out.bytes.len(), symbol.clone()));
                out.word(0);
                out.u32(symbol.size as u32);
                out.bytes.extend([info, 0]);
                out.u16(symbol.section);
            } else {
                out.bytes.extend([info, 0]);
                out.u16(symbol.section);
                patches.push((out.bytes.len(), symbol.clone()));
                out.word(0);
                out.word(symbol.size);
            }
        }
        let names: Vec<&str> = std::iter::once("")
            .chain(symbols.iter().map(|symbol| symbol.name))
            .collect();

        let gnu = out.align(8);
        if self.gnu_hash {
            let hashes: Vec<u32> = names[1..].iter().map(|n| gnu_hash(n.as_bytes())).collect();
            let bits = self.class.bits();
            let shift = 5;
            let filter = hashes.iter().fold(0u64, |filter, hash| {
                filter | 1 << (hash % bits) | 1 << ((hash >> shift) % bits)
            });
            for value in [buckets, 1, 1, shift] {
                out.u32(value);
            }
            out.word(filter);
            for bucket in 0..buckets {
                let first = hashes.iter().position(|hash| hash % buckets == bucket);
                out.u32(first.map_or(0, |index| index as u32 + 1));
            }
            for (index, hash) in hashes.iter().enumerate() {
                let next = hashes.get(index + 1).map(|next| next % buckets);
                let last = next != Some(hash % buckets);
                out.u32(hash & !1 | u32::from(last));
            }
        }

        let sysv = out.align(8);
        if let Some(entry) = self.sysv_hash {
            let buckets = 3u32;
            let mut first = vec![0u32; buckets as usize];
            let mut chain = vec![0u32; names.len()];
            for (index, name) in names.iter().enumerate().skip(1).rev() {
                let bucket = (sysv_hash(name.as_bytes()) % buckets) as usize;
                chain[index] = first[bucket];
                first[bucket] = index as u32;
            }
            out.entry(entry, buckets);
            out.entry(entry, names.len() as u32);
            for value in first.into_iter().chain(chain) {
                out.entry(entry, value);
            }
        }

        let versym = out.align(8);
        let has_versions = !self.versions.is_empty();
        let verdef = if has_versions {
            out.u16(0);
            for symbol in &symbols {
                let (index, hidden) = symbol.version.map_or((1, false), |v| (v.0 as u16 + 2, v.1));
                out.u16(index | if hidden { VERSYM_HIDDEN } else { 0 });
            }
            let verdef = out.align(8);
            let base = self.soname.unwrap_or("base");
            let all: Vec<&str> = std::iter::once(base)
                .chain(self.versions.iter().copied())
                .collect();
            for (index, name) in all.iter().enumerate() {
                out.u16(1);
                out.u16(if index == 0 { VER_FLG_BASE } else { 0 });
                out.u16(index as u16 + 1);
                out.u16(1);
                out.u32(sysv_hash(name.as_bytes()));
                out.u32(20);
                out.u32(if index + 1 == all.len() { 0 } else { 28 });
                out.u32(strings.add(name));
                out.u32(0);
            }
            Some(verdef)
        } else {
            None
        };

        let note = out.align(8);
        if self.build_id {
            for value in [4, 20, NT_GNU_BUILD_ID] {
                out.u32(value);
            }
            out.bytes.extend(b"GNU\0");
            out.bytes.extend([0xab; 20]);
        }
        let note_size = out.bytes.len() - note;

        let soname = self.soname.map(|soname| strings.add(soname));
        let strtab = out.align(8);
        out.bytes.extend(&strings.0);

        let dynamic = out.align(8);
        let address = |offset: usize| self.vaddr + self.relocated_by + offset as u64;
        let mut entries = vec![
            (DT_STRTAB, address(strtab)),
            (DT_SYMTAB, address(symtab)),
            (DT_SYMENT, symbol_size as u64),
        ];
        if self.strsz {
            entries.push((DT_STRSZ, strings.0.len() as u64));
        }
        entries.extend(soname.map(|soname| (DT_SONAME, u64::from(soname))));
        entries.extend(self.gnu_hash.then(|| (DT_GNU_HASH, address(gnu))));
        entries.extend(self.sysv_hash.map(|_| (DT_HASH, address(sysv))));
        if let Some(verdef) = verdef {
            entries.push((DT_VERSYM, address(versym)));
            entries.push((DT_VERDEF, address(verdef)));
            entries.push((DT_VERDEFNUM, self.versions.len() as u64 + 1));
        }
        entries.extend(&self.dynamic);
        entries.push((DT_NULL, 0));
        for (tag, value) in &entries {
            out.word(*tag);
            out.word(*value);
        }
        let dynamic_size = out.bytes.len() - dynamic;

        let text = out.align(16);
        out.bytes.resize(text + 64, 0xc3);
        let text_end = out.bytes.len();
        let vvar = if self.vvar {
            let vvar = out.align(self.page as usize);
            out.bytes.resize(vvar + self.page as usize, 0);
            Some(vvar)
        } else {
            None
        };

        for (at, symbol) in patches {
            let value = match symbol.section {
                SHN_ABS | SHN_UNDEF => symbol.at,
                _ => symbol_table_base + text as u64 + symbol.at,
            };
            self.patch(&mut out, at, value);
        }
        let mut segments = vec![(PT_LOAD, self.text_flags, 0, text_end, self.page)];
        segments.extend(vvar.map(|at| (PT_LOAD, PF_R, at, self.page as usize, self.page)));
        segments.push((PT_DYNAMIC, self.dynamic_flags, dynamic, dynamic_size, 8));
        segments.extend(self.build_id.then_some((PT_NOTE, PF_R, note, note_size, 4)));
        segments.extend(
            self.segments
                .iter()
                .map(|&(kind, flags)| (kind, flags, text, 16, 1)),
        );
        let mut headers = self.header(count as u16, segment_size as u16);
        for (kind, flags, offset, size, align) in segments {
            self.segment(&mut headers, kind, flags, offset as u64, size as u64, align);
        }
        if let Some(flags) = self.stack {
            self.segment(&mut headers, PT_GNU_STACK, flags, 0, 0, 16);
        }
        out.bytes[..headers.bytes.len()].copy_from_slice(&headers.bytes);
        out.bytes
    }

    fn patch(&self, out: &mut Out, at: usize, value: u64) {
        let mut word = Out {
            bytes: vec![],
            class: self.class,
            order: self.order,
        };
        word.word(value);
        out.bytes[at..at + word.bytes.len()].copy_from_slice(&word.bytes);
    }

    fn header(&self, count: u16, segment_size: u16) -> Out {
        let mut out = Out {
            bytes: vec![],
            class: self.class,
            order: self.order,
        };
        out.bytes.extend(b"\x7fELF");
        out.bytes
            .push(if self.class == Class::Elf64 { 2 } else { 1 });
        out.bytes
            .push(if self.order == Order::Little { 1 } else { 2 });
        out.bytes.push(1);
        out.bytes.resize(16, 0);
        out.u16(ET_DYN);
        out.u16(self.machine);
        out.u32(1);
        let size = 40 + 3 * self.class.word() as u64;
        for value in [0, size, 0] {
            out.word(value);
        }
        out.u32(self.flags);
        for value in [size as u16, segment_size, count, 64, 0, 0] {
            out.u16(value);
        }
        out
    }

    fn segment(&self, out: &mut Out, kind: u32, flags: u32, offset: u64, size: u64, align: u64) {
        let vaddr = if kind == PT_GNU_STACK {
            0
        } else {
            self.vaddr + offset
        };
        out.u32(kind);
        if self.class == Class::Elf64 {
            out.u32(flags);
        }
        for value in [offset, vaddr, vaddr, size, size] {
            out.word(value);
        }
        if self.class == Class::Elf32 {
            out.u32(flags);
        }
        out.word(align);
    }
}
