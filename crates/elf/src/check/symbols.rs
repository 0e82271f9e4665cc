//! Rules about symbols.

use super::{Findings, Place, Rule};
use crate::image::Image;
use crate::segment::Segment;
use crate::symbol::{Binding, Kind, Symbol};

pub(super) fn place(symbol: &Symbol<'_>) -> Place {
    Place::Symbol {
        name: symbol.name().to_string(),
        value: symbol.value,
    }
}

pub(super) fn check(image: &Image<'_>, findings: &mut Findings) {
    let mut loads: Vec<Segment> = image.segments().filter(Segment::is_load).collect();
    loads.sort_by_key(|load| load.vaddr);
    for symbol in image.symbols() {
        if symbol.is_undefined() && symbol.binding != Binding::Local {
            findings.add(Rule::Undefined, place(&symbol), "is not defined here");
        }
        if !symbol.is_export() {
            continue;
        }
        if image.has_versions() && symbol.version.is_none() {
            findings.add(Rule::Version, place(&symbol), "has no version");
        }
        if findings.is_own() && !matches!(symbol.kind, Kind::Function | Kind::Object) {
            let what = "is neither function nor data, so that Go skips it";
            findings.add(Rule::Untyped, place(&symbol), what);
        }
        if !is_held(&loads, &symbol) {
            let what = format!(
                "its {:#x} bytes reach outside the loaded segments",
                symbol.size
            );
            findings.add(Rule::SymbolOutside, place(&symbol), what);
        }
    }
}

/// Whether the last loaded segment that begins at or before the symbol holds all of it; segments
/// that overlap are a finding of their own.
fn is_held(loads: &[Segment], symbol: &Symbol<'_>) -> bool {
    let after = loads.partition_point(|load| load.vaddr <= symbol.value);
    after
        .checked_sub(1)
        .is_some_and(|index| loads[index].holds(symbol.value, symbol.size.max(1)))
}
