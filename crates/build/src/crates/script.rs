//! The linker script: the addresses of the code's sections and of the variables' symbols.

use crate::declaration::Declaration;
use crate::image::code::{ALIGN, CONSTANTS, TEXT, UNWIND, UNWIND_HEADER};
use vdsokit_link::{Pages, Script, Section, VARIABLE};
use vdsokit_vvar::layout::Cursor;

/// The script for code at `address` and vvar pages at `pages`.
pub(super) fn script(declaration: &Declaration, address: u64, pages: u64) -> Script<'static> {
    let mut cursor = Cursor::PAGES;
    let symbols = declaration.variables().iter().map(|variable| {
        let offset = variable.kind.with_shape(|shape| cursor.variable(&shape));
        (format!("{VARIABLE}{}", variable.name), offset)
    });
    let symbols = symbols.collect();
    let inputs = |name| format!("*({name} {name}.*)");
    Script {
        segments: &[],
        start: format!("{address:#x}"),
        sections: vec![
            Section::new(UNWIND_HEADER, format!("*({UNWIND_HEADER})")),
            Section::new(UNWIND, format!("KEEP(*({UNWIND}))")).align(8),
            Section::new(CONSTANTS, inputs(CONSTANTS)).align(ALIGN),
            Section::new(TEXT, inputs(TEXT)).align(ALIGN),
        ],
        pages: Pages {
            address: format!("{pages:#x}"),
            symbols,
            size: cursor.end(),
            bytes: None,
            segments: &[],
        },
        discarded: &[],
    }
}
