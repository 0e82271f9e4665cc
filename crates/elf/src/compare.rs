//! Finds incompatibilities of a newer image with programs that were built against an older one.

use std::collections::BTreeMap;
use std::fmt;

use crate::image::Image;
use crate::symbol::{Kind, Symbol};

/// An incompatibility of the new image with programs that were built against the old one. Names
/// are escaped as [`Text`](crate::Text) writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breakage {
    /// The new image is for another machine, class or byte order.
    Machine,
    /// The soname changed: the dynamic linker looks for the old one.
    Soname {
        /// The old image's.
        old: String,
        /// The new image's, empty where it has none.
        new: String,
    },
    /// An export is gone, or has lost this version.
    Gone {
        /// The symbol.
        symbol: String,
    },
    /// A function became data, or data a function.
    Kind {
        /// The symbol.
        symbol: String,
    },
    /// Data has another size: programs may have been linked against the old one.
    Size {
        /// The symbol.
        symbol: String,
        /// Bytes in the old image.
        old: u64,
        /// Bytes in the new image.
        new: u64,
    },
    /// A look-up without a version no longer finds this symbol, although the image still exports
    /// it with its version.
    Default {
        /// The symbol.
        symbol: String,
    },
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => write!(f, "is for another machine, class or byte order"),
            Self::Soname { old, new } => write!(f, "soname was {old}, is {new}"),
            Self::Gone { symbol } => write!(f, "{symbol} is gone"),
            Self::Kind { symbol } => write!(f, "{symbol} changed between function and data"),
            Self::Size { symbol, old, new } => {
                write!(f, "{symbol} had {old} bytes, has {new}")
            }
            Self::Default { symbol } => write!(f, "{symbol} is no longer the default version"),
        }
    }
}

/// All incompatibilities of `new` with programs that were built against `old`. Symbols are written
/// `name@version`. A function may change its length, and symbols may be added.
pub fn compare(old: &Image<'_>, new: &Image<'_>) -> Vec<Breakage> {
    let (was, is) = (old.header(), new.header());
    if (was.machine, was.class, was.order) != (is.machine, is.class, is.order) {
        return vec![Breakage::Machine];
    }
    let mut breakages = vec![];
    let soname = old.soname();
    if let Some(soname) = soname.filter(|soname| new.soname() != Some(*soname)) {
        let new = new
            .soname()
            .map(|soname| soname.to_string())
            .unwrap_or_default();
        breakages.push(Breakage::Soname {
            old: soname.to_string(),
            new,
        });
    }
    let now = exports(new);
    for (name, was) in exports(old) {
        let symbol = String::clone(&name);
        match now.get(&name) {
            None => breakages.push(Breakage::Gone { symbol }),
            Some(is) if (was.kind == Kind::Object) != (is.kind == Kind::Object) => {
                breakages.push(Breakage::Kind { symbol });
            }
            Some(is) if was.kind == Kind::Object && was.size != is.size => {
                breakages.push(Breakage::Size {
                    symbol,
                    old: was.size,
                    new: is.size,
                });
            }
            Some(is) if !was.is_hidden_version && is.is_hidden_version => {
                breakages.push(Breakage::Default { symbol });
            }
            Some(_) => {}
        }
    }
    breakages
}

/// The exports by `name@version`, or by name where there is no version.
fn exports<'a>(image: &Image<'a>) -> BTreeMap<String, Symbol<'a>> {
    image
        .symbols()
        .filter(Symbol::is_export)
        .map(|symbol| {
            let name = match symbol.version {
                Some(version) => format!("{}@{}", symbol.name(), version.name()),
                None => symbol.name().to_string(),
            };
            (name, symbol)
        })
        .collect()
}
