//! Builds the clock image for `include_bytes!`, so that delivering it needs neither a
//! compiler nor a linker.

use std::path::{Path, PathBuf};
use std::{env, fs};

use vdsokit_clock_build::{
    Architecture, Linker, System, has_core, image, library, rerun_if_changed,
};

fn main() {
    println!("cargo::rerun-if-changed=build");
    let Some(arch) = Architecture::from_target_arch(&variable("CARGO_CFG_TARGET_ARCH")) else {
        return;
    };
    let out = PathBuf::from(variable("OUT_DIR"));
    match arch {
        Architecture::X86_64 => {
            write(arch, &out, "clock.so");
            write_i386(&out);
        }
        Architecture::Aarch64 | Architecture::Riscv64 => write(arch, &out, "clock.so"),
        // `vdso run` refuses there; see the `cfg` in front of the crate.
        Architecture::Loongarch64 | Architecture::I386 => {}
    }
}

/// Makes the image for x86-64's 32-bit programs.
fn write_i386(out: &Path) {
    let arch = Architecture::I386;
    if has_core(arch) {
        let directory = out.join(arch.name());
        fs::create_dir_all(&directory).expect("a directory can be made");
        return write(arch, &directory, "../clock-i386.so");
    }
    println!(
        "cargo::warning=without the target {0} (`rustup target add {0}`) 32-bit programs under \
         `vdso run` have real time",
        arch.target()
    );
    fs::write(out.join("clock-i386.so"), []).expect("a file can be written");
}

/// Makes the image for an architecture, the file `name` in `out`.
fn write(arch: Architecture, out: &Path, name: &str) {
    let library = library(arch, System::Linux, out);
    rerun_if_changed(&library);
    // For RISC-V the GNU linker announces a table of relocations also where there are none, which
    // no vDSO has.
    let linker = match arch {
        Architecture::Riscv64 => Linker::Rust,
        _ => Linker::System,
    };
    let bytes = image(arch, System::Linux, linker, &library, out);
    fs::write(out.join(name), bytes).expect("the image can be written");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
