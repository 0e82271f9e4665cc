//! The getters: names, versions and code.

use super::code::{ALIGN, Code, Export, Section, TEXT, UNWIND, UNWIND_HEADER};
use super::unwind;
use crate::arch::{Getter, Target};
use crate::declaration::{Declaration, FUNCTIONS};
use vdsokit_vvar::layout::Cursor;

/// The functions of an image that has only variables.
pub(super) struct Functions {
    pub(super) exports: Vec<Export>,
    /// Each getter in the order of the code, with its offset in the text and its size.
    list: Vec<(Getter, usize, usize)>,
    /// The same functions for the unwind tables.
    covers: unwind::Covers,
    /// Bytes of the text.
    size: usize,
    target: &'static Target,
}

/// The getters of [`FUNCTIONS`].
const EVERY: [Getter; FUNCTIONS.len()] = [
    Getter::STATE,
    Getter::UPDATED,
    Getter::Condition,
    Getter::STALE_AFTER,
];

impl Functions {
    pub(super) fn new(declaration: &Declaration, target: &'static Target) -> Self {
        let versions = declaration.versions();
        let mut functions = Self {
            exports: Vec::new(),
            list: Vec::new(),
            covers: unwind::Covers::default(),
            size: 0,
            target,
        };
        let prefix = &declaration.prefix;
        for ((name, _), getter) in FUNCTIONS.into_iter().zip(EVERY) {
            functions.add(format!("{prefix}{name}"), 0, false, getter);
        }
        let mut cursor = Cursor::PAGES;
        for variable in &declaration.variables {
            let version = versions
                .iter()
                .position(|version| *version == variable.version);
            let getter = variable.kind.with_shape(|shape| {
                let offset = cursor.variable(&shape);
                Getter::of(&shape, offset)
            });
            let name = format!("{prefix}{}", variable.name);
            functions.add(
                name,
                version.unwrap_or_default(),
                variable.interpose,
                getter,
            );
        }
        functions
    }

    /// Places a function: the length of its code does not depend on its address.
    fn add(&mut self, name: String, version: usize, interpose: bool, getter: Getter) {
        let mut code = Vec::new();
        let emitted = (self.target.emit)(&mut code, 0, 0, &getter);
        let at = self.size.next_multiple_of(self.target.function_align);
        self.size = at + code.len();
        self.covers.add(at, code.len(), emitted);
        self.list.push((getter, at, code.len()));
        self.exports.push(Export {
            name,
            version,
            weak: false,
            hidden: false,
            interpose,
        });
    }

    /// The code at `address`, with the vvar pages at `pages`.
    pub(super) fn code(&self, address: u64, pages: u64) -> Code {
        let unwind_at = (address + self.covers.header_size() as u64).next_multiple_of(8);
        let unwind_size = self.covers.size(&self.target.unwind) as u64;
        let text_at = (unwind_at + unwind_size).next_multiple_of(ALIGN);
        let mut text = Vec::with_capacity(self.size);
        for (getter, at, _) in &self.list {
            let filler = self.target.filler.iter().cycle();
            text.extend(filler.take(at - text.len()));
            (self.target.emit)(&mut text, text_at + *at as u64, pages, getter);
        }
        let tables = unwind::Tables {
            header: address,
            frames: unwind_at,
            text: text_at,
            covers: &self.covers,
        };
        let section = |name, address, align, bytes| Section {
            name,
            address,
            align,
            bytes,
        };
        Code {
            places: self
                .list
                .iter()
                .map(|(_, at, size)| (text_at + *at as u64, *size as u64))
                .collect(),
            sections: vec![
                section(UNWIND_HEADER, address, 4, tables.header()),
                section(UNWIND, unwind_at, 8, tables.frames(&self.target.unwind)),
                section(TEXT, text_at, ALIGN, text),
            ],
        }
    }
}
