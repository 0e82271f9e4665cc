//! A crate's virtual system calls in Linux's own vDSO.
//!
//! [`add`] works out how a Linux source tree has to change so that its vDSO exports the
//! functions of a crate, its data pages hold the crate's variables, and the kernel keeps
//! them up to date; [`remove`] works out the way back, to the byte. Both give a [`Plan`],
//! which is shown as a diff or applied.
//!
//! ```no_run
//! use vdsokit_linux_tree::{Package, Tree, add};
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
//! 1. **Only whole lines are inserted**, a dozen at most, each found by an anchor; everything
//!    else goes into files of its own. See [`Layout`] for the trees that are known.
//! 2. **Nothing is guessed.** A file that is not as expected is refused with its line, and
//!    then nothing at all is changed.
//! 3. **Adding twice changes nothing**, not even a time stamp, so make builds nothing again.
//! 4. **The kernel's compiler checks every offset** against the structure that its setters
//!    use, and the pages are the crate's own: they can meet no other variable.
//! 5. **All or nothing**: when a file can't be written, the tree becomes what it was.
//! 6. **No symbolic link of the tree is followed**: a tree may come from anybody, and all that is
//!    read, written and removed lies beneath its root.
//! 7. **Only the 64-bit image gets the functions.** 32-bit and x32 images have the pages,
//!    which all images share, and none of the functions.
//!
//! [`add_clock`] makes the kernel's clock functions and `getcpu` those of
//! `vdsokit-linux-clock`, in Rust, in the 64-bit and the x32 image, which Linux makes of the
//! same objects; the image for 32-bit programs keeps the kernel's own.
//!
//! # What it does not do
//! It changes x86-64's vDSO only, and neither configures nor builds the kernel.

mod beneath;
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
    plan(tree, &old, list, generate::of_crate(package))
}

/// What has to change so that the 64-bit vDSO's clock functions and `getcpu` are those of
/// `vdsokit-linux-clock` instead of the kernel's own in C.
///
/// # Errors
/// [`Error::NoClock`] for a tree whose data page they do not read, and the other [`Error`]s;
/// the tree is not changed here.
pub fn add_clock(tree: &Tree) -> Result<Plan, Error> {
    tree.has_room_for_clock()?;
    let old = List::read(tree)?;
    let list = List {
        clock: true,
        ..old.clone()
    };
    plan(tree, &old, list, Vec::new())
}

/// What has to change so that the tree's vDSO no longer has the functions of the crate that
/// [`Package::name`] calls `name`.
///
/// # Errors
/// [`Error`]; the tree is not changed here.
pub fn remove(tree: &Tree, name: &str) -> Result<Plan, Error> {
    let old = List::read(tree)?;
    let mut list = old.clone();
    list.crates.retain(|added| added.name != name);
    if list.crates.len() == old.crates.len() {
        return Err(Error::NotThere {
            name: name.to_owned(),
            names: old.crates.into_iter().map(|added| added.name).collect(),
        });
    }
    plan(tree, &old, list, Vec::new())
}

/// What has to change so that the tree's clock functions are the kernel's own again.
///
/// # Errors
/// [`Error`]; the tree is not changed here.
pub fn remove_clock(tree: &Tree) -> Result<Plan, Error> {
    let old = List::read(tree)?;
    if !old.clock {
        return Err(Error::NoClockThere);
    }
    let list = List {
        clock: false,
        ..old.clone()
    };
    plan(tree, &old, list, Vec::new())
}

/// What has to change so that nothing that was added is left.
///
/// # Errors
/// [`Error`]; the tree is not changed here.
pub fn remove_all(tree: &Tree) -> Result<Plan, Error> {
    let old = List::read(tree)?;
    let list = List {
        files: old.files.clone(),
        ..List::default()
    };
    plan(tree, &old, list, Vec::new())
}

/// From what a tree has to what it is to have; `fresh` are the files of a crate that comes or
/// changes.
fn plan(
    tree: &Tree,
    old: &List,
    mut list: List,
    fresh: Vec<generate::Generated>,
) -> Result<Plan, Error> {
    let mut plan = Plan::new(tree);
    let mut files = fresh;
    files.extend(generate::shared(&list, tree.layout()));
    let mut stay: Vec<PathBuf> = files.iter().map(|(file, _)| file.clone()).collect();
    for added in &list.crates {
        stay.extend(generate::names_of_crate(&added.name));
    }
    list.files.retain(|file, _| stay.contains(file));
    for (file, text) in &files {
        list.files.insert(file.clone(), list::hash_of(text));
    }
    let list_file = Path::new(list::FILE);
    let list_before = tree.read(list_file)?;
    let list_after = if list.is_empty() {
        None
    } else {
        Some(list.text()?)
    };
    // A run that was killed is completed by the same command, and undone by `remove` if
    // it was the first: so a new list comes before all else, an old one stays until the end.
    let is_new = list_before.is_none();
    let write_list =
        |plan: &mut Plan| plan.change(list_file, list_before.clone(), list_after.clone());
    if is_new {
        write_list(&mut plan);
    }
    for (file, text) in files {
        let before = tree.read(&file)?;
        if let Some(before) = &before
            && *before != text
        {
            old.check(&file, before)?;
        }
        plan.change(&file, before, Some(text));
    }
    each_file(tree, |file, text, insertions| {
        let (wanted, unwanted): (Vec<_>, Vec<_>) = insertions
            .iter()
            .partition(|insertion| list.needs(insertion.part));
        let after = edit::change(file, &text, &wanted, &unwanted)?;
        plan.change(file, Some(text), Some(after));
        Ok(())
    })?;
    let gone = old.files.keys().filter(|file| !stay.contains(file));
    delete(tree, old, gone, &mut plan)?;
    if !is_new {
        write_list(&mut plan);
    }
    if !list.clock {
        plan.clear_directory(generate::CLOCK);
    }
    if list.is_empty() {
        plan.clear_directory(generate::SOURCES);
        plan.clear_directory(generate::HEADERS);
    }
    Ok(plan)
}

/// Plans that generated files go, unless one was edited.
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
    // Cargo would build both libraries in one place; and a crate that has moved keeps its
    // library's name, where another one of the same prefix has not.
    let same = |added: &list::Added| added.library == package.library;
    let clash = match list
        .crates
        .iter()
        .find(|added| added.name == package.name())
    {
        Some(added) => (!same(added)).then_some(added),
        None => list.crates.iter().find(|added| same(added)),
    };
    if let Some(added) = clash {
        return Err(Error::Crate {
            root: package.root.clone(),
            why: format!(
                "`{}` was added from {} already",
                added.name,
                added.root.display()
            ),
            advice: format!(
                "give the package and its prefix names of their own, or take the other one out: \
                 vdso kernel remove {}",
                added.name
            ),
        });
    }
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
