//! `vdso bench`: the time that every function takes by every route.

#[cfg(target_arch = "x86_64")]
mod current;

use crate::output::{self, BOLD, Cell, DIM, Side, styled};
use miette::{IntoDiagnostic, Result, WrapErr};
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_inspect::benchmark::{self, Benchmark};
use vdsokit_inspect::call::Library;
use vdsokit_inspect::function::{Function, Route};
use vdsokit_inspect::measure::Plan;
use vdsokit_inspect::report;

/// Measure how long every function takes: by the vDSO, by libc, by system call
///
/// A sample is the mean of a batch of calls; the table shows the median of the samples.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// `current`: the running task's ids and CPU times, by their page and by system call
    #[cfg(target_arch = "x86_64")]
    #[arg(value_parser = ["current"], conflicts_with_all = ["image", "html"])]
    what: Option<String>,
    /// Also measure an image, loaded as a shared library
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Samples of each function by each route
    #[arg(long, value_name = "N", default_value_t = Plan::THOROUGH.samples,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    samples: u32,
    /// Write a page with plots of the distributions
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    #[cfg(target_arch = "x86_64")]
    if arguments.what.is_some() {
        return current::run(arguments.samples, arguments.json);
    }
    let library = match &arguments.image {
        None => None,
        Some(path) => {
            let name = output::path(path);
            let library = Library::load(path)
                .into_diagnostic()
                .wrap_err_with(|| format!("{name} could not be loaded"))?;
            Some((name, library))
        }
    };
    let plan = Plan {
        samples: arguments.samples,
        ..Plan::THOROUGH
    };
    let bar = output::progress(Function::ALL.len(), "measuring");
    let image = library
        .as_ref()
        .map(|(name, library)| (name.clone(), library));
    let benchmark = benchmark::run(image, plan, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    if arguments.json {
        output::json(&benchmark)?;
    } else {
        output::show(&text(&benchmark))?;
    }
    if let Some(path) = &arguments.html {
        std::fs::write(path, report::html(&benchmark))
            .into_diagnostic()
            .wrap_err_with(|| format!("{} could not be written", output::path(path)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(benchmark: &Benchmark) -> String {
    let machine = output::paragraph(&benchmark.machine.line(), 0);
    let unit = styled(DIM, "Nanoseconds per call, median of the samples.");
    let mut routes = vec![Route::Vdso, Route::Libc, Route::SystemCall];
    if benchmark.image.is_some() {
        routes.insert(1, Route::Image);
    }
    let mut headings = vec![Cell::new("function")];
    headings.extend(routes.iter().map(|route| Cell::new(route.name())));
    headings.push(Cell::new("ratio"));
    let mut rows = vec![headings];
    for cost in &benchmark.costs {
        let mut row = vec![Cell::new(cost.function.to_string())];
        for &route in &routes {
            let median = output::nanoseconds(cost.median(route));
            row.push(match route {
                Route::Vdso => Cell::styled(BOLD, median),
                _ => Cell::new(median),
            });
        }
        let ratio = match (cost.median(Route::SystemCall), cost.median(Route::Vdso)) {
            (Some(system), Some(vdso)) => format!("{:.1}x", system / vdso),
            _ => "-".into(),
        };
        row.push(Cell::styled(DIM, ratio));
        rows.push(row);
    }
    let mut sides = vec![Side::Left];
    sides.resize(routes.len() + 2, Side::Right);
    format!("{machine}\n{unit}\n\n{}", output::table(&sides, 0, &rows))
}
