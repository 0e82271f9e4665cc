//! `vdso build`: an image, a C header and a pkg-config file from a declaration or a Rust package.

use crate::{image, output};
use miette::{Result, miette};
use std::path::PathBuf;
use std::process::ExitCode;
use vdsokit_build::{Architecture, Outputs, build_crate};
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
}

fn architecture(name: &str) -> Result<Architecture, String> {
    Architecture::from_name(name).ok_or_else(|| format!("use one of {}", image::architectures()))
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments {
        source,
        output: directory,
        arch,
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
    let outputs = if source.is_dir() {
        build_crate(&source, arch)?
    } else {
        Outputs::new(&image::declaration(&source)?, arch)?
    };
    let image = outputs.image_path(&directory);
    install(&image, &outputs.image)?;
    output::line(output::path(&image))?;
    for path in outputs.write_companions(&directory)? {
        output::line(output::path(&path))?;
    }
    Ok(ExitCode::SUCCESS)
}
