//! The linkers.

use crate::Error;
use crate::arch::Architecture;
use crate::compile::{printed_path, rustc};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A linker. All take the scripts that [`Script`](crate::Script) writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linker {
    /// The system's: GNU's for the architecture. Where that is not installed, the compiler's own LLD, or
    /// else the system's (`ld.lld`): LLD is one program for every architecture, but knows LoongArch since
    /// LLVM 17 only, and the compiler's own is of the version that wrote the code.
    System,
    /// The compiler's own LLD, and no other tool. It is part of the toolchains that rustup installs.
    Rust,
}

impl Linker {
    /// A command that runs it.
    ///
    /// # Errors
    /// [`Error::Program`] without it.
    pub fn command(self, arch: Architecture) -> Result<Command, Error> {
        match self {
            Self::System => system(arch),
            Self::Rust => rust_lld(),
        }
    }
}

/// The first linker for the architecture that can be run.
fn system(arch: Architecture) -> Result<Command, Error> {
    let mut gnu = match Architecture::host() {
        Some(host) if host == arch => Command::new("ld"),
        Some(Architecture::X86_64) if arch == Architecture::I386 => {
            let mut linker = Command::new("ld");
            linker.args(["-m", "elf_i386"]);
            linker
        }
        _ => Command::new(format!("{}-linux-gnu-ld", arch.rust_name())),
    };
    // Five empty entries of the dynamic section, for programs that edit it. Only GNU's linker has the
    // option.
    gnu.arg("--spare-dynamic-tags=0");
    let runs = |program: &Command| {
        Command::new(program.get_program())
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
    };
    let Err(error) = runs(&gnu) else {
        return Ok(gnu);
    };
    if let Ok(linker) = rust_lld() {
        return Ok(linker);
    }
    let lld = Command::new("ld.lld");
    match runs(&lld) {
        Ok(_) => Ok(lld),
        Err(_) => Err(missing(&gnu, error)),
    }
}

/// The compiler's own linker.
fn rust_lld() -> Result<Command, Error> {
    let libraries = printed_path(&rustc(&["--print", "target-libdir"])?);
    // `rust-lld` lies beside the libraries of the host.
    let path = libraries.with_file_name("bin/rust-lld");
    match fs::metadata(&path) {
        Ok(_) => {
            let mut linker = Command::new(path);
            linker.args(["-flavor", "gnu"]);
            Ok(linker)
        }
        Err(source) => Err(Error::Program {
            program: path.display().to_string(),
            source,
            advice: "it is part of the toolchains that rustup installs",
        }),
    }
}

/// Runs a linker, which writes the file `output`, and returns the file's bytes.
///
/// # Errors
/// [`Error::Program`], [`Error::Link`] with the linker's messages, or [`Error::File`].
pub fn link(linker: &mut Command, output: &Path) -> Result<Vec<u8>, Error> {
    linker.arg("-o").arg(output).stdin(Stdio::null());
    let run = linker.output().map_err(|source| missing(linker, source))?;
    if !run.status.success() {
        return Err(Error::Link {
            linker: errors(&run.stderr),
        });
    }
    fs::read(output).map_err(|source| Error::File {
        path: output.to_owned(),
        what: "read",
        source,
    })
}

/// The linker's messages without its warnings about the program, which is never run as it is.
fn errors(printed: &[u8]) -> String {
    let printed = String::from_utf8_lossy(printed);
    let lines = printed.lines().filter(|line| !line.contains(": warning: "));
    lines.collect::<Vec<_>>().join("\n")
}

fn missing(program: &Command, source: std::io::Error) -> Error {
    Error::Program {
        program: program.get_program().to_string_lossy().into_owned(),
        source,
        advice: "install a linker for that architecture: Debian's binutils, or \
                 binutils-aarch64-linux-gnu, or binutils-riscv64-linux-gnu, or lld",
    }
}
