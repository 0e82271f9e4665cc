//! `vdso ls`: the vDSOs of a process, a file or a core dump.

use super::dump::target;
use crate::output::{self, BOLD, Cell, DIM, Side, styled};
use crate::published;
use crate::values::{self, Row};
use miette::{IntoDiagnostic, Result, miette};
use serde_json::{Value, json};
use std::process::ExitCode;
use vdsokit_elf::arch::{self, Abi};
use vdsokit_inspect::inspect::{ClockView, ImageView, KernelView, Published, Target, inspect};

/// Show the vDSOs of a process, a file or a core dump
///
/// Prints the address, the segments and data pages, and the exports with their versions of each. For
/// one that vdsokit built also its variables, their values, and its publisher.
///
/// The exit status of a single file is as of `vdso get`.
#[derive(clap::Args)]
#[command(after_help = published::STATUSES)]
pub(crate) struct Arguments {
    /// A process id, an image, a core dump, or `self`; or `system`, `clock` or `kernel`, as `vdso
    /// serve` publishes them
    #[arg(default_value = "self", value_parser = target())]
    target: Target,
    /// Show the functions of Linux's own vDSO on an architecture, such as s390x
    #[arg(long, value_name = "NAME", conflicts_with = "target")]
    arch: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(name) = &arguments.arch {
        let abi = abi(name)?;
        if arguments.json {
            output::json(&abi_json(abi))?;
        } else {
            output::show(&abi_text(abi))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let target = match &arguments.target {
        Target::File(path) => Target::File(published::path(path)?),
        other => other.clone(),
    };
    let images = inspect(&target)?;
    if arguments.json {
        let images: Vec<Value> = images.iter().map(json_of).collect::<Result<_>>()?;
        output::json(&json!({ "target": target.to_string(), "images": images }))?;
    } else {
        let texts: Vec<String> = images.iter().map(|image| text(image, &target)).collect();
        output::show(&texts.join("\n"))?;
    }
    let state = match (&target, images.as_slice()) {
        (Target::File(_), [image]) => image.published.as_ref().and_then(|p| p.condition),
        _ => None,
    };
    Ok(state.map_or(ExitCode::SUCCESS, published::exit_status))
}

/// A view as JSON, with the values of its variables.
fn json_of(image: &ImageView) -> Result<Value> {
    let mut json = serde_json::to_value(image).into_diagnostic()?;
    for (index, variable) in image
        .published
        .iter()
        .flat_map(|p| &p.variables)
        .enumerate()
    {
        let value = variable.value.as_ref().map(values::to_json);
        json["published"]["variables"][index]["value"] = value.into();
    }
    Ok(json)
}

fn text(image: &ImageView, target: &Target) -> String {
    let target = match target {
        Target::File(path) => output::path(path),
        target => target.to_string(),
    };
    let title = format!("{target}: {}", image.role.words());
    let mut text = format!("{}\n", styled(BOLD, &title));
    let base = image.base.map(|base| format!("{base:#x}"));
    let facts = [
        ("soname", image.soname.clone()),
        ("build id", image.build_id.clone()),
        ("for", image.architecture.map(str::to_owned)),
        ("file", image.path.clone()),
        ("base", base),
        ("size", Some(image.size.to_string())),
        (
            "sealed",
            image.sealed.then(|| "yes: it can't be replaced".to_owned()),
        ),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            let name = styled(DIM, &format!("{name:10}"));
            text.push_str(&format!("  {name}{}\n", output::escaped(&fact)));
        }
    }
    if !image.data.is_empty() {
        text.push('\n');
        text.push_str(&data(image));
    }
    text.push('\n');
    text.push_str(&segments(image));
    text.push('\n');
    text.push_str(&symbols(image));
    if let Some(published) = &image.published {
        text.push('\n');
        text.push_str(&variables(published));
    }
    text
}

fn row<const N: usize>(cells: [String; N]) -> Vec<Cell> {
    cells.map(Cell::new).to_vec()
}

fn heading<const N: usize>(cells: [&str; N]) -> Vec<Cell> {
    cells.map(Cell::new).to_vec()
}

/// The columns of tables whose last one has names, which scripts read whole.
const NAMED: [Side; 4] = [Side::Left, Side::Right, Side::Left, Side::Value];

fn data(image: &ImageView) -> String {
    let mut rows = vec![heading(["data pages", "size", "access", "name"])];
    rows.extend(image.data.iter().map(|pages| {
        row([
            format!("{:#x}", pages.base),
            pages.size.to_string(),
            pages.permissions.clone(),
            pages.name.clone(),
        ])
    }));
    output::table(&NAMED, 2, &rows)
}

fn segments(image: &ImageView) -> String {
    let mut rows = vec![heading(["segment", "access", "offset", "address", "size"])];
    rows.extend(image.segments.iter().map(|segment| {
        row([
            segment.kind.to_owned(),
            segment.flags.clone(),
            format!("{:#x}", segment.offset),
            format!("{:#x}", segment.address),
            segment.size.to_string(),
        ])
    }));
    let sides = [
        Side::Left,
        Side::Left,
        Side::Right,
        Side::Right,
        Side::Right,
    ];
    output::table(&sides, 2, &rows)
}

fn symbols(image: &ImageView) -> String {
    let mut rows = vec![heading(["address", "size", "version", "symbol"])];
    rows.extend(image.symbols.iter().map(|symbol| {
        let mut names = vec![symbol.name.clone()];
        names.extend(symbol.aliases.iter().cloned());
        row([
            format!("{:#x}", symbol.address),
            symbol.size.to_string(),
            symbol.version.clone().unwrap_or_else(|| "-".into()),
            names.join(", "),
        ])
    }));
    output::table(&NAMED, 2, &rows)
}

fn variables(published: &Published) -> String {
    let state = match &published.state {
        None => "could not be read".to_owned(),
        Some(state) => {
            let publisher = match published.publisher {
                Some(pid) => format!(", publisher {pid}"),
                None => String::new(),
            };
            let age = match published.age {
                Some(age) if age < 1.0 => {
                    format!(", last heartbeat {:.0} ms ago", age * 1000.0)
                }
                Some(age) => format!(", last heartbeat {age:.1} s ago"),
                None => String::new(),
            };
            let bound = match published.stale_after {
                Some(limit) => format!(", stale after {limit} s"),
                None => String::new(),
            };
            format!("{state}{publisher}{age}{bound}")
        }
    };
    let mut state = output::paragraph(&format!("vvar pages: {state}"), 2);
    if let Some(kernel) = &published.kernel {
        state.push('\n');
        let is_clock = !published.clocks.is_empty();
        state.push_str(&output::paragraph(&source(kernel, is_clock), 2));
    }
    if !published.clocks.is_empty() {
        return format!("{state}\n\n{}", clocks(&published.clocks));
    }
    let mut rows = vec![heading(["variable", "type", "unit", "value"])];
    for variable in &published.variables {
        let all = Row::all(&variable.name, variable, variable.value.as_ref());
        rows.extend(
            all.into_iter()
                .map(|it| row([it.name, it.ty, it.unit, it.value])),
        );
    }
    let sides = [Side::Left, Side::Left, Side::Left, Side::Value];
    format!("{state}\n\n{}", output::table(&sides, 2, &rows))
}

/// The clocks of a clock image, in place of the words that its variables consist of.
fn clocks(clocks: &[ClockView]) -> String {
    let mut rows = vec![heading(["clock", "source", "error at most"])];
    rows.extend(clocks.iter().map(|clock| {
        let error = error_of(clock);
        row([clock.clock.to_owned(), clock.source.to_owned(), error])
    }));
    output::table(&[Side::Left, Side::Left, Side::Value], 2, &rows)
}

/// The bound of a clock's error, or the reason why there is none.
pub(super) fn error_of(clock: &ClockView) -> String {
    match (clock.source, clock.error_ns) {
        _ if !clock.answers => "no valid line: readers make a system call".to_owned(),
        ("counter", None) => "not known: no NTP daemon keeps this machine's wall time".to_owned(),
        (_, None) => "-".to_owned(),
        (_, Some(nanoseconds)) => length(nanoseconds),
    }
}

/// Nanoseconds for people, rounded up.
fn length(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{} us", nanoseconds.div_ceil(1000)),
        _ => format!("{} ms", nanoseconds.div_ceil(1_000_000)),
    }
}

/// The source of values that the kernel publishes.
fn source(kernel: &KernelView, is_clock: bool) -> String {
    let map = match kernel.map {
        Some(map) => format!("BPF map {map}"),
        None => "a BPF map that this process can't open".to_owned(),
    };
    let hooks = match kernel.hooks.as_slice() {
        [] => String::new(),
        hooks => format!(", filled at {}", hooks.join(", ")),
    };
    let kernel_itself = format!("{map}, {}{hooks}", kernel.directory.display());
    let pages = format!("source: the kernel's own pages ({kernel_itself})");
    match (kernel.direct, kernel.behind) {
        // A clock's unpublished pages make programs that load the file call the kernel.
        (true, _) if kernel.relayed || is_clock => pages,
        (true, _) => format!(
            "{pages}; the file's own pages were never published: `vdso serve FILE` copies the \
             values to them"
        ),
        (false, _) if is_clock && kernel.relayed => format!(
            "source: the kernel's timekeeper ({kernel_itself}) under `vdso run --clock`; programs \
             that load the file call the kernel's own vDSO"
        ),
        (false, _) if !kernel.relayed => format!(
            "source: the kernel ({kernel_itself}); its values are not copied to the file: `vdso \
             serve FILE` does that"
        ),
        (false, Some(behind)) => format!(
            "source: relayed from the kernel ({kernel_itself}), {:.1} ms behind",
            behind * 1e3
        ),
        (false, None) => format!("source: relayed from the kernel ({kernel_itself})"),
    }
}

fn abi(name: &str) -> Result<&'static Abi> {
    arch::named(name).ok_or_else(|| {
        let known: Vec<&str> = arch::ALL.iter().map(|abi| abi.name).collect();
        miette!(
            help = format!("use one of {}", known.join(", ")),
            "there is no architecture `{name}`"
        )
    })
}

fn abi_json(abi: &Abi) -> Value {
    let functions = abi.functions.iter().map(|function| {
        json!({
            "name": function.name,
            "version": function.version,
            "since": function.since,
            "until": function.until,
        })
    });
    json!({
        "name": abi.name,
        "bits": abi.class.bits(),
        "soname": abi.soname,
        "max_page": abi.max_page,
        "functions": functions.collect::<Vec<Value>>(),
        "quirks": abi.quirks,
        "source": abi.source,
    })
}

fn abi_text(abi: &Abi) -> String {
    let soname = abi.soname.unwrap_or("no ELF image");
    let title = format!("{}: {soname}, {} bits", abi.name, abi.class.bits());
    let mut text = format!("{}\n", styled(BOLD, &title));
    if !abi.functions.is_empty() {
        let mut rows = vec![heading(["since", "until", "version", "function"])];
        rows.extend(abi.functions.iter().map(|function| {
            row([
                function.since.unwrap_or("-").to_owned(),
                function.until.unwrap_or("-").to_owned(),
                function.version.to_owned(),
                function.name.to_owned(),
            ])
        }));
        text.push_str(&output::table(&[Side::Left; 4], 2, &rows));
    }
    for quirk in abi.quirks {
        text.push_str(&format!("\n{}\n", output::paragraph(quirk, 2)));
    }
    let source = output::paragraph(&format!("Source: {}", abi.source), 2);
    text.push_str(&format!("\n{}\n", styled(DIM, &source)));
    text
}
