//! `vdso put`: writes values into a distributed store.

use super::feed::Login;
use crate::image::declaration;
use crate::output;
use crate::values::QUOTING;
use miette::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_feed::{Location, put};
use vdsokit_publish::assign;

/// Write values into the store that `vdso feed` publishes from
///
/// The values are checked by the declaration: all of them are valid, or none is written. etcd writes
/// them in one transaction, NATS one after the other. Fields of a record that are not named keep
/// their values. Prints the revision of the last write.
///
/// Exit status: 0 written; 1 an error; 2 wrong usage.
#[derive(clap::Args)]
#[command(after_help = QUOTING)]
pub(crate) struct Arguments {
    /// The store: `nats://HOST:PORT,…/BUCKET` or `etcd://HOST:PORT,…/PREFIX`
    store: String,
    /// What to write: `name=value`, `name.field=value`, `name=1,2,3`
    #[arg(required_unless_present = "declaration", value_name = "NAME=VALUE")]
    assignments: Vec<String>,
    /// Check the values by this declaration, and store it for the next `vdso put`. Without it the
    /// store's own holds
    #[arg(long, value_name = "FILE.toml")]
    declaration: Option<PathBuf>,
    #[command(flatten)]
    login: Login,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let location: Location = arguments.store.parse()?;
    let mut assignments = Vec::new();
    for argument in &arguments.assignments {
        assignments.extend(assign::parse_argument(argument)?);
    }
    let given = arguments
        .declaration
        .as_deref()
        .map(declaration)
        .transpose()?;
    let text = given.map(|declaration| declaration.to_toml());
    let credentials = arguments.login.credentials();
    let revision = put(&location, &credentials, text.as_deref(), &assignments)?;
    output::line(format_args!("revision {revision}"))?;
    Ok(ExitCode::SUCCESS)
}
