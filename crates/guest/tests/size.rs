//! What the crate adds to a kernel: a crate that was made by `docs/kernels.md` alone, linked with
//! nothing else.
#![cfg(target_arch = "x86_64")]

use std::path::Path;
use std::process::Command;
use vdsokit_figures::Figure;

fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_kernel_has_at_most_8_kib_more_text_and_no_panic() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/empty-kernel");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("empty-kernel");
    output(
        Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--offline", "--target"])
            // Of the targets that are there, the only one of this machine's architecture.
            .arg("x86_64-unknown-linux-gnu")
            .arg("--manifest-path")
            .arg(fixture.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("RUSTC_WORKSPACE_WRAPPER"),
    );
    let library = target.join("x86_64-unknown-linux-gnu/release/libempty_kernel.a");
    let kernel = target.join("kernel");
    let entries = ["boot", "interrupt", "settimeofday", "execve"];
    output(
        Command::new("gcc")
            .args(["-nostdlib", "-static", "-Wl,--gc-sections,-e,kernel_boot"])
            .args(entries.map(|entry| format!("-Wl,-u,kernel_{entry}")))
            // The target has a C library, and tables for unwinding in `core`; a kernel has none.
            .args(
                ["memcpy", "memset", "memcmp", "bcmp", "rust_eh_personality"]
                    .map(|name| format!("-Wl,--defsym={name}=0")),
            )
            .arg(&library)
            .arg("-o")
            .arg(&kernel),
    );
    let symbols = output(Command::new("nm").arg(&kernel));
    let panics: Vec<_> = symbols
        .lines()
        .filter(|line| line.contains("panic"))
        .collect();
    assert!(panics.is_empty(), "{panics:#?}");
    let sizes = output(Command::new("size").arg("-A").arg(&kernel));
    let text = sizes.lines().find(|line| line.starts_with(".text"));
    let text = text.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let text = text.unwrap_or_else(|| panic!("{sizes}"));
    let _ = vdsokit_figures::finish(&[Figure::number("guest-text", text as f64, "bytes", 8192.0)]);
    assert!(text <= 8 * 1024, "{text}");
}
