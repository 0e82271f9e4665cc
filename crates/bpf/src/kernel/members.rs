//! Where members of the kernel's structures lie, for programs that load them one by one.

use super::{Expression, Kernel, Reached};
use crate::Error;
use crate::btf::{Kind, TypeId};

impl Kernel {
    /// The offset of a member, such as `se.exec_start` in `task_struct`.
    ///
    /// # Errors
    /// When this kernel has no such structure or member.
    pub(crate) fn member_offset(&self, structure: &str, path: &str) -> Result<i16, Error> {
        let expression = Expression::parse(&format!("{structure}.{path}"))?;
        let way = self.walk(&expression, Reached::Type(self.structure(structure)?))?;
        match way.offsets.as_slice() {
            [offset] => i16::try_from(*offset).map_err(|_| Error::TooMuch),
            _ => Err(Error::NoStep {
                expression: expression.text,
                ty: structure.into(),
                what: "has a pointer on the way".into(),
            }),
        }
    }

    /// The size of a structure.
    ///
    /// # Errors
    /// When this kernel has no such structure.
    pub(crate) fn structure_size(&self, structure: &str) -> Result<u32, Error> {
        let size = self.btf.size(self.structure(structure)?);
        size.ok_or_else(|| Error::NoType {
            name: structure.into(),
        })
    }

    /// The value of an enumerator.
    ///
    /// # Errors
    /// When this kernel has none of this name.
    pub(crate) fn enumerator(&self, name: &str) -> Result<i64, Error> {
        let value = self.btf.enumerator(name);
        value.ok_or_else(|| Error::NoType { name: name.into() })
    }

    /// A variable that every CPU has, for a program to find its own CPU's.
    ///
    /// # Errors
    /// When this kernel has none of this name.
    pub(crate) fn variable_of_each_cpu(&self, name: &str) -> Result<TypeId, Error> {
        let variable = self.per_cpu_variable(name);
        variable
            .filter(|&variable| self.is_found(variable))
            .ok_or_else(|| Error::NoVariables {
                symbol: name.into(),
            })
    }

    /// The address of a variable.
    ///
    /// # Errors
    /// When this kernel has none of this name, or does not show it.
    pub(crate) fn address(&self, name: &str) -> Result<u64, Error> {
        match self.symbols() {
            Ok(symbols) => symbols.address(name),
            Err(_) => Err(Error::NoSymbol {
                symbol: name.into(),
            }),
        }
    }

    /// The address of a function; `None` when this kernel has none of this name, or does not show it.
    pub(crate) fn function(&self, name: &str) -> Option<u64> {
        self.symbols().as_ref().ok()?.function(name)
    }

    fn structure(&self, name: &str) -> Result<TypeId, Error> {
        let is_structure = |kind| matches!(kind, Kind::Composite(_));
        let found = self.btf.find(name, is_structure);
        found.ok_or_else(|| Error::NoType { name: name.into() })
    }
}
