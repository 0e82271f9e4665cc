//! A crate whose functions go into a kernel, as far as the kernel's side has to know it.

use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use vdsokit_build::code::STRONG;
use vdsokit_elf::{Binding, Image};
use vdsokit_vvar::directory::{Directory, Entry};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_NAME, PAGE_SIZE, header};

/// A crate, and the image that it becomes outside a kernel: what it exports and which
/// variables it has is read from there, so that both worlds have the same.
#[derive(Clone, Debug)]
pub struct Package {
    pub(crate) root: PathBuf,
    /// The static library that cargo makes of it.
    pub(crate) library: String,
    /// What the kernel's side calls it: a C identifier.
    pub(crate) name: String,
    pub(crate) exports: Vec<Export>,
    pub(crate) hooks: Hooks,
    note: Vec<u8>,
    /// The first bytes of its pages; the rest is zero.
    pub(crate) contents: Vec<u8>,
}

/// A function that the image exports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Export {
    pub(crate) version: String,
    pub(crate) name: String,
    pub(crate) weak: bool,
}

/// What the kernel does at each update of its clocks: `[package.metadata.vdso-kernel]` of
/// the crate's manifest.
///
/// ```toml
/// [package.metadata.vdso-kernel]
/// include = ["linux/sched/stat.h"]
/// [package.metadata.vdso-kernel.update]
/// processes = "nr_processes()"
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    /// The kernel's headers that the expressions need.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// For each variable that the kernel keeps up to date an expression in C, which may use
    /// `tk`, the `const struct timekeeper *` that was updated.
    #[serde(default)]
    pub(crate) update: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Manifest {
    package: ManifestPackage,
    lib: Option<ManifestLib>,
}

#[derive(Deserialize)]
struct ManifestLib {
    name: Option<String>,
}

#[derive(Deserialize)]
struct ManifestPackage {
    name: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default, rename = "vdso-kernel")]
    hooks: Hooks,
}

impl Package {
    /// The crate in the directory `root`, which became `image` (for x86-64).
    ///
    /// # Errors
    /// [`Error::Crate`] and [`Error::File`].
    pub fn new(root: &Path, image: &[u8]) -> Result<Self, Error> {
        let root = fs::canonicalize(root).map_err(Error::file(root, "read"))?;
        let refuse = |why: String, advice: &str| Error::Crate {
            root: root.clone(),
            why,
            advice: advice.to_owned(),
        };
        let path = root.join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(Error::file(&path, "read"))?;
        let manifest: Manifest = toml::from_str(&text).map_err(|error| {
            refuse(
                format!("Cargo.toml: {}", error.to_string().trim_end()),
                "correct it",
            )
        })?;
        if !root.to_str().is_some_and(|root| root.chars().all(is_plain)) {
            return Err(refuse(
                "the kernel's make can't use a path with such characters".into(),
                "move the crate to a path of letters, digits and ._-+@,",
            ));
        }
        let parts = parts(image).map_err(|why| {
            refuse(
                why,
                "build it with `vdso build` and see what `vdso check` says",
            )
        })?;
        let package = manifest.package.name.replace('-', "_");
        let library = manifest.lib.and_then(|lib| lib.name);
        let mut this = Self {
            library: format!("lib{}.a", library.as_ref().unwrap_or(&package)),
            name: String::new(),
            exports: parts.exports,
            hooks: manifest.package.metadata.hooks,
            note: parts.note,
            contents: parts.contents,
            root: root.clone(),
        };
        let directory = this
            .directory()
            .map_err(|why| refuse(why, "build it with this version of `vdso`"))?;
        let prefix = directory.prefix().trim_end_matches('_');
        let name = match prefix {
            "" => package,
            prefix => prefix.to_owned(),
        };
        let mut names: Vec<&str> = this.exports.iter().map(|export| &*export.name).collect();
        names.extend(directory.iter().map(|entry| entry.name));
        names.push(&name);
        if let Some(name) = names.iter().find(|name| !is_identifier(name)) {
            return Err(refuse(
                format!("`{}` is no name in C", name.escape_debug()),
                "give it a name of letters, digits and underscores",
            ));
        }
        if RESERVED.contains(&&*name) {
            return Err(refuse(
                format!("`{name}` is the name of something that all crates share"),
                "give the package another name, or its functions another prefix",
            ));
        }
        if this.pages() > MAXIMUM_PAGES {
            return Err(refuse(
                format!("its variables need {} pages", this.pages()),
                &format!("declare no more than {MAXIMUM_PAGES} pages of them"),
            ));
        }
        let hooks = &this.hooks;
        if let Some(include) = hooks.include.iter().find(|name| !is_header(name)) {
            return Err(refuse(
                format!("`{}` is no name of a header", include.escape_debug()),
                "name it as behind #include, without brackets",
            ));
        }
        // A line that ends, or a comment, would end the call that the expression stands in.
        let strange = |text: &&String| {
            text.chars().any(char::is_control) || text.contains("//") || text.contains("/*")
        };
        if let Some(expression) = hooks.update.values().find(strange) {
            return Err(refuse(
                format!("`{}` is no expression in C", expression.escape_debug()),
                "write one line without comments",
            ));
        }
        let unknown = |name: &&String| directory.find(name).is_none();
        if let Some(name) = this.hooks.update.keys().find(unknown) {
            let known: Vec<_> = directory.iter().map(|entry| entry.name).collect();
            return Err(refuse(
                format!("the update of `{name}` is of no variable"),
                &format!("its variables are {}", known.join(", ")),
            ));
        }
        this.name = name;
        Ok(this)
    }

    /// What the kernel's side calls it, a C identifier: its functions' prefix, or the
    /// package's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The function that an export is a second, weak name of.
    pub(crate) fn alias_of(&self, export: &Export) -> Option<&str> {
        let strong = format!("{STRONG}{}", export.name);
        let mut others = self.exports.iter();
        let function = others.find(|other| export.weak && !other.weak && other.name == strong)?;
        Some(&function.name)
    }

    /// Data pages that it needs.
    pub(crate) fn pages(&self) -> usize {
        self.used().div_ceil(PAGE_SIZE)
    }

    /// Calls `with` with each variable.
    pub(crate) fn variables(&self) -> impl Iterator<Item = Entry<'_>> {
        // `new` has parsed it; an error would be an empty list.
        self.directory()
            .into_iter()
            .flat_map(|directory| directory.iter())
    }

    fn used(&self) -> usize {
        self.directory()
            .map_or(0, |directory| directory.used())
            .max(header::SIZE)
    }

    fn directory(&self) -> Result<Directory<'_>, String> {
        Directory::parse(&self.note).map_err(|error| error.to_string())
    }
}

/// More than any crate has: the pages of all lie beside the image.
pub(crate) const MAXIMUM_PAGES: usize = 1024;

/// Names of files that all crates share, and of what these define in C.
const RESERVED: [&str; 5] = ["header", "kernel", "pages", "symbols", "versions"];

/// A character of a path as it may stand in a Makefile: make has no way of quoting some of the
/// others, the shell of the rest.
pub(crate) fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "/._-+@,".contains(c)
}

/// A header's name as it may stand behind `#include`.
fn is_header(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c))
}

pub(crate) fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What an image says.
struct Parts {
    exports: Vec<Export>,
    note: Vec<u8>,
    contents: Vec<u8>,
}

fn parts(bytes: &[u8]) -> Result<Parts, String> {
    let image = Image::parse(bytes).map_err(|error| error.to_string())?;
    let mut exports = Vec::new();
    for symbol in image.symbols().filter(|symbol| symbol.is_export()) {
        let name = symbol.name().to_string();
        let version = symbol
            .version
            .ok_or_else(|| format!("`{name}` has no version"))?;
        let version = version.name().to_string();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if !version.chars().all(plain) {
            return Err(format!("`{version}` is no name of a version"));
        }
        exports.push(Export {
            version,
            name,
            weak: symbol.binding == Binding::Weak,
        });
    }
    exports.sort();
    exports.dedup();
    if exports.is_empty() {
        return Err("it exports no function".into());
    }
    let note = image
        .notes()
        .find(|note| note.kind == NOTE_DIRECTORY && note.name == *NOTE_NAME)
        .ok_or("it has no directory of its variables")?;
    let pages = image
        .segments()
        .filter(|segment| segment.is_load())
        .nth(1)
        .and_then(|segment| image.bytes_at(segment.vaddr))
        .ok_or("it has no vvar pages")?;
    let used = pages
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    Ok(Parts {
        exports,
        note: note.desc.to_vec(),
        contents: pages[..used].to_vec(),
    })
}
