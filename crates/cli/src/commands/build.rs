//! `vdso build`: an image, a C header and a pkg-config file from a declaration or a Rust package.

use super::check::PASSED_OVER;
use crate::{image, output};
use miette::{IntoDiagnostic, Result, miette};
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_build::{Architecture, Outputs, build_crate, not_interposing, write_bindings};
use vdsokit_elf::Image;
use vdsokit_publish::install;

/// Build a vDSO from a declaration or a Rust package
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The declaration, such as weather.toml, or the directory of a Rust package
    source: PathBuf,
    /// The directory to write to: the image, named like its soname, the link for `cc -l`, the C
    /// header and the pkg-config file
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// The architecture of the image; by default this machine's
    #[arg(long, value_name = "ARCH", value_parser = architecture)]
    arch: Option<Architecture>,
    /// Also write typed modules that read the vDSO from Python, JavaScript and TypeScript, Go,
    /// Java, Ruby, C++ and Rust below DIR
    #[arg(long, value_name = "DIR")]
    bindings: Option<PathBuf>,
}

fn architecture(name: &str) -> Result<Architecture, String> {
    Architecture::from_name(name).ok_or_else(|| format!("use one of {}", image::architectures()))
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments {
        source,
        output: directory,
        arch,
        bindings,
    } = arguments;
    let arch = arch.or_else(Architecture::host).ok_or_else(|| {
        miette!(
            help = format!(
                "name the image's architecture: --arch with one of {}",
                image::architectures()
            ),
            "no image can be built for this machine's architecture"
        )
    })?;
    if !directory.is_dir() {
        let name = output::path(&directory);
        return Err(match directory.exists() {
            true => miette!("{name} is not a directory"),
            false => miette!(
                help = format!("create it: mkdir -p {name}"),
                "{name} is not a directory: it does not exist"
            ),
        });
    }
    let mut declaration = None;
    let outputs = if source.is_dir() {
        if bindings.is_some() {
            return Err(miette!(
                help = "the C header declares the crate's functions",
                "--bindings reads variables, and a Rust package exports functions"
            ));
        }
        build_crate(&source, arch)?
    } else {
        Outputs::new(declaration.insert(image::declaration(&source)?), arch)?
    };
    for name in not_interposing(&Image::parse(&outputs.image).into_diagnostic()?) {
        output::warn(format!("{name}: {PASSED_OVER}"));
    }
    let image = outputs.image_path(&directory);
    install(&image, &outputs.image)?;
    output::line(output::path(&image))?;
    let mut written = outputs.write_companions(&directory)?;
    if let (Some(declaration), Some(directory)) = (&declaration, &bindings) {
        written.extend(write_bindings(declaration, directory)?);
    }
    for path in written {
        output::line(output::path(&path))?;
    }
    Ok(ExitCode::SUCCESS)
}
