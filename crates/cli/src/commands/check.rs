//! `vdso check`: what would keep an image from being a vDSO everywhere.

use crate::start::ExitCode;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::json;
use std::path::{Path, PathBuf};
use vdsokit_build::directory;
use vdsokit_elf::Image;
use vdsokit_elf::check::{Profile, check};
use vdsokit_elf::compare::compare;

/// Check an image as strictly as a kernel checks its own
///
/// Prints what is wrong and where. Exit status: 0 nothing, 1 something.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The image
    file: PathBuf,
    /// It is somebody else's vDSO: only the rules without which no reader could use it
    #[arg(long)]
    foreign: bool,
    /// Also what would break for programs that were made for this older image
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = arguments.file.display();
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
    if arguments.json {
        let list: Vec<_> = findings
            .iter()
            .map(|[rule, place, what]| json!({"rule": rule, "place": place, "what": what}))
            .collect();
        println!("{}", json!({"file": path.to_string(), "findings": list}));
    } else {
        for [rule, place, what] in &findings {
            println!("{path}: {rule}: {place}: {what}");
        }
    }
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("{} could not be read", path.display()))
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Image<'a>> {
    Image::parse(bytes).map_err(|error| {
        miette!(
            help = "name the image itself, a file such as libweather.so.1",
            "{} is no vDSO: {error}",
            path.display()
        )
    })
}

/// What programs made for the old image would miss in the new one: exports, and variables that
/// do not lie where they did.
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
            "does not lie where it did, or has another type: a layout only grows at its end".into(),
        ]);
    }
    findings
}
