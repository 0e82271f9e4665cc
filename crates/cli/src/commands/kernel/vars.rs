//! `vdso kernel vars`: the variables that the running kernel can publish.

use crate::output;
use miette::Result;
use serde_json::{Value, json};
use std::process::ExitCode;
use vdsokit_sources::kernel::{Kernel, Listed};

/// List variables of the running kernel that `vdso serve --kernel` can publish
///
/// First named ones, then per-CPU variables, which are summed, then all others. Where the kernel's
/// debugging information has no type, append one: `NAME:u64`. Names that indicate a secret are not
/// listed.
#[derive(clap::Args)]
pub(crate) struct Vars {
    /// List only names that contain this; with a dot or a bracket, the fields or elements of that
    /// variable: `init_uts_ns.name`
    pattern: Option<String>,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn vars(arguments: &Vars) -> Result<ExitCode> {
    let kernel = Kernel::running()?;
    let pattern = arguments.pattern.as_deref().unwrap_or_default();
    let list = match pattern.contains(['.', '[']) {
        true => kernel.inside(pattern)?,
        false => kernel.list(pattern),
    };
    if arguments.json {
        output::json(&list.iter().map(json_of).collect::<Value>())?;
        return Ok(ExitCode::SUCCESS);
    }
    // Longer than a terminal's line where necessary: names and types are to be copied.
    let width = |of: fn(&Listed) -> usize, most| list.iter().map(of).max().unwrap_or(0).min(most);
    let names = width(|row| row.name.len(), 40);
    let types = width(|row| row.ty.as_deref().map_or(1, str::len), 24);
    let line = |row: &Listed| {
        let ty = row.ty.as_deref().unwrap_or("-");
        let line = format!("{:names$}  {ty:types$}  {}", row.name, row.doc);
        format!("{}\n", line.trim_end())
    };
    output::show(&list.iter().map(line).collect::<String>())?;
    if !kernel.shows_symbols() {
        output::warn(
            "vdso: the kernel shows its symbols to privileged processes only: the list is incomplete",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn json_of(row: &Listed) -> Value {
    json!({"name": row.name, "type": row.ty, "doc": row.doc})
}
