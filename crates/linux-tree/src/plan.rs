//! A change of a tree that was worked out and not made yet.

use crate::error::Error;
use crate::tree::Tree;
use similar::TextDiff;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Everything that would be written; [`fmt::Display`] shows it as a unified diff.
#[derive(Clone, Debug)]
#[must_use = "nothing is changed before `apply`"]
pub struct Plan {
    root: PathBuf,
    changes: Vec<Change>,
    /// Directories of ours, which nothing but what make left is in after it.
    directories: Vec<PathBuf>,
}

/// A file before and after; `None` is no file.
#[derive(Clone, Debug)]
struct Change {
    file: PathBuf,
    before: Option<String>,
    after: Option<String>,
}

impl Plan {
    pub(crate) fn new(tree: &Tree) -> Self {
        Self {
            root: tree.root().to_owned(),
            changes: Vec::new(),
            directories: Vec::new(),
        }
    }

    /// Adds a file; one that stays as it is changes nothing.
    pub(crate) fn change(&mut self, file: &Path, before: Option<String>, after: Option<String>) {
        if before != after {
            self.changes.push(Change {
                file: file.to_owned(),
                before,
                after,
            });
        }
    }

    /// Removes a directory with what the kernel's make and cargo left in it. What somebody
    /// else put there stays.
    pub(crate) fn clear_directory(&mut self, directory: &str) {
        self.directories.push(directory.into());
    }

    /// Is the tree already as it should be?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The files that change, named from the root of the tree.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.changes.iter().map(|change| change.file.as_path())
    }

    /// Makes the change, or none: when a file can't be written, those before it become what
    /// they were. Each file is replaced whole; a run that somebody kills is completed by the
    /// next one.
    ///
    /// # Errors
    /// [`Error::Meanwhile`] before anything is written, when a file is no longer as it was;
    /// [`Error::File`] when one can't be written.
    pub fn apply(&self) -> Result<(), Error> {
        for change in &self.changes {
            if read(&self.root.join(&change.file))? != change.before {
                return Err(Error::Meanwhile {
                    file: change.file.clone(),
                });
            }
        }
        let mut made = Vec::new();
        for (done, change) in self.changes.iter().enumerate() {
            if let Err(error) = self.make(change, &mut made) {
                self.undo(&self.changes[..done], &made);
                return Err(error);
            }
        }
        for directory in &self.directories {
            let path = self.root.join(directory);
            clear(&path).map_err(Error::file(&path, "removed"))?;
        }
        Ok(())
    }

    /// Makes one change; directories that it needs are added to `made`.
    fn make(&self, change: &Change, made: &mut Vec<PathBuf>) -> Result<(), Error> {
        let path = self.root.join(&change.file);
        match &change.after {
            Some(text) => {
                let directory = path.parent().unwrap_or(&self.root);
                make_directories(directory, made).map_err(Error::file(directory, "made"))?;
                write(&path, text).map_err(Error::file(&path, "written"))
            }
            None => fs::remove_file(&path).map_err(Error::file(&path, "removed")),
        }
    }

    /// Puts back what was there, as far as that is possible: the error to tell is the one
    /// that led here.
    fn undo(&self, done: &[Change], made: &[PathBuf]) {
        for change in done.iter().rev() {
            let path = self.root.join(&change.file);
            let _ = match &change.before {
                Some(text) => write(&path, text),
                None => fs::remove_file(&path),
            };
        }
        for directory in made.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A file's text; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file(path, "read")(error)),
    }
}

/// Makes a directory and those above it that are not there.
fn make_directories(directory: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        make_directories(above, made)?;
    }
    fs::create_dir(directory)?;
    made.push(directory.to_owned());
    Ok(())
}

/// Replaces a file, keeping its permissions.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let permissions = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions(),
        Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(permissions)?;
    file.persist(path)?;
    Ok(())
}

/// Takes what a make left out of a directory, and the directory if that was all.
fn clear(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut others = false;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        let made = [
            ".o",
            ".a",
            ".s",
            ".generated",
            ".cmd",
            ".new",
            "modules.order",
        ];
        if path.join("CACHEDIR.TAG").is_file() {
            // Cargo's directory.
            fs::remove_dir_all(&path)?;
        } else if made.iter().any(|ending| name.ends_with(ending)) {
            fs::remove_file(&path)?;
        } else {
            others = true;
        }
    }
    if others {
        return Ok(());
    }
    fs::remove_dir(directory)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let name = |side: char, text: &Option<String>| match text {
                Some(_) => format!("{side}/{}", change.file.display()),
                None => "/dev/null".into(),
            };
            let (before, after) = (&change.before, &change.after);
            let texts = [before, after].map(|text| text.as_deref().unwrap_or_default());
            let diff = TextDiff::from_lines(texts[0], texts[1]);
            let mut unified = diff.unified_diff();
            unified.header(&name('a', before), &name('b', after));
            f.write_char('\n').and_then(|()| unified.fmt(f))?;
        }
        Ok(())
    }
}
