//! Provides the images: those of the package, or in the repository, where nothing compiled is
//! kept, those that `vdsokit-clock-build` makes of their source.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The environment variable with the directory of a crate whose functions and variables the image has
/// besides.
const OWN: &str = "VDSOKIT_GUEST_CRATE";
const ARCHITECTURES: [&str; 5] = ["x86_64", "x86", "aarch64", "riscv64", "loongarch64"];
/// The architecture whose image is left out where its `core` can't be had: Rust has its target since 2023,
/// and not every mirror.
const OPTIONAL: &str = "loongarch64";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=images");
    println!("cargo::rerun-if-env-changed={OWN}");
    let own = env::var_os(OWN).map(PathBuf::from);
    let target = variable("CARGO_CFG_TARGET_ARCH");
    let all = env::var_os("CARGO_FEATURE_IMAGES").is_some();
    let wanted: Vec<_> = ARCHITECTURES
        .into_iter()
        .filter(|name| all || *name == target)
        .collect();
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    let builder = here.join("../clock-build");
    let images = if builder.is_dir() {
        build(&builder, &out, own.as_deref(), &wanted);
        out.clone()
    } else {
        assert!(
            own.is_none(),
            "{OWN} is set: only the repository can build another image"
        );
        here.join("images")
    };
    let mut list = String::from("&[\n");
    for name in wanted {
        let path = images.join(name).with_extension("rs");
        if name == OPTIONAL && !path.is_file() {
            println!(
                "cargo::warning=no image for {name}: the toolchain has neither `core` for it \
                 (`rustup target add loongarch64-unknown-linux-gnu`) nor its source (`rustup \
                 component add rust-src`)"
            );
            continue;
        }
        writeln!(list, "    include!({path:?}),").expect("a string takes everything");
    }
    list += "]\n";
    fs::write(out.join("images.rs"), list).expect("the list can be written");
}

/// Makes the images in `out`. The builder prints of which files it and they are compiled, and thereby
/// when cargo has to run this script again.
fn build(builder: &Path, out: &Path, own: Option<&Path>, names: &[&str]) {
    if names.is_empty() {
        return;
    }
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(builder.join("Cargo.toml"))
        // The host's, whatever this build is for and with which flags.
        .args(["--target", &variable("HOST"), "--target-dir"])
        .arg(out.join("builder"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .arg("--")
        .arg(out);
    if let Some(own) = own {
        cargo.arg("--own").arg(own);
    }
    cargo.args(names);
    let status = cargo
        .status()
        .unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    assert!(status.success(), "{cargo:?}: {status}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
