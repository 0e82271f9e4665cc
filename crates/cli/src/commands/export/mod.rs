//! `vdso export`: vDSOs for Prometheus, and as a page that shows them live.

mod server;
mod snapshot;

use super::serve::duration;
use crate::metrics::Format;
use crate::output;
use crate::signals;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use snapshot::Exported;
use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Serve the state and the values of vDSOs as metrics, and a live page
///
/// `/metrics` is OpenMetrics where the client accepts it, as Prometheus does, and Prometheus's text
/// format otherwise. `/` is a page that shows the values as they change. SIGTERM, SIGINT and SIGHUP
/// end the server.
///
/// A number is a gauge `PREFIX_NAME` with the unit at its end, in the base units of Prometheus
/// (`ms` becomes seconds); a record has a metric for each field, an array a label `index`, and a
/// text is the label `value` of `PREFIX_NAME_info`. The state has the metrics of `vdso status
/// --prometheus`.
///
/// Exit status: 0 after an orderly end; 1 an error, such as a port that is taken; 2 wrong usage.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The vDSOs, `clock`, `system` or `kernel`; without them those of the three that are published
    files: Vec<PathBuf>,
    /// Listen at this address and port; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = DEFAULT_ADDRESS)]
    listen: SocketAddr,
    /// Permit an address that other machines can reach. There is no authentication and no TLS
    #[arg(long)]
    public: bool,
    /// Write a file for node_exporter's textfile collector instead, in one step: once, or with
    /// --every repeatedly
    #[arg(long, value_name = "FILE.prom", conflicts_with_all = ["listen", "public"])]
    textfile: Option<PathBuf>,
    /// Time between two updates of the page, 500ms by default, or of the file
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
}

const DEFAULT_ADDRESS: &str = "127.0.0.1:9953";

/// The default time between two updates of the page.
const EVERY: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let exported = Exported::new(&arguments.files);
    signals::exit_on_truncation(Path::new(&exported.names()));
    match &arguments.textfile {
        Some(file) => textfile(file, exported, arguments.every),
        None => serve(arguments, exported),
    }
}

fn serve(arguments: &Arguments, exported: Exported) -> Result<ExitCode> {
    let address = arguments.listen;
    if !address.ip().is_loopback() && !arguments.public {
        return Err(miette!(
            help = format!(
                "add `--public` to listen there, without authentication or TLS; or listen at {DEFAULT_ADDRESS} \
                 behind a proxy that has both"
            ),
            "other machines can reach {address}"
        ));
    }
    let stop = signals::stop()?;
    server::run(address, exported, arguments.every.unwrap_or(EVERY), stop)?;
    Ok(ExitCode::SUCCESS)
}

fn textfile(file: &Path, mut exported: Exported, every: Option<Duration>) -> Result<ExitCode> {
    let stop = every.map(|_| signals::stop()).transpose()?;
    loop {
        write(file, &exported.metrics(Format::Prometheus))
            .into_diagnostic()
            .wrap_err_with(|| format!("{} could not be written", output::path(file)))?;
        let (Some(every), Some(stop)) = (every, &stop) else {
            return Ok(ExitCode::SUCCESS);
        };
        let wait = Timespec {
            tv_sec: i64::try_from(every.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: every.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(stop, PollFlags::IN)];
        // An interrupted wait ends early, and the file is written once more.
        if poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Replaces the file by renaming, so that the collector never reads half of it. Its name has no
/// `.prom` at the end before that.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut new = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(directory)?;
    new.write_all(text.as_bytes())?;
    new.persist(file)?;
    Ok(())
}
