//! Puts the vDSO in an image file into a live process, or takes it out again:
//! `attach [--follow] PID IMAGE` and `attach PID`.

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod program;

#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
fn main() -> std::process::ExitCode {
    program::main()
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
fn main() {
    eprintln!("images are delivered to processes on x86-64, AArch64 and RISC-V");
    std::process::exit(125);
}
