//! Checks an image against the rules that make it usable as a vDSO on every system.
//!
//! A vDSO is executed without relocation, parsed by half a dozen readers of which each implements
//! another part of ELF, and mapped beside data that a publisher changes. [`check`] lists all
//! violations: the [`Rule`], the [`Place`], and what was found there.
//!
//! The rules are from Linux 6.18 `arch/x86/tools/vdso2c.h` and `lib/vdso/Makefile` (no dynamic
//! relocation, no writable segment, one text mapping) and from the readers in [`readers`].

pub mod readers;
mod segments;
mod symbols;
mod tables;

use std::fmt;

use crate::image::Image;

/// The set of rules that apply to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// An image that vdsokit built: delivered as a file, at exec or by attaching, with its vvar
    /// pages as its second PT_LOAD. All rules.
    Own,
    /// Another vDSO, such as Linux's: only the rules without which no reader could rely on it.
    Foreign,
}

/// A rule for images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// It is a shared object (ET_DYN).
    SharedObject,
    /// It has no relocation, because no loader applies them.
    Relocation,
    /// It has no global offset table beyond the reserved entries, because no loader fills it. Own only.
    Got,
    /// It needs no other library and has no constructor or destructor.
    Dependency,
    /// It defines every symbol that it names.
    Undefined,
    /// It has versions, and every export has one.
    Version,
    /// Every export is a function or data; Go skips functions without type. Own only.
    Untyped,
    /// It has a soname.
    Soname,
    /// It has a hash table that works; own images have both kinds.
    Hash,
    /// Every export is found through each hash table.
    HashMismatch,
    /// It has a build id. Own only.
    BuildId,
    /// The name of every note ends in a NUL that its size counts.
    Note,
    /// No segment is writable.
    Writable,
    /// No segment is writable and executable.
    WritableExecutable,
    /// It doesn't require an executable stack. Own images have a PT_GNU_STACK without PF_X, because
    /// on x86 ld.so makes the stack executable for an object that has none.
    ExecutableStack,
    /// It has no thread-local data: glibc aborts on it.
    Tls,
    /// It names no program interpreter.
    Interpreter,
    /// Every symbol, from its value to its end, lies in one loaded segment.
    SymbolOutside,
    /// Every segment and table lies inside the image.
    Outside,
    /// No two loaded segments overlap, in the file or in memory.
    Overlap,
    /// Offset and address of a loaded segment agree modulo its alignment, a power of two.
    Alignment,
    /// The segments are where an own image has them: text first, at file offset 0 and a non-zero
    /// address; then the vvar pages, read-only, page-aligned, the last bytes of the file. Own only.
    Layout,
    /// Every reader of vDSOs can parse it and finds the same addresses.
    Reader,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 23] = [
        Self::SharedObject,
        Self::Relocation,
        Self::Got,
        Self::Dependency,
        Self::Undefined,
        Self::Version,
        Self::Untyped,
        Self::Soname,
        Self::Hash,
        Self::HashMismatch,
        Self::BuildId,
        Self::Note,
        Self::Writable,
        Self::WritableExecutable,
        Self::ExecutableStack,
        Self::Tls,
        Self::Interpreter,
        Self::SymbolOutside,
        Self::Outside,
        Self::Overlap,
        Self::Alignment,
        Self::Layout,
        Self::Reader,
    ];

    /// The rule's name on a command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SharedObject => "shared-object",
            Self::Relocation => "relocation",
            Self::Got => "got",
            Self::Dependency => "dependency",
            Self::Undefined => "undefined",
            Self::Version => "version",
            Self::Untyped => "untyped",
            Self::Soname => "soname",
            Self::Hash => "hash",
            Self::HashMismatch => "hash-mismatch",
            Self::BuildId => "build-id",
            Self::Note => "note",
            Self::Writable => "writable",
            Self::WritableExecutable => "writable-executable",
            Self::ExecutableStack => "executable-stack",
            Self::Tls => "tls",
            Self::Interpreter => "interpreter",
            Self::SymbolOutside => "symbol-outside",
            Self::Outside => "outside",
            Self::Overlap => "overlap",
            Self::Alignment => "alignment",
            Self::Layout => "layout",
            Self::Reader => "reader",
        }
    }
}

/// Where something was found. Names come from the image and may hold any character but control
/// characters, which are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The image as a whole.
    Image,
    /// A program header.
    Segment {
        /// Its index in the table.
        index: usize,
        /// Its type as readelf writes it.
        kind: &'static str,
    },
    /// A section.
    Section {
        /// Its name.
        name: String,
    },
    /// An entry of the dynamic section.
    Dynamic {
        /// Its `d_tag`.
        tag: u64,
    },
    /// A symbol.
    Symbol {
        /// Its name.
        name: String,
        /// Its value.
        value: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => write!(f, "image"),
            Self::Segment { index, kind } => write!(f, "segment {index} ({kind})"),
            Self::Section { name } => write!(f, "section {name}"),
            Self::Dynamic { tag } => write!(f, "dynamic entry {tag:#x}"),
            Self::Symbol { name, value } => write!(f, "symbol {name} at {value:#x}"),
        }
    }
}

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: Rule,
    /// Where.
    pub place: Place,
    /// What is there.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule.name(), self.place, self.what)
    }
}

/// All violations of the profile's rules.
pub fn check(image: &Image<'_>, profile: Profile) -> Vec<Finding> {
    let mut findings = Findings {
        profile,
        list: Vec::new(),
    };
    segments::check(image, &mut findings);
    tables::check(image, &mut findings);
    symbols::check(image, &mut findings);
    readers::check(image, &mut findings);
    findings.list
}

/// The findings so far.
struct Findings {
    profile: Profile,
    list: Vec<Finding>,
}

impl Findings {
    fn is_own(&self) -> bool {
        self.profile == Profile::Own
    }

    fn add(&mut self, rule: Rule, place: Place, what: impl Into<String>) {
        self.list.push(Finding {
            rule,
            place,
            what: what.into(),
        });
    }
}
