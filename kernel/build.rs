//! Hands the architecture's linker script to the linker.

fn main() {
    let architecture = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = format!("{directory}/src/arch/{architecture}/kernel.ld");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rustc-link-arg-bins=--no-pie");
    if architecture == "aarch64" {
        // The boot protocol has no ELF files.
        println!("cargo:rustc-link-arg-bins=--oformat=binary");
    }
    println!("cargo:rerun-if-changed={script}");
}
