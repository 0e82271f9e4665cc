//! The description of an image.

use super::{Published, Role};
use serde::Serialize;
use std::ops::Range;
use vdsokit_elf::constants::{PF_R, PF_W, PF_X};
use vdsokit_elf::process::Mapping;
use vdsokit_elf::{Image, Kind, Segment, Symbol, arch};

/// The description of an image.
#[derive(Clone, Debug, Serialize)]
pub struct ImageView {
    /// Its role in the process.
    pub role: Role,
    /// The file it was loaded from, where there is one.
    pub path: Option<String>,
    /// Where its first byte lies in the process; `None` in a file.
    pub base: Option<u64>,
    /// Its size in bytes: of the file, or of the mapping at its start.
    pub size: u64,
    /// The ABI it is for, by its name in vdso(7).
    pub architecture: Option<&'static str>,
    /// Its DT_SONAME.
    pub soname: Option<String>,
    /// Its build id, in hexadecimal.
    pub build_id: Option<String>,
    /// The program headers.
    pub segments: Vec<SegmentView>,
    /// The data pages beside it, and for the kernel's the page of the older vsyscall mechanism
    /// where the process has it.
    pub data: Vec<Pages>,
    /// Whether the process can't move, replace or unmap it, nor its data pages (mseal(2)).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// Its exports, by address.
    pub symbols: Vec<SymbolView>,
    /// Its variables and their publisher, where vdsokit built it.
    pub published: Option<Published>,
}

/// A program header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentView {
    /// `LOAD`, `DYNAMIC`, …
    pub kind: &'static str,
    /// The access rights, such as `r-x`.
    pub flags: String,
    /// Where it starts in the file.
    pub offset: u64,
    /// Where it starts in memory, before the base is added.
    pub address: u64,
    /// Bytes in memory.
    pub size: u64,
}

impl From<Segment> for SegmentView {
    fn from(segment: Segment) -> Self {
        let flag = |bit, letter| {
            if segment.flags & bit != 0 {
                letter
            } else {
                '-'
            }
        };
        Self {
            kind: segment.kind_name(),
            flags: [flag(PF_R, 'r'), flag(PF_W, 'w'), flag(PF_X, 'x')]
                .iter()
                .collect(),
            offset: segment.offset,
            address: segment.vaddr,
            size: segment.memsz,
        }
    }
}

/// Data pages beside an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pages {
    /// `[vvar]`, or the file.
    pub name: String,
    /// Where they begin.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// `r--p`.
    pub permissions: String,
}

impl From<&Mapping> for Pages {
    fn from(mapping: &Mapping) -> Self {
        let Range { start, end } = mapping.range;
        Self {
            name: mapping.name.clone(),
            base: start,
            size: end.saturating_sub(start),
            permissions: mapping.permissions.clone(),
        }
    }
}

/// A symbol that the image exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SymbolView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Its address, with the base where there is one.
    pub address: u64,
    /// Its size in bytes; 0 where the symbol has none.
    pub size: u64,
    /// `function`, `object`, `notype` or a number.
    pub kind: String,
    /// Other names of the same function.
    pub aliases: Vec<String>,
}

impl ImageView {
    /// The description of an image with this role.
    pub(super) fn of(image: &Image<'_>, role: Role, size: u64) -> Self {
        let base = match image.form() {
            vdsokit_elf::Form::File => None,
            vdsokit_elf::Form::Memory { address } => Some(address),
        };
        Self {
            role,
            path: None,
            base,
            size,
            architecture: arch::of(image.header()).map(|abi| abi.name),
            soname: image.soname().map(|soname| soname.to_string()),
            build_id: image.build_id().map(crate::hex),
            segments: image.segments().map(SegmentView::from).collect(),
            data: Vec::new(),
            sealed: false,
            symbols: symbols(image),
            published: Published::of(image),
        }
    }
}

/// The exports by address. Of several at one address, the first by name that is not weak stands
/// for all, and names the others.
fn symbols(image: &Image<'_>) -> Vec<SymbolView> {
    let mut exports: Vec<Symbol<'_>> = image.symbols().filter(Symbol::is_export).collect();
    exports.sort_by_key(|symbol| (symbol.value, symbol.binding, symbol.name()));
    let mut views: Vec<(u64, SymbolView)> = Vec::new();
    for symbol in exports {
        if let Some((value, view)) = views.last_mut()
            && *value == symbol.value
        {
            let alias = symbol.name().to_string();
            if alias != view.name && !view.aliases.contains(&alias) {
                view.aliases.push(alias);
            }
            continue;
        }
        let view = SymbolView {
            name: symbol.name().to_string(),
            version: symbol.version.map(|version| version.name().to_string()),
            address: image.address_of(&symbol),
            size: symbol.size,
            kind: match symbol.kind {
                Kind::Function => "function".into(),
                Kind::Object => "object".into(),
                Kind::NoType => "notype".into(),
                Kind::Section => "section".into(),
                Kind::Other(kind) => kind.to_string(),
            },
            aliases: Vec::new(),
        };
        views.push((symbol.value, view));
    }
    views.into_iter().map(|(_, view)| view).collect()
}
