//! `vdso kernel add` and `remove`: changes of a Linux source tree.

use crate::output;
use miette::Result;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_build::{Architecture, build_crate};
use vdsokit_linux_tree::{Package, Plan, Tree};

/// Add a crate's virtual system calls to a Linux source tree
///
/// The tree's vDSO then exports the crate's functions, its data pages hold the crate's
/// variables, and the kernel keeps them up to date. The kernel's make compiles the crate.
/// Repeating it changes nothing, or updates the tree to the crate.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Add {
    /// The crate's directory
    #[arg(group = "what")]
    source: Option<PathBuf>,
    /// Replace Linux's own clock functions and getcpu by ones in Rust
    #[arg(long, group = "what")]
    clock: bool,
    #[command(flatten)]
    how: How,
}

/// Remove what `vdso kernel add` added, to the byte
#[derive(clap::Args)]
pub(super) struct Remove {
    /// The crate, by the name that `add` printed; by default everything
    name: Option<String>,
    /// Restore Linux's own clock functions
    #[arg(long, conflicts_with = "name")]
    clock: bool,
    #[command(flatten)]
    how: How,
}

#[derive(clap::Args)]
struct How {
    /// The Linux source tree
    #[arg(long, value_name = "DIR")]
    tree: PathBuf,
    /// Print the change as a diff, without making it
    #[arg(long)]
    dry_run: bool,
    /// Print the changed files as JSON
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
}

pub(super) fn add(arguments: &Add) -> Result<ExitCode> {
    let Add { source, how, .. } = arguments;
    let tree = Tree::open(&how.tree)?;
    let Some(source) = source else {
        let plan = vdsokit_linux_tree::add_clock(&tree)?;
        return carry_out(how, &tree, &plan, "the clock is in");
    };
    let built = build_crate(source, Architecture::X86_64)?;
    let package = Package::new(source, &built.image)?;
    let plan = vdsokit_linux_tree::add(&tree, &package)?;
    carry_out(how, &tree, &plan, &format!("{} is in", package.name()))
}

pub(super) fn remove(arguments: &Remove) -> Result<ExitCode> {
    let Remove { name, clock, how } = arguments;
    let tree = Tree::open(&how.tree)?;
    let (plan, what) = match name {
        _ if *clock => (vdsokit_linux_tree::remove_clock(&tree)?, "the clock"),
        Some(name) => (vdsokit_linux_tree::remove(&tree, name)?, name.as_str()),
        None => (vdsokit_linux_tree::remove_all(&tree)?, "everything"),
    };
    carry_out(how, &tree, &plan, &format!("{what} is out of"))
}

fn carry_out(how: &How, tree: &Tree, plan: &Plan, done: &str) -> Result<ExitCode> {
    if how.dry_run {
        output::show(&plan.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    plan.apply()?;
    let files: Vec<_> = plan
        .files()
        .map(|file| file.display().to_string())
        .collect();
    if how.json {
        output::json(&json!({"linux": tree.version(), "changed": files}))?;
    } else if files.is_empty() {
        output::line(format_args!(
            "nothing to do: {done} Linux {}",
            tree.version()
        ))?;
    } else {
        for file in files {
            output::line(output::escaped(&file))?;
        }
        output::line(format_args!("{done} Linux {}", tree.version()))?;
    }
    Ok(ExitCode::SUCCESS)
}
