//! The functions of objects that were built from declarations: what they take and return.

use crate::published::Located;
use std::collections::HashMap;
use std::path::PathBuf;
use vdsokit_build::declaration::FUNCTIONS;
use vdsokit_publish::Dynamic;
use vdsokit_trace::buffer::CallRecord;
use vdsokit_vvar::directory::{Entry, Kind};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// The signature of a function that `vdso build` makes for a variable (docs/declaration.md, "Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Getter {
    /// Takes nothing and returns the value.
    Returns(ScalarType),
    /// Copies the value to its argument, and returns a `uint32_t`.
    Copies,
}

impl Getter {
    fn of(entry: &Entry<'_>) -> Self {
        match entry.kind {
            Kind::Plain(Type::Scalar(scalar)) => Self::Returns(scalar),
            _ => Self::Copies,
        }
    }

    /// What a call returned, by the registers that results of this type are in (System V ABI, 3.2.3).
    pub(super) fn result(self, record: &CallRecord) -> Option<Dynamic> {
        let scalar = match self {
            Self::Returns(scalar) => scalar,
            Self::Copies => ScalarType::U32,
        };
        let register = match scalar {
            ScalarType::F32 | ScalarType::F64 => record.vector,
            _ => record.result,
        };
        let bytes = register.to_le_bytes();
        Dynamic::from_bytes(Type::Scalar(scalar), &bytes[..scalar.size()])
    }
}

/// The signatures of the functions of these objects that have one. `names` are all functions of all
/// objects.
///
/// An image that was made from a declaration has four functions of its own beside those of variables,
/// by which it is told from one of a crate, whose functions may take anything.
pub(crate) fn getters(objects: &[PathBuf], names: &[String]) -> HashMap<String, Getter> {
    let mut getters = HashMap::new();
    let exists = |name: &String| names.contains(name);
    for path in objects {
        let Ok(vdso) = Located::at(path.clone()).open() else {
            continue;
        };
        let directory = vdso.directory();
        let prefix = directory.prefix();
        let own = FUNCTIONS.map(|(name, _)| format!("{prefix}{name}"));
        if !own.iter().all(exists) {
            continue;
        }
        for ((_, scalar), function) in FUNCTIONS.into_iter().zip(own) {
            getters.insert(function, Getter::Returns(scalar));
        }
        for entry in directory.iter() {
            let function = format!("{prefix}{}", entry.name);
            if exists(&function) {
                getters.insert(function, Getter::of(&entry));
            }
        }
    }
    getters
}
