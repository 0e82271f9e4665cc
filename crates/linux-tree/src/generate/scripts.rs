//! The linker scripts: addresses, versions, and which symbols stay visible.

use super::NOTICE;
use crate::list::List;
use crate::package::Package;
use crate::tree::Layout;
use std::fmt::Write;
use vdsokit_build::code::{DECLARATION, PAGES, VARIABLE, version_node};

/// The symbol of a crate's pages in the image. C identifiers contain no dot, so no two
/// variables of any two crates share a name.
fn of_crate(name: &str) -> String {
    format!("vdsokit.{name}")
}

fn of_variable(name: &str, variable: &str) -> String {
    format!("vdsokit.{name}.{variable}")
}

/// The variables of a crate, under the names that its object leaves undefined.
pub(super) fn symbols(package: &Package) -> String {
    let name = package.name();
    let mut text = format!("/* {NOTICE} */\n");
    for entry in package.variables() {
        let variable = entry.name;
        let _ = writeln!(
            text,
            "{} = {} + {};",
            of_variable(name, variable),
            of_crate(name),
            entry.offset
        );
    }
    text
}

/// The version nodes of a crate, for a `VERSION` command.
pub(super) fn versions(package: &Package) -> String {
    let mut text = format!("/* {NOTICE} */\n");
    for of_one in package.exports.chunk_by(|a, b| a.version == b.version) {
        let names: Vec<_> = of_one.iter().map(|export| &*export.name).collect();
        text += &version_node(&of_one[0].version, &names, false);
    }
    text
}

/// Everything that a linker script exports: version nodes and symbols.
pub(crate) fn exported(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_suffix(';').or(line.strip_suffix(" {"))
    })
}

/// Options of `ld -r`: what is taken from a crate's static library, and the functions' second
/// names.
pub(super) fn link(package: &Package) -> String {
    let mut text = String::new();
    for export in &package.exports {
        let name = &export.name;
        let _ = match package.alias_of(export) {
            Some(function) => writeln!(text, "--defsym={name}={function}"),
            None => writeln!(text, "--undefined={name}"),
        };
    }
    text
}

/// Options of `objcopy`: which symbols others see, and what a variable is called in the image,
/// where another crate may have one of the same name.
pub(super) fn copy(package: &Package) -> String {
    let name = package.name();
    let mut text = format!("--remove-section={DECLARATION}\n--strip-debug\n");
    for export in &package.exports {
        let function = &export.name;
        let _ = writeln!(text, "--keep-global-symbol={function}");
        if package.alias_of(export).is_some() {
            let _ = writeln!(text, "--weaken-symbol={function}");
        }
    }
    let _ = writeln!(text, "--redefine-sym={PAGES}={}", of_crate(name));
    for entry in package.variables() {
        let variable = entry.name;
        let _ = writeln!(
            text,
            "--redefine-sym={VARIABLE}{variable}={}",
            of_variable(name, variable)
        );
    }
    text
}

/// Where the pages of all crates lie. Included before anything has a place in the image,
/// in the scripts of every image: they all lie behind the same data pages.
pub(super) fn all_symbols(list: &List, layout: Layout) -> String {
    let mut text =
        format!("/* {NOTICE} */\n#include <asm/vdsokit/pages.h>\n#if VDSOKIT_PAGES > 0\n");
    text.push_str(match layout {
        Layout::Classic => {
            "vvar_start = vvar_start - VDSOKIT_PAGES * PAGE_SIZE;\nvdsokit_pages = vvar_start;\n"
        }
        Layout::Generic { .. } => "vdsokit_pages = . - VDSOKIT_PAGES * PAGE_SIZE;\n",
    });
    // 32-bit and x32 images have the pages, as every image has all data pages, but none of
    // the functions.
    text.push_str("#ifdef BUILD_VDSO64\n");
    let mut page = 0;
    for added in &list.crates {
        let name = &added.name;
        let pages = of_crate(name);
        let _ = writeln!(text, "{pages} = vdsokit_pages + {page} * PAGE_SIZE;");
        let _ = writeln!(text, "#include <asm/vdsokit/{name}.lds.h>");
        page += added.pages;
    }
    text.push_str("#endif\n#endif\n");
    text
}

/// The version nodes of all crates.
pub(super) fn all_versions(list: &List) -> String {
    let mut text = format!("/* {NOTICE} */\n");
    for added in &list.crates {
        let _ = writeln!(text, "#include <asm/vdsokit/{}.versions.lds.h>", added.name);
    }
    text
}
