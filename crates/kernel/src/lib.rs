//! A crate's virtual system calls in Linux's own vDSO.
//!
//! [`add`] works out how a Linux source tree has to change so that its vDSO exports the
//! functions of a crate, its data pages hold the crate's variables, and the kernel keeps
//! them up to date; [`remove`] works out the way back, to the byte. Both give a [`Plan`],
//! which is shown as a diff or applied.
//!
//! ```no_run
//! use vdsokit_kernel::{Package, Tree, add};
//!
//! let tree = Tree::open("../linux-6.12".as_ref())?;
//! let image = std::fs::read("libbeast.so.1").expect("built by `vdso build`");
//! let plan = add(&tree, &Package::new("examples/beast".as_ref(), &image)?)?;
//! print!("{plan}");
//! plan.apply()?;
//! # Ok::<(), miette::Report>(())
//! ```
//!
//! # What it promises
//! 1. **Only whole lines are inserted**, nine at most, each found by an anchor; everything
//!    else goes into files of its own. See [`Layout`] for the trees that are known.
//! 2. **Nothing is guessed.** A file that is not as expected is refused with its line, and
//!    then nothing at all is changed.
//! 3. **Adding twice changes nothing**, not even a time stamp, so make builds nothing again.
//! 4. **The kernel's compiler checks every offset** against the structure that its setters
//!    use, and the pages are the crate's own: they can meet no other variable.
//! 5. **Only the 64-bit image gets the functions.** 32-bit and x32 images have the pages,
//!    which all images share, and none of the functions.
//!
//! # What it does not do
//! It changes x86-64's vDSO only, and neither configures nor builds the kernel.

mod edit;
mod error;
mod generate;
mod list;
mod package;
mod plan;
mod tree;

pub use error::Error;
pub use package::Package;
pub use plan::Plan;
pub use tree::{Layout, Tree};

use edit::Insertion;
use list::List;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What has to change so that the tree's vDSO has the crate's functions: nothing, if it has
/// them already.
///
/// # Errors
/// [`Error`]; the tree is not changed here.
pub fn add(tree: &Tree, package: &Package) -> Result<Plan, Error> {
    let old = List::read(tree)?;
    refuse_clashes(tree, &old, package)?;
    let mut list = old.clone();
    list.add(package);
    let mut files = generate::of_crate(package);
    files.extend(generate::shared(&list, tree.layout()));
    let mut plan = Plan::new(tree);
    write_files(tree, &old, &mut list, files, &mut plan)?;
    each_file(tree, |file, text, insertions| {
        let after = edit::insert(file, &text, insertions)?;
        plan.change(file, Some(text), Some(after));
        Ok(())
    })?;
    Ok(plan)
}

/// What has to change so that the tree's vDSO no longer has the functions of the crate that
/// [`Package::name`] calls `name`, or of any crate.
///
/// # Errors
/// [`Error`]; the tree is not changed here.
pub fn remove(tree: &Tree, name: Option<&str>) -> Result<Plan, Error> {
    let old = List::read(tree)?;
    let mut list = old.clone();
    match name {
        None => list.crates.clear(),
        Some(name) => list.crates.retain(|added| added.name != name),
    }
    if let Some(name) = name
        && list.crates.len() == old.crates.len()
    {
        return Err(Error::NotThere {
            name: name.to_owned(),
            names: old.crates.into_iter().map(|added| added.name).collect(),
        });
    }
    let mut plan = Plan::new(tree);
    if list.crates.is_empty() {
        each_file(tree, |file, text, insertions| {
            let after = edit::take_out(file, &text, insertions)?;
            plan.change(file, Some(text), Some(after));
            Ok(())
        })?;
        delete(tree, &old, old.files.keys(), &mut plan)?;
        let text = tree.read(Path::new(list::FILE))?;
        plan.change(Path::new(list::FILE), text, None);
        plan.clear_directory(generate::SOURCES);
        plan.clear_directory(generate::HEADERS);
        return Ok(plan);
    }
    let gone: Vec<PathBuf> = old
        .crates
        .iter()
        .filter(|added| !list.crates.contains(added))
        .flat_map(|added| generate::names_of_crate(&added.name))
        .collect();
    delete(tree, &old, gone.iter(), &mut plan)?;
    list.files.retain(|file, _| !gone.contains(file));
    let files = generate::shared(&list, tree.layout());
    write_files(tree, &old, &mut list, files, &mut plan)?;
    Ok(plan)
}

/// Plans generated files and the list that names them.
fn write_files(
    tree: &Tree,
    old: &List,
    list: &mut List,
    files: Vec<generate::Generated>,
    plan: &mut Plan,
) -> Result<(), Error> {
    for (file, text) in files {
        let before = tree.read(&file)?;
        if let Some(before) = &before
            && *before != text
        {
            old.check(&file, before)?;
        }
        list.files.insert(file.clone(), list::hash_of(&text));
        plan.change(&file, before, Some(text));
    }
    let file = Path::new(list::FILE);
    plan.change(file, tree.read(file)?, Some(list.text()?));
    Ok(())
}

/// Plans that generated files go, unless somebody edited one.
fn delete<'f>(
    tree: &Tree,
    list: &List,
    files: impl Iterator<Item = &'f PathBuf>,
    plan: &mut Plan,
) -> Result<(), Error> {
    for file in files {
        if let Some(before) = tree.read(file)? {
            list.check(file, &before)?;
            plan.change(file, Some(before), None);
        }
    }
    Ok(())
}

/// Calls `with` for each of the kernel's files that get insertions, with its text.
fn each_file(
    tree: &Tree,
    mut with: impl FnMut(&Path, String, &[&Insertion]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut files: BTreeMap<&Path, Vec<&Insertion>> = BTreeMap::new();
    for insertion in tree.insertions() {
        files
            .entry(Path::new(insertion.file))
            .or_default()
            .push(insertion);
    }
    for (file, insertions) in files {
        let text = tree.read(file)?.ok_or_else(|| Error::UnknownTree {
            version: tree.version().to_owned(),
            why: format!("it has no {}", file.display()),
        })?;
        with(file, text, &insertions)?;
    }
    Ok(())
}

/// Refuses a crate that exports what the image has already, from the kernel or from another
/// crate.
fn refuse_clashes(tree: &Tree, list: &List, package: &Package) -> Result<(), Error> {
    let mut scripts = vec![PathBuf::from(tree.exports())];
    let others = list
        .crates
        .iter()
        .filter(|added| added.name != package.name());
    scripts.extend(
        others.map(|added| {
            Path::new(generate::HEADERS).join(format!("{}.versions.lds.h", added.name))
        }),
    );
    for script in scripts {
        let text = tree.read(&script)?.unwrap_or_default();
        let taken = generate::exported(&text).find(|taken| {
            package
                .exports
                .iter()
                .any(|e| e.name == *taken || e.version == *taken)
        });
        if let Some(taken) = taken {
            return Err(Error::Crate {
                root: package.root.clone(),
                why: format!("`{taken}` is taken: {} has it", script.display()),
                advice: "give the function or the version another name".into(),
            });
        }
    }
    Ok(())
}
