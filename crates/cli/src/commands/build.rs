//! `vdso build`: a declaration or a Rust package becomes an image, a C header and a
//! pkg-config file.

use crate::start::ExitCode;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use std::path::PathBuf;
use vdsokit_build::{Architecture, Declaration, Outputs, build_crate};
use vdsokit_publish::install;

/// Build a vDSO from a declaration or a Rust package
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The declaration, such as weather.toml, or the directory of a Rust package
    source: PathBuf,
    /// Where to write: the image, named like its soname, the link for `cc -l`, the C
    /// header and the pkg-config file
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// What the image is for; this machine without it
    #[arg(long, value_name = "ARCH", value_parser = architecture)]
    arch: Option<Architecture>,
}

fn architecture(name: &str) -> Result<Architecture, String> {
    Architecture::from_name(name).ok_or_else(|| format!("known are {}", known()))
}

fn known() -> String {
    Architecture::ALL.map(Architecture::name).join(", ")
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments {
        source,
        output,
        arch,
    } = arguments;
    let arch = arch.or_else(Architecture::host).ok_or_else(|| {
        miette!(
            help = format!("say what the image is for: --arch with one of {}", known()),
            "no image can be built for this machine's architecture"
        )
    })?;
    let outputs = if source.is_dir() {
        build_crate(&source, arch)?
    } else {
        let path = source.display().to_string();
        let text = std::fs::read_to_string(&source)
            .into_diagnostic()
            .wrap_err_with(|| format!("{path} could not be read"))?;
        Outputs::new(&Declaration::parse(&path, &text)?, arch)?
    };
    if !output.is_dir() {
        return Err(miette!(
            help = format!("create it: mkdir -p {}", output.display()),
            "{} is not a directory",
            output.display()
        ));
    }
    let image = outputs.image_path(&output);
    install(&image, &outputs.image)?;
    println!("{}", image.display());
    for path in outputs.write_companions(&output)? {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
