//! A change of a tree that was worked out and not made yet.

use crate::beneath::Root;
use crate::error::Error;
use crate::tree::Tree;
use rustix::fs::FileType;
use similar::TextDiff;
use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

/// Everything that would be written; [`fmt::Display`] shows it as a unified diff.
#[derive(Clone, Debug)]
#[must_use = "nothing is changed before `apply`"]
pub struct Plan {
    root: Root,
    changes: Vec<Change>,
    /// Directories that this crate made, in which only what make left remains afterwards.
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
            root: tree.beneath().clone(),
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

    /// Removes a directory with what the kernel's make and cargo left in it. Other files, and
    /// then the directory, stay.
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
    /// they were. Each file is replaced whole; a run that was killed is completed by the next
    /// one. No symbolic link in the tree is followed.
    ///
    /// # Errors
    /// [`Error::Meanwhile`] before anything is written, when a file is no longer as it was;
    /// [`Error::File`] when one can't be written.
    pub fn apply(&self) -> Result<(), Error> {
        for change in &self.changes {
            if self.root.read(&change.file)? != change.before {
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
            clear(&self.root, directory).map_err(self.root.error(directory, "removed"))?;
        }
        Ok(())
    }

    /// Makes one change; directories that it needs are added to `made`.
    fn make(&self, change: &Change, made: &mut Vec<PathBuf>) -> Result<(), Error> {
        let (root, file) = (&self.root, change.file.as_path());
        match &change.after {
            Some(text) => {
                let directory = file.parent().unwrap_or(Path::new(""));
                root.make_directories(directory, made)
                    .map_err(root.error(directory, "made"))?;
                root.write(file, text).map_err(root.error(file, "written"))
            }
            None => root.remove_file(file).map_err(root.error(file, "removed")),
        }
    }

    /// Puts back what was there, as far as that is possible. The error that is reported is the
    /// one that led here.
    fn undo(&self, done: &[Change], made: &[PathBuf]) {
        for change in done.iter().rev() {
            let _ = match &change.before {
                Some(text) => self.root.write(&change.file, text),
                None => self.root.remove_file(&change.file),
            };
        }
        for directory in made.iter().rev() {
            let _ = self.root.remove_directory(directory);
        }
    }
}

/// Endings of what the kernel's make leaves in a directory.
const MADE: [&str; 7] = [
    ".o",
    ".a",
    ".s",
    ".generated",
    ".cmd",
    ".new",
    "modules.order",
];

/// Removes what a make left from a directory, and the directory if that was all.
fn clear(root: &Root, directory: &Path) -> io::Result<()> {
    let Some(entries) = root.entries(directory)? else {
        return Ok(());
    };
    let mut is_empty = true;
    for (name, kind) in entries.iter() {
        let text = name.to_str().unwrap_or_default();
        let is_made = match kind {
            FileType::RegularFile => MADE.iter().any(|ending| text.ends_with(ending)),
            // Cargo marks the directories that it makes.
            FileType::Directory => entries.holds(name, c"CACHEDIR.TAG"),
            _ => false,
        };
        if is_made {
            entries.remove(name, kind)?;
        } else {
            is_empty = false;
        }
    }
    if is_empty {
        root.remove_directory(directory)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The temporary file's name is longer than the file's, and the file system has none as long.
    #[test]
    fn a_file_that_cannot_be_written_undoes_those_before_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("first"), "as it was").unwrap();
        let change = |file: &str, before: Option<&str>| Change {
            file: file.into(),
            before: before.map(str::to_owned),
            after: Some("changed".into()),
        };
        let plan = Plan {
            root: Root::open(directory.path()).unwrap(),
            changes: vec![
                change("first", Some("as it was")),
                change("new/second", None),
                change(&"n".repeat(255), None),
            ],
            directories: Vec::new(),
        };
        let result = plan.apply();
        assert!(matches!(result, Err(Error::File { .. })), "{result:?}");
        let names = fs::read_dir(directory.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["first"]);
        let text = fs::read_to_string(directory.path().join("first")).unwrap();
        assert_eq!(text, "as it was");
    }
}
