//! The vDSOs in a process, a file or a core dump, and their contents.

mod dump;
mod error;
mod find;
mod image;
mod published;

pub use dump::dump;
pub use error::InspectError;
pub use find::{Bytes, bytes_of, inspect};
pub use image::{ImageView, Pages, SegmentView, SymbolView};
pub use published::{ClockView, FieldView, KernelView, Published, VariableView};

use serde::Serialize;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What to inspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A running process.
    Process(u32),
    /// An image or a core dump.
    File(PathBuf),
}

impl Target {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        Self::Process(std::process::id())
    }
}

impl FromStr for Target {
    type Err = Infallible;

    /// `self`, the number of a process, or the path of a file. A file whose name is a number is
    /// written `./1234`.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            _ if text == "self" => Self::this(),
            Ok(pid) => Self::Process(pid),
            Err(_) => Self::File(text.into()),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The role of an image in the process that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The kernel's own vDSO, with which the process was started.
    Kernels,
    /// The vDSO with which the process was started, in place of the kernel's.
    InPlaceOfKernels,
    /// The kernel's, which another vDSO replaces.
    Displaced,
    /// A vDSO loaded as a shared library.
    Library,
    /// A file.
    File,
    /// The vDSO of the process that left a core dump.
    Core,
}

impl Role {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kernels => "the kernel's vDSO",
            Self::InPlaceOfKernels => "in place of the kernel's vDSO",
            Self::Displaced => "the kernel's vDSO, replaced by another",
            Self::Library => "loaded as a shared library",
            Self::File => "file",
            Self::Core => "from a core dump",
        }
    }
}
