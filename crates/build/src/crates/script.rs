//! The linker script: the addresses of the code's sections and of the variables' symbols.

use super::compile::DECLARATION;
use crate::declaration::Declaration;
use crate::image::code::{ALIGN, CONSTANTS, TEXT, UNWIND, UNWIND_HEADER};
use std::fmt::Write;
use vdsokit_vvar::layout::Cursor;

/// The symbol at which the vvar pages begin.
pub const PAGES: &str = "__vdsokit_vvar";
/// The prefix of a variable's symbol.
pub const VARIABLE: &str = "__vvar_";

/// The script for code at `address` and vvar pages at `pages`.
pub(super) fn script(declaration: &Declaration, address: u64, pages: u64) -> String {
    let mut cursor = Cursor::PAGES;
    let mut symbols = String::new();
    for variable in declaration.variables() {
        let offset = variable.kind.with_shape(|shape| cursor.variable(&shape));
        let name = &variable.name;
        // Writing to a string does not fail.
        let _ = writeln!(symbols, "    HIDDEN({VARIABLE}{name} = . + {offset});");
    }
    let size = cursor.end();
    format!(
        "SECTIONS {{
  . = {address:#x};
  {UNWIND_HEADER} : {{ *({UNWIND_HEADER}) }}
  {UNWIND} : ALIGN(8) {{ KEEP(*({UNWIND})) }}
  {CONSTANTS} : ALIGN({ALIGN}) {{ *({CONSTANTS} {CONSTANTS}.*) }}
  {TEXT} : ALIGN({ALIGN}) {{ *({TEXT} {TEXT}.*) }}
  .vvar {pages:#x} (NOLOAD) : {{
    HIDDEN({PAGES} = .);
{symbols}    . = . + {size};
  }}
  /DISCARD/ : {{ *({DECLARATION} .comment .note .note.* .debug*) }}
}}
"
    )
}
