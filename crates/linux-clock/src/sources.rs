//! The source text of this crate, which `vdso kernel add --clock` writes into a kernel's tree.

/// The files from which the kernel's make builds the clock, with their names there.
pub const SOURCES: &[(&str, &str)] = &[
    ("counter.rs", include_str!("counter.rs")),
    ("cpu.rs", include_str!("cpu.rs")),
    ("data.rs", include_str!("data.rs")),
    ("exports.rs", include_str!("exports.rs")),
    ("facts.c", include_str!("../kernel/facts.c")),
    ("facts.rs", include_str!("facts.rs")),
    ("facts.sed", include_str!("../kernel/facts.sed")),
    ("kernel.rs", include_str!("kernel.rs")),
    ("lib.rs", include_str!("lib.rs")),
    ("time.rs", include_str!("time.rs")),
];

/// The options of `rustc` in the kernel's make, besides the crate's root and the object's name:
/// the object is code only, with unwind tables. Like the leaf functions of Linux's own vDSO it has no
/// frame pointers: setting one up is a quarter of the instructions of `time`.
pub const OPTIONS: &[&str] = &[
    "--crate-name=vdsokit_clock",
    "--crate-type=lib",
    "--edition=2024",
    "--cfg=vdsokit_kernel",
    "--target=x86_64-unknown-linux-gnu",
    "-Copt-level=2",
    "-Ccodegen-units=1",
    "-Cpanic=abort",
    "-Coverflow-checks=off",
    "-Cdebug-assertions=off",
    "-Crelocation-model=pic",
    "-Cforce-unwind-tables=yes",
];

/// The environment variable of `rustc` with the file that `facts.sed` made.
pub const FACTS: &str = "VDSOKIT_CLOCK_FACTS";
