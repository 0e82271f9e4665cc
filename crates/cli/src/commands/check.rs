//! `vdso check`: what would keep an image from being a vDSO everywhere.

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_build::directory;
use vdsokit_elf::Image;
use vdsokit_elf::check::{Profile, check};

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
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let path = arguments.file.display();
    let bytes = std::fs::read(&arguments.file)
        .into_diagnostic()
        .wrap_err_with(|| format!("{path} could not be read"))?;
    let image = Image::parse(&bytes).map_err(|error| {
        miette!(
            help = "name the image itself, a file such as libweather.so.1",
            "{path} is no vDSO: {error}"
        )
    })?;
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
