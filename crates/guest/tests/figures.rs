//! What a timer interrupt costs, counted in instructions: a figure that does not depend on what else
//! the machine does.
#![cfg(target_arch = "x86_64")]

use std::path::Path;
use std::process::Command;
use vdsokit_figures::Figure;

/// The instructions of so many interrupts, with the program's start.
fn instructions(program: &Path, interrupts: u32) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(interrupts.to_string());
    let output = valgrind
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error}; `cargo xtask test tools` installs it"));
    let report = String::from_utf8_lossy(&output.stderr);
    let line = report.lines().find(|line| line.contains("Collected : "));
    let number = line.and_then(|line| line.rsplit(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{report}"))
}

#[test]
fn an_interrupt_costs_400_instructions() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--example", "ticks"])
        .arg("--manifest-path")
        .arg(manifest)
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .unwrap();
    assert!(status.success());
    // Beside this program's directory, target/debug.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("release");
    let program = target.join("examples/ticks");
    let of = |interrupts| instructions(&program, interrupts);
    // 100 of them a second: ten seconds, of which each begins with whole records.
    let average = (of(2000) - of(1000)) / 1000;
    // The next second begins behind these.
    let (first, last) = (of(1150), of(1180));
    let usual = (last - first) / 30;
    let figures = [
        Figure::number("guest-interrupt", average as f64, "instructions", 400.0),
        Figure::number(
            "guest-interrupt-within-a-second",
            usual as f64,
            "instructions",
            360.0,
        ),
    ];
    let _ = vdsokit_figures::finish(&figures);
    assert!(usual <= 360, "{usual}");
    assert!(average <= 400, "{average}");
}
