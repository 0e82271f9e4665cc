//! Gives the shared library its name in programs that link to it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libvdsokit.so.0");
}
