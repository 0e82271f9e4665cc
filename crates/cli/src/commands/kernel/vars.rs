//! `vdso kernel vars`: what the running kernel can publish.

use crate::output::{self, Cell, Side};
use miette::Result;
use serde_json::{Value, json};
use std::process::ExitCode;
use vdsokit_publish::kernel::{Kernel, Listed};

/// List variables of the running kernel that `vdso serve --kernel` can publish
///
/// First those with a name of their own, then one of every CPU each, which are summed, then
/// all others. Where the kernel says no type, say it: `NAME:u64`. Names that mark a secret are
/// left out.
#[derive(clap::Args)]
pub(crate) struct Vars {
    /// Only names that contain this; with a dot or bracket at its end or inside, the fields or
    /// elements of that variable: `init_uts_ns.name`
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
        output::show_json(&list.iter().map(json_of).collect::<Value>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["variable", "type", ""].map(Cell::new).to_vec()];
    rows.extend(list.into_iter().map(|row| {
        let ty = row.ty.unwrap_or_else(|| "-".into());
        [row.name, ty, row.doc].map(Cell::new).to_vec()
    }));
    output::show(&output::table(&[Side::Left; 3], 0, &rows))?;
    if !kernel.shows_symbols() {
        eprintln!(
            "vdso: the kernel shows its symbols only to a privileged process: others are missing"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn json_of(row: &Listed) -> Value {
    json!({"name": row.name, "type": row.ty, "doc": row.doc})
}
