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
    /// The declaration, such as weather.toml, or the directory of a Rust package; `system` and `current` are
    /// built in
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

/// For the built-in `current`, writes the library of `vdso serve current` and the files with which programs use
/// it, and returns their paths.
#[cfg(target_arch = "x86_64")]
fn current(arguments: &Arguments, arch: Architecture) -> Result<Option<Vec<PathBuf>>> {
    use vdsokit_build::{Declaration, write_file, write_loader_bindings};
    use vdsokit_current_library::{DECLARATION, LIBRARY};
    if !super::serve::current::is_current(&arguments.source) {
        return Ok(None);
    }
    if arch != Architecture::X86_64 {
        return Err(miette!(
            "only on x86-64 can the running task be read without a system call"
        ));
    }
    let declaration = Declaration::parse("current.toml", DECLARATION)?;
    let outputs = Outputs::of_image(&declaration, LIBRARY.to_vec());
    let library = outputs.image_path(&arguments.output);
    write_file(&library, &outputs.image)?;
    let mut written = vec![library];
    written.extend(outputs.write_companions(&arguments.output)?);
    if let Some(directory) = &arguments.bindings {
        written.extend(write_loader_bindings(&declaration, directory)?);
    }
    Ok(Some(written))
}

/// No library reads the running task without a system call here.
#[cfg(not(target_arch = "x86_64"))]
fn current(_: &Arguments, _: Architecture) -> Result<Option<Vec<PathBuf>>> {
    Ok(None)
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let arch = arguments.arch.or_else(Architecture::host).ok_or_else(|| {
        miette!(
            help = format!(
                "name the image's architecture: --arch with one of {}",
                image::architectures()
            ),
            "no image can be built for this machine's architecture"
        )
    })?;
    if !arguments.output.is_dir() {
        let name = output::path(&arguments.output);
        return Err(match arguments.output.exists() {
            true => miette!("{name} is not a directory"),
            false => miette!(
                help = format!("create it: mkdir -p {name}"),
                "{name} is not a directory: it does not exist"
            ),
        });
    }
    let written = match current(arguments, arch)? {
        Some(written) => written,
        None => build(arguments, arch)?,
    };
    for path in written {
        output::line(output::path(&path))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes an image and its companions, and returns their paths.
fn build(arguments: &Arguments, arch: Architecture) -> Result<Vec<PathBuf>> {
    let Arguments {
        source,
        output: directory,
        bindings,
        ..
    } = arguments;
    let mut declaration = None;
    let outputs = if source.is_dir() {
        if bindings.is_some() {
            return Err(miette!(
                help = "the C header declares the crate's functions",
                "--bindings reads variables, and a Rust package exports functions"
            ));
        }
        build_crate(source, arch)?
    } else {
        Outputs::new(declaration.insert(image::declaration(source)?), arch)?
    };
    for name in not_interposing(&Image::parse(&outputs.image).into_diagnostic()?) {
        output::warn(format!("{name}: {PASSED_OVER}"));
    }
    let image = outputs.image_path(directory);
    install(&image, &outputs.image)?;
    let mut written = vec![image];
    written.extend(outputs.write_companions(directory)?);
    if let (Some(declaration), Some(directory)) = (&declaration, bindings) {
        written.extend(write_bindings(declaration, directory)?);
    }
    Ok(written)
}
