//! Compiling the crate with stable cargo, and reading what its macros declared.

use super::CrateError;
use crate::arch::Architecture;
use object::read::archive::ArchiveFile;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The section into which the macros of `vdsokit-rt` write their declarations.
pub const DECLARATION: &str = ".vdsokit.declaration";

/// The compiler's flags for every crate of an image.
pub const FLAGS: [&str; 4] = [
    "--cfg=vdsokit_image",
    "--check-cfg=cfg(vdsokit_image)",
    "-Crelocation-model=pic",
    // With panic=abort the compiler would write no unwind tables.
    "-Cforce-unwind-tables=yes",
];

/// The profile, as arguments of cargo's `--config`. Fat LTO removes the parts of the core
/// library that no exported function calls.
pub const PROFILE: [&str; 6] = [
    "profile.release.panic=\"abort\"",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.opt-level=3",
    "profile.release.overflow-checks=false",
    "profile.release.debug=false",
];

/// Compiles the package in `directory` and returns the path of its static library.
pub(super) fn static_library(directory: &Path, arch: Architecture) -> Result<PathBuf, CrateError> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let target = target(arch)?;
    let mut command = Command::new(&cargo);
    command
        .args(["rustc", "--release", "--lib", "--crate-type", "staticlib"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--target", &target])
        .args(["--target-dir", "target/vdso"])
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        // Settings of a build that runs this program must not apply to the image.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    let output = command.output().map_err(|source| CrateError::Program {
        program: cargo,
        source,
        advice: "install Rust: https://rustup.rs",
    })?;
    if !output.status.success() {
        return Err(CrateError::Compile { target });
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let files = message["filenames"].as_array()?;
            let mut names = files.iter().filter_map(|file| file.as_str());
            names.find(|name| name.ends_with(".a")).map(PathBuf::from)
        })
        .next_back()
        .ok_or(CrateError::NoLibrary)
}

/// The target triple: the compiler's host triple if its architecture is `arch`.
fn target(arch: Architecture) -> Result<String, CrateError> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|source| CrateError::Program {
            program: "rustc".into(),
            source,
            advice: "install Rust: https://rustup.rs",
        })?;
    let about = String::from_utf8_lossy(&output.stdout);
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let name = match arch {
        Architecture::Riscv64 => "riscv64gc",
        _ => arch.rust_name(),
    };
    let same_arch = |host: &&str| host.split('-').next() == Some(name);
    Ok(match host.filter(same_arch) {
        Some(host) => host.to_owned(),
        None => format!("{name}-unknown-linux-gnu"),
    })
}

/// The declarations of the macros: the text in every object of the archive.
pub(super) fn declared(archive: &[u8]) -> Result<String, CrateError> {
    let mut declared = String::new();
    let parsed = ArchiveFile::parse(archive)?;
    for member in parsed.members() {
        let bytes = member?.data(archive)?;
        // Members such as the symbol table are not objects and declare nothing.
        let Ok(file) = ElfFile64::<Endianness>::parse(bytes) else {
            continue;
        };
        for section in file.sections().filter(|one| one.name() == Ok(DECLARATION)) {
            declared += &String::from_utf8_lossy(section.data()?);
        }
    }
    Ok(in_order(&declared))
}

/// Sorts the declarations: variables in their order, then functions by name. The compiler
/// emits the items of several macros in any order, and the image must depend on the source
/// alone.
fn in_order(declared: &str) -> String {
    let mut variables = String::new();
    let mut functions: Vec<String> = Vec::new();
    let mut in_function = false;
    // A table's header is a line of its own; the user's texts are quoted after a key.
    for line in declared.split_inclusive('\n') {
        if line.starts_with('[') {
            in_function = line.starts_with("[function.");
            if in_function {
                functions.push(String::new());
            }
        }
        match functions.last_mut().filter(|_| in_function) {
            Some(function) => function.push_str(line),
            None => variables.push_str(line),
        }
    }
    functions.sort();
    variables + &functions.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_declarations_is_the_sources_whatever_the_compilers() {
        let wanted = "[var.a]\ntype = \"u8\"\n[var.b]\ntype = \"u8\"\n\
                      [function.a]\ndoc = \"[x]\"\n[function.b]\n";
        let compiled = "[function.b]\n[function.a]\ndoc = \"[x]\"\n\
                        [var.a]\ntype = \"u8\"\n[var.b]\ntype = \"u8\"\n";
        assert_eq!(in_order(compiled), wanted);
        assert_eq!(in_order(wanted), wanted);
    }
}
