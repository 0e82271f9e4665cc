//! The C source of a crate: its pages as they are at boot, and their update.

use super::NOTICE;
use crate::package::Package;
use std::fmt::{self, Write};

pub(super) fn source(package: &Package) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_source(&mut text, package);
    text
}

fn write_source(text: &mut String, package: &Package) -> fmt::Result {
    let name = package.name();
    writeln!(text, "/* {NOTICE} */")?;
    writeln!(
        text,
        "#include <linux/linkage.h>\n#include <linux/timekeeper_internal.h>"
    )?;
    for include in &package.hooks.include {
        writeln!(text, "#include <{include}>")?;
    }
    writeln!(
        text,
        "#include <asm/vdsokit/{name}.h>\n\n\
         union vdsokit_{name}_pages vdsokit_{name}_pages __page_aligned_data = {{\n\t.bytes = {{"
    )?;
    for (index, line) in package.contents.chunks(8).enumerate() {
        if line.iter().any(|byte| *byte != 0) {
            let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:#04x}")).collect();
            writeln!(text, "\t\t[{}] = {},", index * 8, bytes.join(", "))?;
        }
    }
    writeln!(
        text,
        "\t}},\n}};\n\n\
         /* With the timekeeper's lock held and interrupts off: nothing here may ask for the time. */\n\
         void vdsokit_{name}_update(const struct timekeeper *tk)\n{{"
    )?;
    for (variable, expression) in &package.hooks.update {
        writeln!(text, "\tvdsokit_{name}_set_{variable}({expression});")?;
    }
    writeln!(text, "}}")
}
