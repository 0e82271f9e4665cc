//! Writing the linker script and the version script.
//!
//! The caller describes the sections, in their order; the vvar pages, their symbols and what no image
//! contains are the same for all.

use crate::DECLARATION;
use std::borrow::Cow;
use std::fmt;

/// The symbol at which the vvar pages begin.
pub const PAGES: &str = "__vdsokit_vvar";
/// The prefix of a variable's symbol.
pub const VARIABLE: &str = "__vvar_";

/// The input sections that no image contains.
const DISCARDED: [&str; 6] = [
    DECLARATION,
    ".comment",
    ".note",
    ".note.*",
    ".debug*",
    ".riscv.attributes",
];

/// A linker script: sections from the address `start` on, and the vvar pages.
///
/// [`Display`](fmt::Display) writes it.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    /// The program headers: the name of each, and its type and flags as in a `PHDRS` command. Without
    /// any, the linker chooses them.
    pub segments: &'a [(&'a str, &'a str)],
    /// The address of the first section, an expression.
    pub start: String,
    /// The sections in front of the pages.
    pub sections: Vec<Section<'a>>,
    /// The vvar pages.
    pub pages: Pages<'a>,
    /// Input sections that are left out, beside those that no image contains.
    pub discarded: &'a [&'a str],
}

/// A section of the linker's output.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    name: &'a str,
    align: u64,
    contents: Cow<'a, str>,
    segments: &'a [&'a str],
}

impl<'a> Section<'a> {
    /// The section `name` with `contents`: input sections, data and symbols.
    pub fn new(name: &'a str, contents: impl Into<Cow<'a, str>>) -> Self {
        Self {
            name,
            align: 1,
            contents: contents.into(),
            segments: &[],
        }
    }

    /// With an address that is a multiple of this.
    #[must_use]
    pub fn align(mut self, align: u64) -> Self {
        self.align = align;
        self
    }

    /// In these program headers.
    #[must_use]
    pub fn segments(mut self, segments: &'a [&'a str]) -> Self {
        self.segments = segments;
        self
    }
}

/// The vvar pages, the section `.vvar`.
#[derive(Clone, Debug)]
pub struct Pages<'a> {
    /// Their address, an expression.
    pub address: String,
    /// The symbols in them, and the offset of each.
    pub symbols: Vec<(String, usize)>,
    /// How many bytes of memory they are.
    pub size: usize,
    /// Their first bytes, the others being zero; `None` where the linker writes none of them.
    pub bytes: Option<&'a [u8]>,
    /// The program headers that they are in.
    pub segments: &'a [&'a str],
}

impl fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.segments.is_empty() {
            f.write_str("PHDRS {\n")?;
            for (name, kind) in self.segments {
                writeln!(f, "  {name} {kind};")?;
            }
            f.write_str("}\n")?;
        }
        writeln!(f, "SECTIONS {{\n  . = {};", self.start)?;
        for section in &self.sections {
            section.fmt(f)?;
        }
        self.pages.fmt(f)?;
        let all = DISCARDED.iter().chain(self.discarded);
        let all: Vec<&str> = all.copied().collect();
        writeln!(f, "  /DISCARD/ : {{ *({}) }}\n}}", all.join(" "))
    }
}

impl fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} :", self.name)?;
        if self.align > 1 {
            write!(f, " ALIGN({})", self.align)?;
        }
        write!(f, " {{ {} }}", self.contents)?;
        program_headers(f, self.segments)
    }
}

impl fmt::Display for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.bytes {
            Some(_) => "",
            None => " (NOLOAD)",
        };
        writeln!(f, "  .vvar {}{kind} : {{", self.address)?;
        let bytes = self.bytes.unwrap_or_default();
        for byte in bytes {
            write!(f, " BYTE({byte})")?;
        }
        writeln!(f, "    . = . + {};", self.size - bytes.len())?;
        // Behind the contents: GNU's linker makes a section that begins with a symbol writable.
        let start = format!(". - {}", self.size);
        writeln!(f, "    HIDDEN({PAGES} = {start});")?;
        for (name, offset) in &self.symbols {
            writeln!(f, "    HIDDEN({name} = {start} + {offset});")?;
        }
        f.write_str("  }")?;
        program_headers(f, self.segments)
    }
}

fn program_headers(f: &mut fmt::Formatter<'_>, segments: &[&str]) -> fmt::Result {
    for segment in segments {
        write!(f, " :{segment}")?;
    }
    f.write_str("\n")
}

/// A version node of a version script or of a `VERSION` command: it exports these names, and if it
/// `hides_others`, no other.
#[must_use]
pub fn version_node(version: &str, names: &[&str], hides_others: bool) -> String {
    let names: String = names.iter().map(|name| format!("\t{name};\n")).collect();
    let others = match hides_others {
        true => "local:\n\t*;\n",
        false => "",
    };
    format!("{version} {{\nglobal:\n{names}{others}}};\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_headers_sections_pages_and_what_is_left_out() {
        let script = Script {
            segments: &[("text", "PT_LOAD FLAGS(5)")],
            start: "0x1000".into(),
            sections: vec![
                Section::new(".text", "*(.text*)")
                    .align(16)
                    .segments(&["text"]),
            ],
            pages: Pages {
                address: "ALIGN(4096)".into(),
                symbols: vec![("__vvar_a".into(), 64)],
                size: 4096,
                bytes: Some(&[1, 2]),
                segments: &[],
            },
            discarded: &[".gcc_except_table*"],
        };
        let expected = "PHDRS {\n  text PT_LOAD FLAGS(5);\n}\n\
                        SECTIONS {\n  . = 0x1000;\n  .text : ALIGN(16) { *(.text*) } :text\n  \
                        .vvar ALIGN(4096) : {\n BYTE(1) BYTE(2)    . = . + 4094;\n    \
                        HIDDEN(__vdsokit_vvar = . - 4096);\n    \
                        HIDDEN(__vvar_a = . - 4096 + 64);\n  }\n  \
                        /DISCARD/ : { *(.vdsokit.declaration .comment .note .note.* .debug* \
                        .riscv.attributes .gcc_except_table*) }\n}\n";
        assert_eq!(script.to_string(), expected);
    }

    #[test]
    fn a_version_node_hides_other_names_only_on_request() {
        assert_eq!(
            version_node("A_1.0", &["f", "g"], false),
            "A_1.0 {\nglobal:\n\tf;\n\tg;\n};\n"
        );
        assert_eq!(
            version_node("A_1.0", &["f"], true),
            "A_1.0 {\nglobal:\n\tf;\nlocal:\n\t*;\n};\n"
        );
    }
}
