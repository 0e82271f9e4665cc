//! The addresses of the kernel's symbols, from `/proc/kallsyms`.
//!
//! Source: proc(5) and nm(1) for the letters. The kernel writes zeros for all
//! addresses to whoever may not see them (`kernel.kptr_restrict`, CAP_SYSLOG).

use crate::Error;
use crate::privileges::obstacles;
use std::collections::{BTreeMap, BTreeSet};

/// The list.
pub const KALLSYMS: &str = "/proc/kallsyms";

/// The kernel's own variables; modules' are not among them, since a module may go.
#[derive(Debug)]
pub struct Symbols {
    variables: BTreeMap<String, Place>,
    functions: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    At(u64),
    /// Several variables have this name.
    Ambiguous,
}

impl Symbols {
    /// Reads the list of the running kernel.
    ///
    /// # Errors
    /// [`Error::HiddenSymbols`] when the kernel shows no addresses.
    pub fn of_kernel() -> Result<Self, Error> {
        let text = std::fs::read_to_string(KALLSYMS).map_err(Error::file(KALLSYMS))?;
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut symbols = Self {
            variables: BTreeMap::new(),
            functions: BTreeSet::new(),
        };
        let mut hidden = true;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(letter), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            hidden &= address == 0;
            match letter {
                // Data, zeroed data, read-only data; capitals are global.
                "d" | "D" | "b" | "B" | "r" | "R" => {
                    let place = symbols.variables.entry(name.to_owned());
                    place
                        .and_modify(|place| *place = Place::Ambiguous)
                        .or_insert(Place::At(address));
                }
                "t" | "T" | "w" | "W" => {
                    symbols.functions.insert(name.to_owned());
                }
                _ => {}
            }
        }
        if hidden {
            return Err(Error::HiddenSymbols {
                obstacles: obstacles(),
            });
        }
        Ok(symbols)
    }

    /// Where a variable lies.
    ///
    /// # Errors
    /// When there is none of this name, or more than one, or it is a function.
    pub fn address(&self, name: &str) -> Result<u64, Error> {
        let symbol = || name.to_owned();
        match self.variables.get(name) {
            Some(Place::At(address)) => Ok(*address),
            Some(Place::Ambiguous) => Err(Error::Ambiguous { symbol: symbol() }),
            None if self.functions.contains(name) => Err(Error::IsFunction { symbol: symbol() }),
            None => Err(Error::NoSymbol { symbol: symbol() }),
        }
    }

    /// The names of all variables that can be told apart.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let plain = self
            .variables
            .iter()
            .filter(|(_, place)| **place != Place::Ambiguous);
        plain.map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_of_the_kernel_itself_that_have_one_place() {
        let symbols = Symbols::parse(
            "ffffffff81000000 T start\nffffffff82000010 D one\nffffffff82000020 b twice\n\
             ffffffff82000030 d twice\nffffffffc0000000 d module_one\t[module]\nrubbish\n",
        )
        .unwrap();
        assert_eq!(symbols.address("one").unwrap(), 0xffff_ffff_8200_0010);
        assert!(matches!(
            symbols.address("twice"),
            Err(Error::Ambiguous { .. })
        ));
        assert!(matches!(
            symbols.address("start"),
            Err(Error::IsFunction { .. })
        ));
        assert!(matches!(
            symbols.address("module_one"),
            Err(Error::NoSymbol { .. })
        ));
        assert_eq!(symbols.names().collect::<Vec<_>>(), ["one"]);
    }

    #[test]
    fn zeros_everywhere_are_hidden_addresses() {
        let hidden = Symbols::parse("0000000000000000 D one\n0000000000000000 T start\n");
        assert!(matches!(hidden, Err(Error::HiddenSymbols { .. })));
    }
}
