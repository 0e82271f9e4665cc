//! Writing images: headers, notes, tables and vvar pages around code.
//!
//! The code comes from the getters assembled here or from a Rust crate; everything else is
//! the same for both. [`file`] writes the file.

pub(crate) mod code;
mod file;
mod functions;
mod hash;
mod notes;
mod pages;
mod unwind;

use crate::arch::target;
use crate::declaration::Declaration;
use crate::interpose::aliases;
use crate::verify::{Unsound, verify};
use code::{Code, Export};
use functions::Functions;
use miette::Diagnostic;
use pages::pages;
use thiserror::Error;
use vdsokit_link::Architecture;
use vdsokit_vvar::directory::Unencodable;

/// Why no image could be built from a declaration.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum ImageError {
    /// The directory cannot describe all variables.
    #[error("the directory cannot describe the variables: {0}")]
    #[diagnostic(help("declare fewer or smaller variables, or several vDSOs"))]
    Directory(#[from] Unencodable),
    /// The image is too large: code reaches the vvar pages by a signed 32-bit distance.
    #[error("the image would have {0} bytes, and can have at most 1 GiB")]
    #[diagnostic(help("declare fewer or smaller variables, or several vDSOs"))]
    TooLarge(u64),
    /// More version nodes than a symbol's version index can number.
    #[error("there are {0} version nodes, and can be at most {MAX_VERSIONS}")]
    #[diagnostic(help("use fewer different `version`s"))]
    Versions(usize),
    /// The ELF writer failed.
    #[error("the image could not be written as ELF")]
    #[diagnostic(help("declare fewer variables, or several vDSOs"))]
    Writer(#[from] object::write::Error),
    /// The finished image fails the check that every image goes through.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unsound(#[from] Unsound),
}

/// `vs_index` has 15 bits, of which 0 is local and 1 the image itself.
const MAX_VERSIONS: usize = 0x7ffd;
const MAX_IMAGE: u64 = 1 << 30;

/// The image of `declaration`: the bytes of its file. The same declaration gives the same
/// bytes.
///
/// # Errors
/// [`ImageError`], only for declarations larger than an image can be.
pub fn image(declaration: &Declaration, arch: Architecture) -> Result<Vec<u8>, ImageError> {
    let functions = Functions::new(declaration, target(arch));
    let link = |address, pages| Ok(functions.code(address, pages));
    assemble(declaration, arch, &functions.exports, link)
}

/// The image of `declaration` that exports `exports`. `link` gives the code, with the
/// exports' places in it, for an address and that of the vvar pages; its length depends
/// on neither.
pub(crate) fn assemble<E: From<ImageError>>(
    declaration: &Declaration,
    arch: Architecture,
    exports: &[Export],
    link: impl Fn(u64, u64) -> Result<Code, E>,
) -> Result<Vec<u8>, E> {
    let note = declaration.directory().map_err(ImageError::from)?;
    let versions = declaration.versions();
    let mut versions: Vec<String> = versions.into_iter().map(str::to_owned).collect();
    let aliases = aliases(exports, &mut versions, arch);
    let all: Vec<Export> = exports
        .iter()
        .chain(aliases.iter().map(|(alias, _)| alias))
        .cloned()
        .collect();
    let link = |address, pages| {
        let mut code = link(address, pages)?;
        let places = aliases.iter().map(|(_, export)| code.places[*export]);
        let places: Vec<_> = places.collect();
        code.places.extend(places);
        Ok::<_, E>(code)
    };
    if versions.len() > MAX_VERSIONS {
        return Err(ImageError::Versions(versions.len()).into());
    }
    let pages = pages(declaration, &note, arch.page());
    let tables = file::Tables {
        soname: &declaration.soname,
        versions: &versions,
        exports: &all,
        note: &note,
        kernel: &notes::kernel(declaration),
        arch,
    };
    let mut bytes = file::write(&tables, &pages, link)?;
    let id = notes::build_id(&bytes);
    notes::set_build_id(&mut bytes, &id);
    verify(&bytes).map_err(ImageError::from)?;
    Ok(bytes)
}
