//! Puts the vDSO in an image file into a live process, or takes it out again:
//! `attach [--follow] PID IMAGE` and `attach PID`.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    x86_64::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("images are delivered to processes on x86-64 only");
    std::process::exit(125);
}
