//! The exported functions: names, versions, and code.

use crate::arch::{Getter, Target};
use crate::declaration::{Declaration, FUNCTIONS};
use vdsokit_vvar::layout::Cursor;

/// One exported function.
pub(super) struct Function {
    pub(super) name: String,
    /// Which of the version nodes.
    pub(super) version: usize,
    pub(super) getter: Getter,
    /// Bytes from the start of the text.
    pub(super) at: usize,
    pub(super) size: usize,
}

/// All of them, in the order in which their code lies.
pub(super) struct Functions {
    pub(super) list: Vec<Function>,
    /// Bytes of the text.
    pub(super) size: usize,
    target: &'static Target,
}

impl Functions {
    pub(super) fn new(
        declaration: &Declaration,
        versions: &[&str],
        target: &'static Target,
    ) -> Self {
        let function = |name: &str, version: usize, getter| Function {
            name: format!("{}{name}", declaration.prefix),
            version,
            getter,
            at: 0,
            size: 0,
        };
        let own = FUNCTIONS.into_iter().zip([Getter::STATE, Getter::UPDATED]);
        let mut list: Vec<_> = own
            .map(|(name, getter)| function(name, 0, getter))
            .collect();
        let mut cursor = Cursor::PAGES;
        for variable in &declaration.variables {
            let version = versions
                .iter()
                .position(|version| *version == variable.version);
            let getter = variable.kind.with_shape(|shape| {
                let offset = cursor.variable(&shape);
                Getter::of(&shape, offset)
            });
            list.push(function(
                &variable.name,
                version.unwrap_or_default(),
                getter,
            ));
        }
        let mut functions = Self {
            list,
            size: 0,
            target,
        };
        functions.place();
        functions
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.list.iter().map(|function| function.name.as_str())
    }

    /// Gives each function its place: code has the same length wherever it lies.
    fn place(&mut self) {
        let mut code = Vec::new();
        for function in &mut self.list {
            code.clear();
            (self.target.emit)(&mut code, 0, 0, &function.getter);
            function.at = self.size.next_multiple_of(self.target.function_align);
            function.size = code.len();
            self.size = function.at + function.size;
        }
    }

    /// The text, lying at `address`, with the vvar pages at `pages`.
    pub(super) fn code(&self, address: u64, pages: u64) -> Vec<u8> {
        let mut code = Vec::with_capacity(self.size);
        for function in &self.list {
            let filler = self.target.filler.iter().cycle();
            code.extend(filler.take(function.at - code.len()));
            let here = address + function.at as u64;
            (self.target.emit)(&mut code, here, pages, &function.getter);
        }
        code
    }
}
