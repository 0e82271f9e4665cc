//! The static library in C programs: an emulator with a standard library, and a kernel without.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

/// Builds the library, and returns its path.
fn library(name: &str, more: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["rustc", "--quiet", "--release", "--lib"])
        .args(["--crate-type", "staticlib", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .args(more)
        // Debug information is large, and no wrapper such as clippy's may take the compiler's place.
        .args(["--config", "profile.release.debug=false"])
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    run(&mut cargo);
    target.join("release/libvdsokit_guest_c.a")
}

fn compiler() -> Command {
    let mut compiler = Command::new("gcc");
    compiler
        .args(["-O2", "-Wall", "-Werror", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"));
    compiler
}

#[test]
fn the_example_s_guest_has_the_time_that_its_emulator_gives_it() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("emulator");
    run(compiler()
        .arg(root().join("examples/emulator/emulator.c"))
        .arg(library("hosted", &[]))
        .arg("-o")
        .arg(&program));
    let output = run(&mut Command::new(program));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "the program reads 2100-01-01\n\
         its system call is the same\n\
         after settimeofday it reads 2000-01-01\n"
    );
}

/// A kernel has no C library, and counts bytes.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_kernel_needs_nothing_else_at_most_14_kib_of_text_and_cannot_panic() {
    let settings = [
        "profile.release.panic=\"abort\"",
        "profile.release.lto=\"fat\"",
        "profile.release.codegen-units=1",
        "profile.release.opt-level=\"s\"",
    ];
    let mut more = vec!["--features", "freestanding"];
    more.extend(settings.iter().flat_map(|setting| ["--config", setting]));
    let library = library("freestanding", &more);
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/kernel.c");
    let link = |name: &str, define: &[&str]| {
        let kernel = directory.path().join(name);
        run(compiler()
            .args(["-DARCHITECTURE=\"x86_64\"", "-ffreestanding", "-nostdlib"])
            .args(["-static", "-Wl,--gc-sections,-e,entry"])
            // The library's `core` is that of a hosted target here; nothing calls it.
            .arg("-Wl,--defsym=rust_eh_personality=0")
            .args(define)
            .arg(&source)
            .arg(&library)
            .arg("-o")
            .arg(&kernel));
        // A panic that can be reached would be called by name.
        let symbols = run(Command::new("nm").arg(&kernel)).stdout;
        let symbols = String::from_utf8_lossy(&symbols).into_owned();
        let panics: Vec<_> = symbols
            .lines()
            .filter(|line| line.contains("panic"))
            .collect();
        assert!(panics.is_empty(), "{panics:#?}");
        let sizes = run(Command::new("size").arg("-A").arg(&kernel)).stdout;
        let sizes = String::from_utf8_lossy(&sizes).into_owned();
        let text = sizes.lines().find(|line| line.starts_with(".text"));
        let size = text.and_then(|line| line.split_whitespace().nth(1));
        size.and_then(|size| size.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{sizes}"))
    };
    // Less what the program itself takes.
    let own = link("own", &["-DWITHOUT_GUEST"]);
    let all = link("all", &[]) - own;
    println!("{all} bytes of text");
    assert!(all <= 14 * 1024, "{all}");
}
