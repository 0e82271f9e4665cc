//! What the image's functions cost, beside the kernel's own and the bare counter
//! instruction: `cargo bench --package vdsokit-clock-image --bench calls`.
//!
//! Everything that is compared is called by pointer, in turns: a batch of one, a batch of the
//! next, and so on, some thousand rounds. Two functions are compared by the median of the rounds'
//! ratios, so that neither another program on the CPU nor a change of its frequency, which meets
//! all of them alike, decides.

#[cfg(target_arch = "x86_64")]
#[path = "../figures/mod.rs"]
mod figures;
#[cfg(target_arch = "x86_64")]
#[path = "../../tests/image/mod.rs"]
mod image;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    x86_64::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("not measured: the image is built for x86-64 so far");
}
