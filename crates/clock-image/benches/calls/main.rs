//! What the image's functions cost, beside the kernel's own and the bare counter
//! instruction: `cargo bench --package vdsokit-clock-image --bench calls`.
//!
//! Everything that is compared is called by pointer, in turns: a batch of one, a
//! batch of the next, and so on, some thousand rounds. Of each the twentieth part
//! that went quickest is left out and the next batch's time is taken, so that
//! neither another program on the CPU nor a change of its frequency, which meets
//! all of them alike, decides. Ratios are what to look at.

#[cfg(target_arch = "x86_64")]
#[path = "../figures/mod.rs"]
mod figures;
#[cfg(target_arch = "x86_64")]
#[path = "../../tests/image/mod.rs"]
mod image;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
fn main() {
    x86_64::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("not measured: the image is built for x86-64 so far");
}
