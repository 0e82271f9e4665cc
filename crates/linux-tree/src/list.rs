//! The list of what was added to a tree, which lies in the tree.

use crate::edit::Part;
use crate::error::Error;
use crate::generate;
use crate::package::{MAXIMUM_PAGES, Package, is_identifier, is_plain};
use crate::tree::Tree;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vdsokit_vvar::layout::Hash;

/// Where it lies.
pub(crate) const FILE: &str = "arch/x86/entry/vdso/vdsokit/list.toml";

/// What was added, and how the generated files were written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// The clock in Rust, in place of the kernel's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) clock: bool,
    /// In the order in which their pages lie.
    #[serde(default, rename = "crate")]
    pub(crate) crates: Vec<Added>,
    /// Each generated file and the hash of what was written to it.
    #[serde(default)]
    pub(crate) files: BTreeMap<PathBuf, String>,
}

/// One crate.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Added {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) root: PathBuf,
    pub(crate) pages: usize,
}

impl List {
    /// The tree's, empty when nothing was added.
    pub(crate) fn read(tree: &Tree) -> Result<Self, Error> {
        let refuse = |why: String| Error::List {
            file: FILE.into(),
            why,
        };
        let text = tree.read(Path::new(FILE))?.unwrap_or_default();
        let list: Self =
            toml::from_str(&text).map_err(|error| refuse(error.to_string().trim_end().into()))?;
        list.check_entries().map_err(refuse)?;
        Ok(list)
    }

    /// A tree may come from anybody: what its list holds becomes rules of a Makefile, and
    /// names files that are removed.
    fn check_entries(&self) -> Result<(), String> {
        for Added {
            name,
            library,
            root,
            pages,
        } in &self.crates
        {
            let library = library.strip_prefix("lib").unwrap_or_default();
            let library = library.strip_suffix(".a").unwrap_or_default();
            let root = root.to_str().unwrap_or_default();
            let plain = root.starts_with('/') && root.chars().all(is_plain);
            if !plain || !is_identifier(name) || !is_identifier(library) {
                return Err(format!("no crate can be called `{name}`"));
            }
            if *pages > MAXIMUM_PAGES {
                return Err(format!("`{name}` can't have {pages} pages"));
            }
        }
        let homes = [generate::SOURCES, generate::HEADERS, generate::CLOCK].map(Path::new);
        // `..` has no file name.
        let is_generated = |file: &Path| {
            file.file_name().is_some() && homes.iter().any(|home| file.parent() == Some(*home))
        };
        match self.files.keys().find(|file| !is_generated(file)) {
            None => Ok(()),
            Some(file) => Err(format!(
                "{} is not a file that this program writes",
                file.display()
            )),
        }
    }

    /// Is nothing added?
    pub(crate) fn is_empty(&self) -> bool {
        !self.clock && self.crates.is_empty()
    }

    /// Does something that is added need this part?
    pub(crate) fn needs(&self, part: Part) -> bool {
        match part {
            Part::Functions => !self.crates.is_empty(),
            Part::Clock => self.clock,
            Part::Any => !self.is_empty(),
        }
    }

    /// Its text.
    pub(crate) fn text(&self) -> Result<String, Error> {
        let list = toml::to_string(self).map_err(|error| Error::List {
            file: FILE.into(),
            why: error.to_string(),
        })?;
        Ok(format!(
            "# What `vdso kernel add` added to this tree, for `vdso kernel remove`.\n{list}"
        ))
    }

    /// Adds a crate or brings it up to date; the others keep their order.
    pub(crate) fn add(&mut self, package: &Package) {
        let added = Added {
            name: package.name.clone(),
            library: package.library.clone(),
            root: package.root.clone(),
            pages: package.pages(),
        };
        match self.crates.iter_mut().find(|old| old.name == added.name) {
            Some(old) => *old = added,
            None => self.crates.push(added),
        }
    }

    /// Data pages of all crates.
    pub(crate) fn pages(&self) -> usize {
        self.crates.iter().map(|added| added.pages).sum()
    }

    /// Refuses a generated file that is not as it was written.
    pub(crate) fn check(&self, file: &Path, text: &str) -> Result<(), Error> {
        match self.files.get(file) {
            Some(hash) if *hash == hash_of(text) => Ok(()),
            expected => Err(Error::Changed {
                file: file.to_owned(),
                line: 1,
                found: match expected {
                    Some(_) => "this generated file is not as it was written".into(),
                    None => "this file was not written by `vdso kernel add`".into(),
                },
            }),
        }
    }
}

/// A hash that detects edits by hand. It is not cryptographic: anyone can forge it.
pub(crate) fn hash_of(text: &str) -> String {
    format!("{:016x}", Hash::of_name(text))
}
