//! Building an image from a Rust crate.
//!
//! Stable `cargo` compiles the crate into a static library, from which the declarations of
//! its macros are read ([`vdsokit_link`]). The system's linker places the code at its address in the image,
//! and everything around the code is written as for any other image. The linker therefore
//! writes no dynamic symbol, version or segment of the image, and any linker will do.

mod compile;
mod linker;
mod script;
mod survey;

/// The flags with which a crate's code is compiled, and the names of its functions and
/// variables: for code that links the crate into something else than an image of its own.
pub mod code {
    pub use crate::declaration::STRONG;
    pub use vdsokit_link::{DECLARATION, FLAGS, Optimize, PAGES, VARIABLE, profile, version_node};
}

use crate::declaration::{Declaration, Invalid, STRONG};
use crate::image::code::Export;
use crate::image::{ImageError, assemble};
use crate::output::Outputs;
use miette::Diagnostic;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use vdsokit_link::{Architecture, declarations};

/// Why no image could be built from a crate.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum CrateError {
    /// A file could not be read or written.
    #[error("{} could not be {what}", path.display())]
    #[diagnostic(help("name the directory of a Rust package"))]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The manifest or the macros have a mistake.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Declaration(#[from] Invalid),
    /// A program could not be started.
    #[error("{program} could not be run")]
    #[diagnostic(help("{advice}"))]
    Program {
        /// Which.
        program: String,
        /// Why not.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// Images of crates can't be built for this architecture.
    #[error("images of crates can't be built for {}: {reason}", .arch.name())]
    #[diagnostic(help("declare variables in a file: for those an image can be built"))]
    DeclarationsOnly {
        /// The architecture.
        arch: Architecture,
        /// Why not.
        reason: &'static str,
    },
    /// cargo ended with an error, which it has printed.
    #[error("the crate does not compile for an image")]
    #[diagnostic(help(
        "cargo says above why; for another architecture its target must be installed: rustup \
         target add {target}"
    ))]
    Compile {
        /// The target triple.
        target: String,
    },
    /// cargo made no static library.
    #[error("cargo made no static library of this package")]
    #[diagnostic(help("the package needs a library target: src/lib.rs"))]
    NoLibrary,
    /// The static library could not be read.
    #[error("the compiled crate could not be read: {0}")]
    #[diagnostic(help("build it again, after `cargo clean` in its directory"))]
    Object(String),
    /// The crate exports nothing.
    #[error("the crate exports no function")]
    #[diagnostic(help("mark at least one with #[virtual_syscall]"))]
    NoFunctions,
    /// A panic can be reached.
    #[error("a panic can be reached in the image, where it cannot be handled")]
    #[diagnostic(help(
        "use what does not panic: get() for indexing and slicing, checked_, wrapping_ or \
         saturating_ arithmetic, if let for unwrap and expect; the linker says:\n{linker}"
    ))]
    Panic {
        /// What the linker printed.
        linker: String,
    },
    /// The linker ended with an error.
    #[error("the image could not be linked")]
    #[diagnostic(help("an image can use no library, not even libc; the linker says:\n{linker}"))]
    Link {
        /// What it printed.
        linker: String,
    },
    /// The code needs something that an image can't have.
    #[error("the code needs what an image cannot have")]
    #[diagnostic(help("{}", found.join("\n")))]
    Forbidden {
        /// What and where.
        found: Vec<String>,
    },
    /// The image could not be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Image(#[from] ImageError),
}

impl From<vdsokit_link::Error> for CrateError {
    fn from(error: vdsokit_link::Error) -> Self {
        use vdsokit_link::Error;
        match error {
            Error::File { path, what, source } => Self::File { path, what, source },
            Error::Program {
                program,
                source,
                advice,
            } => Self::Program {
                program,
                source,
                advice,
            },
            Error::Compile { target } => Self::Compile { target },
            Error::NoLibrary => Self::NoLibrary,
            Error::Link { linker } => Self::Link { linker },
            Error::Archive { reason } => Self::Object(reason),
        }
    }
}

impl From<object::read::Error> for CrateError {
    fn from(error: object::read::Error) -> Self {
        Self::Object(error.to_string())
    }
}

/// Builds the Rust package in `directory` into an image.
///
/// # Errors
/// [`CrateError`]. cargo's own messages go to standard error.
pub fn build_crate(directory: &Path, arch: Architecture) -> Result<Outputs, CrateError> {
    if let Some(reason) = declarations_only(arch) {
        return Err(CrateError::DeclarationsOnly { arch, reason });
    }
    let manifest_path = directory.join("Cargo.toml");
    let manifest = std::fs::read_to_string(&manifest_path).map_err(|source| CrateError::File {
        path: manifest_path.clone(),
        what: "read",
        source,
    })?;
    let library = compile::static_library(directory, arch)?;
    let archive = std::fs::read(&library).map_err(|source| CrateError::File {
        path: library.clone(),
        what: "read",
        source,
    })?;
    let declared = declarations(&archive)?;
    let path = manifest_path.display().to_string();
    let declaration = Declaration::of_crate(&path, &manifest, &declared)?;
    let exports = exports(&declaration)?;
    let strong: Vec<&str> = exports
        .iter()
        .filter(|export| !export.weak)
        .map(|export| export.name.as_str())
        .collect();
    let linker = linker::Linker::new(&library, arch, &declaration, &strong)?;
    // A function's weak name has the same address as its strong one.
    let image = assemble(&declaration, arch, &exports, |address, pages| {
        let mut code = linker.link(address, pages)?;
        code.places = code.places.iter().flat_map(|place| [*place; 2]).collect();
        Ok::<_, CrateError>(code)
    })?;
    Ok(Outputs::of_image(&declaration, image))
}

/// Why an architecture has images of declarations only.
fn declarations_only(arch: Architecture) -> Option<&'static str> {
    match arch {
        // It finds data through the global offset table, and an image has no relocations.
        Architecture::I386 => Some("rustc's code for it needs a table that a loader fills"),
        Architecture::X86_64
        | Architecture::Aarch64
        | Architecture::Riscv64
        | Architecture::Loongarch64 => None,
    }
}

/// Every function's strong name, followed by its weak one.
fn exports(declaration: &Declaration) -> Result<Vec<Export>, CrateError> {
    let versions = declaration.versions();
    let functions = declaration.functions().unwrap_or_default();
    if functions.is_empty() {
        return Err(CrateError::NoFunctions);
    }
    let names = functions.iter().flat_map(|function| {
        let version = versions.iter().position(|one| *one == function.version);
        let strong = Export {
            name: format!("{STRONG}{}", function.name),
            version: version.unwrap_or_default(),
            weak: false,
            hidden: false,
            interpose: false,
        };
        let weak = Export {
            name: function.name.clone(),
            weak: true,
            interpose: function.interpose,
            ..strong.clone()
        };
        [strong, weak]
    });
    Ok(names.collect())
}
