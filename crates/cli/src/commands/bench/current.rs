//! `vdso bench current`: the running task's facts beside the system calls.
#![allow(
    unsafe_code,
    reason = "a page in this process's memory is read as the kernel's would be"
)]

use crate::output::{self, BOLD, Cell, DIM, Side, styled};
use miette::Result;
use serde_json::json;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::hint::black_box;
use std::process::ExitCode;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use vdsokit_current::{
    Clamp, Current, FLAG_RDPID, Head, LIVE, Reader, Slot, counter, has_rdpid, slots_size,
};
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
    let current = Current::new(Some(published.unwrap_or_else(page)));
    let kernel = Current::new(None);
    let clamp = Clamp::new();
    let rows = [
        row("pid", samples, || current.pid(), || kernel.pid()),
        row("tid", samples, || current.tid(), || kernel.tid()),
        row("parent", samples, || current.parent(), || kernel.parent()),
        row(
            "thread_cpu_time",
            samples,
            || current.thread_cpu_time(&clamp),
            || kernel.thread_cpu_time(&Clamp::new()),
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

/// A page in memory that is never freed, in which every CPU runs the same task. Its clock counts ticks of the
/// counter, and its heartbeat lies in the future.
fn page() -> Reader {
    const CPUS: u32 = 4096;
    let size = 4096 + slots_size(CPUS as usize);
    let layout = Layout::from_size_align(size, 4096).unwrap_or_else(|_| Layout::new::<Head>());
    // SAFETY: the size is not 0.
    let memory = unsafe { alloc_zeroed(layout) };
    let Some(head) = NonNull::new(memory.cast::<Head>()) else {
        handle_alloc_error(layout)
    };
    // SAFETY: (1) head and slots are there, aligned, zeros at first, which are their values; (2) the
    // memory is never freed.
    let reader = unsafe { Reader::new(head) };
    let head = reader.head();
    head.cpus.store(CPUS, Ordering::Relaxed);
    head.flags
        .store(if has_rdpid() { FLAG_RDPID } else { 0 }, Ordering::Relaxed);
    head.mult.store(1, Ordering::Relaxed);
    let hour = Duration::from_secs(3600).as_nanos() as u64;
    head.heartbeat
        .store(counter().wrapping_add(hour), Ordering::Relaxed);
    let slots = (0..CPUS).filter_map(|cpu| reader.slot(cpu));
    slots.for_each(|slot: &Slot| {
        slot.tid.store(1, Ordering::Relaxed);
        slot.parent_known.store(1, Ordering::Relaxed);
    });
    head.state.store(LIVE, Ordering::Relaxed);
    reader
}
