//! `vdso check`: what keeps an image from working as a vDSO with every reader.

use crate::output;
use miette::{IntoDiagnostic, Result, WrapErr};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vdsokit_build::{directory, not_interposing};
use vdsokit_elf::Image;
use vdsokit_elf::check::{Profile, check};
use vdsokit_elf::compare::compare;
use vdsokit_elf::file::read_image;
use vdsokit_inspect::inspect::InspectError;

/// What `vdso build` and `vdso check` say of a function that has the name of one of the C library's
/// and not its version.
pub(super) const PASSED_OVER: &str = "programs of glibc call the C library's function of this \
    name, not the image's; `interpose = true` in the declaration changes that";

/// Check an image as strictly as a kernel checks its own
///
/// Prints what is wrong and where, and notes. Exit status: 0 nothing is wrong, 1 something is.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The image
    file: PathBuf,
    /// Check a vDSO that vdsokit did not build, only by the rules that every reader relies on
    #[arg(long)]
    foreign: bool,
    /// Also list what breaks programs that were built with this older image
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = output::path(&arguments.file);
    let bytes = read(&arguments.file)?;
    let image = parse(&arguments.file, &bytes)?;
    let profile = if arguments.foreign {
        Profile::Foreign
    } else {
        Profile::Own
    };
    let mut findings: Vec<[String; 3]> = check(&image, profile)
        .into_iter()
        .map(|finding| {
            let place = finding.place.to_string();
            [finding.rule.name().to_owned(), place, finding.what]
        })
        .collect();
    if !arguments.foreign
        && let Err(error) = directory(&image)
    {
        findings.push(["directory".into(), "image".into(), error.to_string()]);
    }
    if let Some(old) = &arguments.against {
        let bytes = read(old)?;
        findings.extend(broken(&parse(old, &bytes)?, &image));
    }
    let passed_over = match arguments.foreign {
        true => Vec::new(),
        false => not_interposing(&image),
    };
    if arguments.json {
        let list: Vec<_> = findings
            .iter()
            .map(|[rule, place, what]| json!({"rule": rule, "place": place, "what": what}))
            .collect();
        output::json(&json!({
            "file": arguments.file.to_string_lossy(), "findings": list, "not_interposing": passed_over,
        }))?;
    } else {
        let findings = findings
            .iter()
            .map(|[rule, place, what]| format!("{path}: {rule}: {place}: {what}"));
        let notes = passed_over
            .iter()
            .map(|name| format!("{path}: note: symbol {name}: {PASSED_OVER}"));
        for line in findings.chain(notes) {
            if !output::line(output::escaped(&line))? {
                break;
            }
        }
    }
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    read_image(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} could not be read", output::path(path)))
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Image<'a>> {
    let error = |reason| InspectError::not_an_image(path, bytes, reason);
    Ok(Image::parse(bytes).map_err(error)?)
}

/// What breaks programs that were built with the old image: exports that the new one lacks, and
/// variables that have moved.
fn broken(old: &Image<'_>, new: &Image<'_>) -> Vec<[String; 3]> {
    let mut findings: Vec<[String; 3]> = compare(old, new)
        .into_iter()
        .map(|breakage| ["against".into(), "image".into(), breakage.to_string()])
        .collect();
    if let (Ok(old), Ok(new)) = (directory(old), directory(new))
        && let Some(entry) = old.get(old.shared_with(&new))
    {
        findings.push([
            "against".into(),
            format!("variable {}", entry.name),
            "has moved or has another type: variables may only be added at the end".into(),
        ]);
    }
    findings
}
