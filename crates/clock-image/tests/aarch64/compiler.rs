//! The image for AArch64, from the same source: with Debian's own Rust, unpacked into
//! the cache, and a `core` that is compiled from Debian's source of it, since no
//! package has one for this architecture that can be had without adding the architecture to the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vdsokit_clock_build::{AARCH64, Linker, System, image};
use vdsokit_lab::{Workshop, debian};

const TARGET: &str = "aarch64-unknown-none";

/// Makes the image and a program that calls it, in `directory`.
pub(crate) fn image_and_guest(directory: &Path) -> Result<(PathBuf, PathBuf), String> {
    cross_compiler()?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..");
    let compiler = Compiler::new(&root)?;
    for (name, kind) in [
        ("vvar", "rlib"),
        ("clock", "rlib"),
        ("random", "rlib"),
        ("clock-image", "staticlib"),
    ] {
        compiler.compile(
            &format!("vdsokit_{}", name.replace('-', "_")),
            &root.join("crates").join(name).join("src/lib.rs"),
            directory,
            &["--crate-type", kind],
        )?;
    }
    let library = directory.join("libvdsokit_clock_image.a");
    let path = directory.join("linux-vdso.so.1");
    fs::write(
        &path,
        image(&AARCH64, System::Linux, Linker::Gnu, &library, directory),
    )
    .map_err(|error| error.to_string())?;
    let guest = directory.join("guest");
    run(Command::new("aarch64-linux-gnu-gcc")
        .args(["-O2", "-Wall", "-Werror"])
        .arg(here.join("tests/aarch64/guest.c"))
        .args(["-ldl", "-o"])
        .arg(&guest))?;
    Ok((path, guest))
}

/// Debian's cross compiler and emulator, as for the other tests of AArch64.
fn cross_compiler() -> Result<(), String> {
    let there = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if there("aarch64-linux-gnu-gcc") && there(super::EMULATOR) {
        return Ok(());
    }
    let packages = [
        "gcc-aarch64-linux-gnu",
        "libc6-dev-arm64-cross",
        "qemu-user-static",
    ];
    debian::install("an AArch64 compiler and emulator", &packages)
        .map_err(|error| error.to_string())
}

/// Debian's rustc, and what it made of `core`.
struct Compiler {
    tree: PathBuf,
    core: PathBuf,
}

impl Compiler {
    fn new(root: &Path) -> Result<Self, String> {
        let workshop = Workshop::new(root.to_owned()).map_err(|error| error.to_string())?;
        let library = dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
        let llvm = dependency(&library, "libllvm")?;
        let packages = ["rustc-web", "rust-web-src", &library, &llvm];
        let tree = debian::tree(&workshop, &packages).map_err(|error| error.to_string())?;
        let core = tree.join("aarch64");
        let compiler = Self { tree, core };
        if !compiler.core.is_dir() {
            compiler.core_crates()?;
        }
        Ok(compiler)
    }

    /// `core`, and an empty `compiler_builtins`: the image needs no function of it.
    fn core_crates(&self) -> Result<(), String> {
        let sources = self.tree.join("usr/src");
        let mut found = fs::read_dir(&sources).map_err(|error| error.to_string())?;
        let source = found
            .find_map(|entry| Some(entry.ok()?.path().join("library/core/src/lib.rs")))
            .ok_or("no source of core")?;
        let fresh = self.tree.join(format!("aarch64.{}", std::process::id()));
        fs::create_dir_all(&fresh).map_err(|error| error.to_string())?;
        let builtins = fresh.join("builtins.rs");
        let text = "#![feature(compiler_builtins)] #![compiler_builtins] #![no_std]\n";
        fs::write(&builtins, text).map_err(|error| error.to_string())?;
        let flags = ["--crate-type", "rlib", "-Zforce-unstable-if-unmarked"];
        self.compile("core", &source, &fresh, &flags)?;
        self.compile("compiler_builtins", &builtins, &fresh, &flags)?;
        match fs::rename(&fresh, &self.core) {
            // Another run was faster.
            Err(_) if self.core.is_dir() => {
                fs::remove_dir_all(&fresh).map_err(|error| error.to_string())
            }
            result => result.map_err(|error| error.to_string()),
        }
    }

    fn compile(&self, name: &str, source: &Path, out: &Path, more: &[&str]) -> Result<(), String> {
        let mut rustc = Command::new(self.tree.join("usr/bin/rustc"));
        rustc
            // A compiler for the compiler's own library.
            .env("RUSTC_BOOTSTRAP", "1")
            .env(
                "LD_LIBRARY_PATH",
                self.tree.join("usr/lib/x86_64-linux-gnu"),
            )
            .args([
                "--edition",
                "2024",
                "--target",
                TARGET,
                "--cap-lints",
                "allow",
            ])
            .args(["-Cpanic=abort", "-Copt-level=3", "-Crelocation-model=pic"])
            .args(["-Cforce-unwind-tables=yes", "-Ccodegen-units=1"])
            .args(["--cfg", "vdsokit_image", "--crate-name", name])
            .args(more)
            .arg(source)
            .arg("--out-dir")
            .arg(out)
            .arg("-L")
            .arg(out)
            .arg("-L")
            .arg(&self.core);
        for needed in ["vdsokit_vvar", "vdsokit_clock", "vdsokit_random"] {
            if name.starts_with("vdsokit_") && out.join(format!("lib{needed}.rlib")).exists() {
                rustc.args(["--extern", needed]);
            }
        }
        run(&mut rustc)
    }
}

/// The one package whose name begins so that another needs.
fn dependency(of: &str, prefix: &str) -> Result<String, String> {
    let output = Command::new("apt-cache")
        .args(["depends", "--important", of])
        .output()
        .map_err(|error| format!("apt-cache: {error}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .ok_or_else(|| format!("Debian has no {of} that needs a {prefix}…"))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{errors}", output.status))
}
