//! Linux's own tests of its vDSO, unchanged, against ours.
//!
//! They are started by exec delivery, which puts the image in the place of the
//! kernel's vDSO: once with a page that was never published, once with source
//! `kernel`, once with source `counter`, kept by this process meanwhile, and the
//! one of `getrandom` once with a generation in the page, so that ours makes the
//! bytes.

#[cfg(target_arch = "x86_64")]
#[path = "../image/mod.rs"]
mod image;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    x86_64::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("not run: an image is delivered at exec on x86-64 only");
}
