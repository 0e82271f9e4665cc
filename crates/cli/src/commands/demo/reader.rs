//! The reader in Rust: this program in another process.

use crate::{output, values};
use miette::Result;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use vdsokit_publish::{Dynamic, Vdso};
use vdsokit_sources::system::Load;

/// Prints "value NAME NUMBER" and "cost WHAT NANOSECONDS" lines
#[derive(clap::Args)]
pub(crate) struct Arguments {
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let vdso = Vdso::open(&arguments.file)?;
    for name in super::SHOWN {
        let (name, value) = values::values_of(&vdso, &[(*name).to_owned()])?.remove(0);
        let value = match &value {
            Dynamic::Scalar(number) if name == "uptime" || name == "load.one" => {
                format!(
                    "{:.2}",
                    number.to_string().parse::<f64>().unwrap_or(f64::NAN)
                )
            }
            value => value.to_string(),
        };
        output::line(format!("value\t{name}\t{value}"))?;
    }
    let threads = vdso.var::<u32>("threads")?;
    let load = vdso.latched::<Load>("load")?;
    let cost = |what: &str, each: f64| output::line(format!("cost\t{what}\t{each:.2}"));
    cost(
        "Rust: threads.get()",
        best(1_000_000, || {
            black_box(threads.get());
        }),
    )?;
    cost(
        "Rust: load.get()",
        best(1_000_000, || {
            black_box(load.get());
        }),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The shortest time of a call in nine rounds, which other processes disturb least.
fn best(calls: u32, call: impl Fn()) -> f64 {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..9).map(round).fold(f64::INFINITY, f64::min)
}
