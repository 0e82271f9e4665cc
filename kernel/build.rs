//! Hands the linker script to the linker, with the architecture's addresses.

fn main() {
    let architecture = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    // DIRECT of src/arch, and where the firmware, the emulator or the boot protocol has room.
    let (direct, load) = match architecture.as_str() {
        "riscv64" => ("0xffffffc000000000", "0x80200000"),
        "aarch64" => ("0xffff000000000000", "0x40200000"),
        // The last 2 GiB, which the compiler's code model for kernels needs.
        _ => ("0xffffffff80000000", "0x200000"),
    };
    let script = format!("{directory}/src/arch/kernel.ld");
    println!("cargo:rustc-link-arg-bins=--defsym=DIRECT={direct}");
    println!("cargo:rustc-link-arg-bins=--defsym=LOAD={load}");
    println!("cargo:rustc-link-arg-bins=-T{script}");
    println!("cargo:rustc-link-arg-bins=--no-pie");
    if architecture == "aarch64" {
        println!("cargo:rustc-link-arg-bins=--oformat=binary");
    }
    println!("cargo:rerun-if-changed={script}");
}
