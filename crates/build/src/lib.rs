//! From a declaration to a vDSO image.
//!
//! A [`Declaration`] names variables. [`image()`] builds the ELF shared object whose
//! functions read them, for any [`Architecture`], without a compiler or a linker;
//! [`header()`] and [`pkg_config`] write the C header and the pkg-config file.
//!
//! # The shape of every image
//!
//! | segment | holds |
//! | --- | --- |
//! | PT_LOAD, read and execute | ELF and section headers, notes, hash tables, symbols, versions, unwind tables, dynamic section, code |
//! | PT_LOAD, read | the vvar pages: the last bytes of the file, on pages of their own |
//!
//! The first begins at file offset 0 and at an address that is the architecture's largest
//! page, not 0; `p_offset - p_vaddr` is the same for both. So every reader of vDSOs finds
//! the same load bias: ld.so takes it from the first PT_LOAD, glibc's reader of the vDSO
//! from the first whose address is not 0 (glibc 2.36 `elf/setup-vdso.h`), musl from the
//! last (1.2.3 `src/internal/vdso.c`), Go from the first (1.19
//! `src/runtime/vdso_linux.go`).
//!
//! No byte of an image is ever relocated: code reaches the vvar pages relative to itself,
//! and the dynamic section is read-only, which musl and glibc from 2.35 on load
//! (`elf/get-dynamic-info.h`, `l_ld_readonly`).
//!
//! The same declaration gives the same bytes, wherever and whenever it is built.
//!
//! ```
//! use vdsokit_build::{Architecture, Declaration, header, image};
//!
//! let declaration = Declaration::parse("weather.toml", r#"
//!     [vdso]
//!     soname = "libweather.so.1"
//!     version = "WEATHER_1.0"
//!
//!     [var.temperature]
//!     type = "f64"
//!     unit = "degC"
//!     init = 1.5
//! "#)?;
//! let image = image(&declaration, Architecture::X86_64)?;
//! assert_eq!(image.len(), 2 * 4096);
//! assert!(header(&declaration).contains("double weather_temperature(void);"));
//! # Ok::<(), miette::Report>(())
//! ```

mod arch;
mod bindings;
mod crates;
pub mod declaration;
mod header;
mod image;
mod interpose;
mod output;
mod text;
mod verify;

pub use bindings::{Binding, bindings, write_bindings, write_loader_bindings};
pub use crates::{CrateError, build_crate, code};
pub use declaration::{Declaration, read_declaration};
pub use header::{header, pkg_config};
pub use image::{ImageError, image};
pub use interpose::{libc_versions, not_interposing};
pub use output::{OutputError, Outputs, write_file};
pub use vdsokit_link::Architecture;
pub use verify::{Unsound, directory, verify};

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
