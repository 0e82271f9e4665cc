//! Calling the system's linker to place code at an address.

use super::{CrateError, script, survey};
use crate::arch::Architecture;
use crate::declaration::Declaration;
use crate::image::code::Code;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The symbol that the panic handler of `vdsokit-rt` calls. It is defined nowhere, so a
/// reachable panic is a link error.
const PANIC: &str = "vdsokit_a_panic_is_left_in_the_image";

/// A linker and its inputs.
pub(super) struct Linker<'a> {
    library: &'a Path,
    declaration: &'a Declaration,
    /// The functions that garbage collection keeps.
    functions: &'a [&'a str],
    program: String,
    directory: TempDir,
}

impl<'a> Linker<'a> {
    pub(super) fn new(
        library: &'a Path,
        arch: Architecture,
        declaration: &'a Declaration,
        functions: &'a [&'a str],
    ) -> Result<Self, CrateError> {
        let directory = tempfile::tempdir().map_err(|source| CrateError::File {
            path: std::env::temp_dir(),
            what: "written to",
            source,
        })?;
        Ok(Self {
            library,
            declaration,
            functions,
            program: program(arch)?,
            directory,
        })
    }

    /// The code at `address`, with the vvar pages at `pages`.
    pub(super) fn link(&self, address: u64, pages: u64) -> Result<Code, CrateError> {
        let script = self.directory.path().join("script");
        let linked = self.directory.path().join("linked");
        let file = |what| {
            let path = linked.clone();
            move |source| CrateError::File { path, what, source }
        };
        let text = script::script(self.declaration, address, pages);
        std::fs::write(&script, text).map_err(file("written"))?;
        let mut command = Command::new(&self.program);
        // Linked as a position-independent executable: the linker then refuses undefined
        // symbols, and every absolute address becomes a relocation that `survey` finds.
        command
            .args(["-pie", "--no-dynamic-linker", "-z", "text", "-z", "norelro"])
            .args(["-z", "noexecstack", "--gc-sections", "--eh-frame-hdr"])
            .args(["--build-id=none", "--hash-style=sysv", "--entry=0"])
            .arg("--script")
            .arg(&script)
            .arg("-o")
            .arg(&linked);
        for function in self.functions {
            command.arg(format!("--undefined={function}"));
        }
        let output = command
            .arg(self.library)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| missing(&self.program, source))?;
        if !output.status.success() {
            let linker = errors(&output.stderr);
            return Err(match linker.contains(PANIC) {
                true => CrateError::Panic { linker },
                false => CrateError::Link { linker },
            });
        }
        let bytes = std::fs::read(&linked).map_err(file("read"))?;
        survey::code(&bytes, address, self.functions)
    }
}

/// The linker's messages without its warnings about the executable, which is never run.
fn errors(printed: &[u8]) -> String {
    let printed = String::from_utf8_lossy(printed);
    let lines = printed.lines().filter(|line| !line.contains(": warning: "));
    lines.collect::<Vec<_>>().join("\n")
}

fn missing(program: &str, source: std::io::Error) -> CrateError {
    CrateError::Program {
        program: program.to_owned(),
        source,
        advice: "install a linker for that architecture: Debian's binutils, or \
                 binutils-aarch64-linux-gnu, or binutils-riscv64-linux-gnu, or lld",
    }
}

/// The first linker for the architecture that can be run: GNU's, the compiler's own LLD, another LLD.
/// LLD is one program for all architectures, but knows LoongArch since LLVM 17 only; the compiler's own is
/// of the version that wrote the code.
fn program(arch: Architecture) -> Result<String, CrateError> {
    let gnu = match Architecture::host() == Some(arch) {
        true => "ld".to_owned(),
        false => format!("{}-linux-gnu-ld", arch.rust_name()),
    };
    let runs = |program: &str| {
        let mut command = Command::new(program);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status()
    };
    let Err(error) = runs(&gnu) else {
        return Ok(gnu);
    };
    let lld = rust_lld().into_iter().chain(["ld.lld".to_owned()]);
    lld.into_iter()
        .find(|program| runs(program).is_ok_and(|status| status.success()))
        .ok_or_else(|| missing(&gnu, error))
}

/// The compiler's own linker, a part of the toolchains that rustup installs, under the name by which it
/// takes GNU's options.
fn rust_lld() -> Option<String> {
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir"]);
    let output = command.output().ok()?;
    let libraries = String::from_utf8(output.stdout).ok()?;
    let program = Path::new(libraries.trim_end()).with_file_name("bin/gcc-ld/ld.lld");
    program.into_os_string().into_string().ok()
}
