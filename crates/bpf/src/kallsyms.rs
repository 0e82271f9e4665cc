//! The addresses of the kernel's symbols, from `/proc/kallsyms`.
//!
//! Source: proc(5) and nm(1) for the letters. The kernel writes zeros for all addresses to a
//! process that may not see them (`kernel.kptr_restrict`, CAP_SYSLOG), and lists no variables at
//! all unless it was built with CONFIG_KALLSYMS_ALL.

use crate::Error;
use crate::privileges::obstacles;
use std::collections::{BTreeMap, BTreeSet};

/// The list.
pub const KALLSYMS: &str = "/proc/kallsyms";

/// The kernel's own variables; modules' are not among them, since a module may go.
#[derive(Debug)]
pub struct Symbols {
    variables: BTreeMap<String, Place>,
    functions: BTreeMap<String, u64>,
    /// Variables of every CPU, where their addresses count from the start of their section.
    absolute: BTreeSet<String>,
    /// Whether the kernel shows zeros in place of all addresses.
    hidden: bool,
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
    /// When it can't be read.
    pub fn of_kernel() -> Result<Self, Error> {
        let text = std::fs::read_to_string(KALLSYMS).map_err(Error::file(KALLSYMS))?;
        Ok(Self::parse(&text))
    }

    /// Reads a list; lines that are no symbol of the kernel's own are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut symbols = Self {
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            absolute: BTreeSet::new(),
            hidden: true,
        };
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
            symbols.hidden &= address == 0;
            match letter {
                // Data, zeroed data, read-only data; capitals are global.
                "d" | "D" | "b" | "B" | "r" | "R" => {
                    let place = symbols.variables.entry(name.to_owned());
                    place
                        .and_modify(|place| *place = Place::Ambiguous)
                        .or_insert(Place::At(address));
                }
                "a" | "A" => {
                    symbols.absolute.insert(name.to_owned());
                }
                "t" | "T" | "w" | "W" => {
                    symbols.functions.insert(name.to_owned(), address);
                }
                _ => {}
            }
        }
        symbols
    }

    /// Whether the kernel shows addresses to this process.
    #[must_use]
    pub fn shows_addresses(&self) -> bool {
        !self.hidden
    }

    /// Whether the list has this variable, at whatever address.
    #[must_use]
    pub fn lists(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.absolute.contains(name)
    }

    /// Whether the kernel lists its variables at all. Functions are always there; of data, a
    /// kernel without CONFIG_KALLSYMS_ALL has few symbols that the linker made.
    #[must_use]
    pub fn has_variables(&self) -> bool {
        // Every kernel has it, and a program's variables are found by such names.
        self.lists("jiffies_64") || self.lists("init_task") || self.variables.len() > 1000
    }

    /// Where a variable lies.
    ///
    /// # Errors
    /// When there is none of this name, or more than one, or it is a function, or the kernel
    /// shows no addresses.
    pub fn address(&self, name: &str) -> Result<u64, Error> {
        let symbol = || name.to_owned();
        if self.hidden {
            return Err(Error::HiddenSymbols {
                obstacles: obstacles(),
            });
        }
        match self.variables.get(name) {
            Some(Place::At(address)) => Ok(*address),
            Some(Place::Ambiguous) => Err(Error::Ambiguous { symbol: symbol() }),
            None if self.functions.contains_key(name) => {
                Err(Error::IsFunction { symbol: symbol() })
            }
            None if !self.has_variables() => Err(Error::NoVariables { symbol: symbol() }),
            None => Err(Error::NoSymbol { symbol: symbol() }),
        }
    }

    /// Where a function lies; `None` when there is none of this name, or it is not shown.
    pub(crate) fn function(&self, name: &str) -> Option<u64> {
        self.functions.get(name).copied().filter(|&at| at != 0)
    }

    /// The names of all variables whose addresses are shown and can be told apart.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let plain = self
            .variables
            .iter()
            .filter(|(_, place)| !self.hidden && **place != Place::Ambiguous);
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
             ffffffff82000030 d twice\nffffffff82000040 D init_task\n\
             ffffffffc0000000 d module_one\t[module]\nrubbish\n",
        );
        assert!(symbols.shows_addresses() && symbols.has_variables());
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
        assert_eq!(symbols.names().collect::<Vec<_>>(), ["init_task", "one"]);
    }

    #[test]
    fn zeros_everywhere_are_hidden_addresses() {
        let hidden = Symbols::parse("0000000000000000 D one\n0000000000000000 T start\n");
        assert!(hidden.lists("one"));
        assert_eq!(hidden.names().count(), 0);
        assert!(matches!(
            hidden.address("one"),
            Err(Error::HiddenSymbols { .. })
        ));
    }

    #[test]
    fn a_kernel_that_lists_functions_only_is_told_from_one_without_the_variable() {
        let functions = Symbols::parse("ffffffff81000000 T start\nffffffff82000000 D _end\n");
        assert!(matches!(
            functions.address("avenrun"),
            Err(Error::NoVariables { .. })
        ));
    }
}
