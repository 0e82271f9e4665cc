//! `vdso bench current`: the running task's facts beside the system calls.
use crate::output::{self, BOLD, Cell, DIM, Side, styled};
use miette::Result;
use serde_json::json;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;
use vdsokit_current::{Current, PerThread, Reader, has_rdpid, in_memory};
use vdsokit_inspect::statistics::Summary;

/// Calls in a sample.
const BATCH: u32 = 200;

/// A function: its name, by the pages, and by system call.
struct Row {
    name: &'static str,
    page: Option<f64>,
    call: Option<f64>,
}

pub(super) fn run(samples: u32, as_json: bool) -> Result<ExitCode> {
    let published = Reader::open();
    let pages = || in_memory(1).map(|(_, reader)| reader);
    let (kept, of_kernel) = (PerThread::new(), PerThread::new());
    let current = Current::new(published.or_else(pages), &kept);
    let kernel = Current::new(None, &of_kernel);
    let rows = [
        row("pid", samples, || current.pid(), || kernel.pid()),
        row("tid", samples, || current.tid(), || kernel.tid()),
        row("parent", samples, || current.parent(), || kernel.parent()),
        row(
            "thread_cpu_time",
            samples,
            || current.thread_cpu_time(),
            || kernel.thread_cpu_time(),
        ),
        row(
            "switches",
            samples,
            || current.switches(),
            || kernel.switches(),
        ),
    ];
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| json!({"function": row.name, "page": row.page, "system_call": row.call}))
            .collect();
        output::json(
            &json!({"published": published.is_some(), "rdpid": has_rdpid(), "nanoseconds": rows}),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let unit = styled(DIM, "Nanoseconds per call, median of the samples.");
    let what = match published {
        Some(_) => "",
        None => {
            "No page is published for this user (`vdso serve current`): this is a page in memory \
             with the same layout.\n"
        }
    };
    let mut table = vec![
        ["function", "page", "system call", "ratio"]
            .map(Cell::new)
            .to_vec(),
    ];
    for row in &rows {
        let ratio = match (row.page, row.call) {
            (Some(page), Some(call)) => format!("{:.1}x", call / page),
            _ => "-".into(),
        };
        table.push(vec![
            Cell::new(row.name),
            Cell::styled(BOLD, output::nanoseconds(row.page)),
            Cell::new(output::nanoseconds(row.call)),
            Cell::styled(DIM, ratio),
        ]);
    }
    let sides = [Side::Left, Side::Right, Side::Right, Side::Right];
    output::show(&format!(
        "{what}{unit}\n\n{}",
        output::table(&sides, 0, &table)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Measures both ways in turns, so that a busy machine is busy for both.
fn row<T>(name: &'static str, samples: u32, page: impl Fn() -> T, call: impl Fn() -> T) -> Row {
    let sample = |what: &dyn Fn()| {
        let start = Instant::now();
        what();
        start.elapsed().as_nanos() as f64 / f64::from(BATCH)
    };
    let pages = || (0..BATCH).for_each(|_| drop(black_box(page())));
    let calls = || (0..BATCH).for_each(|_| drop(black_box(call())));
    let (by_page, by_call): (Vec<f64>, Vec<f64>) = (0..samples)
        .map(|_| (sample(&pages), sample(&calls)))
        .unzip();
    let median = |samples: &[f64]| Summary::of(samples).map(|summary| summary.median);
    Row {
        name,
        page: median(&by_page),
        call: median(&by_call),
    }
}
