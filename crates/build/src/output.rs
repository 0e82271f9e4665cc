//! Writing the generated files atomically.

use crate::declaration::Declaration;
use crate::{ImageError, header, image, pkg_config};
use miette::Diagnostic;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use thiserror::Error;
use vdsokit_link::Architecture;

/// A file that could not be written.
#[derive(Debug, Error, Diagnostic)]
#[error("{} could not be written", path.display())]
#[diagnostic(help("{}", advice(source)))]
pub struct OutputError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "create the directory first, or name another one with -o",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "name a directory that you may write to with -o"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, or name a directory on another file system with -o"
        }
        _ => "name another directory with -o",
    }
}

/// All files generated from a declaration.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// The image; the file's name is its soname.
    pub image: Vec<u8>,
    /// The name of the symbolic link for `cc -l`, if it differs from the soname.
    pub link: Option<String>,
    /// The C header's name and text.
    pub header: (String, String),
    /// The pkg-config file's name and text.
    pub pkg_config: (String, String),
    soname: String,
}

impl Outputs {
    /// The files of a declaration of variables.
    ///
    /// # Errors
    /// As [`image`].
    pub fn new(declaration: &Declaration, arch: Architecture) -> Result<Self, ImageError> {
        Ok(Self::of_image(declaration, image(declaration, arch)?))
    }

    /// The files of an image that was already built, or of a library with the functions that the declaration
    /// describes.
    #[must_use]
    pub fn of_image(declaration: &Declaration, image: Vec<u8>) -> Self {
        let soname = declaration.soname().to_owned();
        let library = declaration.library();
        // The linker looks for lib*.so; other files are named in full.
        let link = soname
            .starts_with("lib")
            .then(|| format!("lib{library}.so"))
            .filter(|link| *link != soname);
        Self {
            image,
            link,
            header: (format!("{library}.h"), header(declaration)),
            pkg_config: (format!("{library}.pc"), pkg_config(declaration)),
            soname,
        }
    }

    /// The image's path in `directory`.
    #[must_use]
    pub fn image_path(&self, directory: &Path) -> PathBuf {
        directory.join(&self.soname)
    }

    /// Writes all files but the image and returns their paths.
    ///
    /// # Errors
    /// [`OutputError`] names the file.
    pub fn write_companions(&self, directory: &Path) -> Result<Vec<PathBuf>, OutputError> {
        let mut written = Vec::new();
        for (name, text) in [&self.header, &self.pkg_config] {
            let path = directory.join(name);
            write_file(&path, text.as_bytes())?;
            written.push(path);
        }
        if let Some(link) = &self.link {
            let path = directory.join(link);
            replace_link(&path, &self.soname).map_err(|source| OutputError {
                path: path.clone(),
                source,
            })?;
            written.push(path);
        }
        Ok(written)
    }
}

/// Creates or replaces a file of mode 0644 by rename: `open` of `path` finds the old file or
/// the new one, and descriptors and mappings of the old file stay valid.
///
/// # Errors
/// [`OutputError`]; an old file is then unchanged.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".vdso-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(parent(path))?;
        file.write_all(bytes)?;
        // Independent of the umask: other users read the vDSO.
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| OutputError {
        path: path.to_owned(),
        source,
    })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn replace_link(path: &Path, target: &str) -> io::Result<()> {
    if fs::read_link(path).is_ok_and(|old| old == Path::new(target)) {
        return Ok(());
    }
    let fresh = tempfile::Builder::new()
        .prefix(".vdso-")
        .make_in(parent(path), |fresh| symlink(target, fresh))?;
    fresh.into_temp_path().persist(path)?;
    Ok(())
}
