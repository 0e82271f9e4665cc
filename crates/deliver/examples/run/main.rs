//! Runs a program on the vDSO in an image file:
//! `run [OPTION…] IMAGE PROGRAM [ARGUMENT…]`.
//!
//! The vvar pages are those of the image file itself, which a publisher may keep up to date.
//! Options, in this order: `--alone` follows nothing that the program starts; `--report` says
//! on standard error what became of each program; `--strict` answers system calls that the
//! wall clock stands at the start of 2000; `--vvar FILE` takes the vvar pages from FILE;
//! `--with IMAGE` joins another image to the first.

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
