//! The versions by which images take the place of the C library's functions are those of the C
//! libraries of this machine and of the cross compiler.

use crate::aarch64::AARCH64;
use crate::riscv64::RISCV64;
use crate::support::emulated::Emulated;
use std::collections::BTreeMap;
use std::process::Command;
use vdsokit_build::{Architecture, libc_versions};

/// The functions that a library defines, each with its versions.
fn defined(library: &str) -> BTreeMap<String, Vec<String>> {
    let output = Command::new("readelf")
        .args(["--wide", "--dyn-syms", library])
        .output()
        .unwrap();
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [.., section, name] = columns.as_slice() else {
            continue;
        };
        if let (Some((name, version)), true) = (name.split_once('@'), *section != "UND") {
            let version = version.trim_start_matches('@').to_owned();
            defined.entry(name.to_owned()).or_default().push(version);
        }
    }
    defined
}

fn agrees(library: &str, arch: Architecture) {
    let defined = defined(library);
    let mut known = 0;
    for (name, found) in &defined {
        let wanted = libc_versions(name, arch);
        known += usize::from(!wanted.is_empty());
        for version in wanted {
            assert!(found.contains(&version), "{name}: {version}, not {found:?}");
        }
    }
    assert!(known > 30, "{library} defines {known} of the functions");
}

#[test]
fn the_versions_are_those_of_x86_64s_glibc() {
    agrees("/lib/x86_64-linux-gnu/libc.so.6", Architecture::X86_64);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_versions_are_those_of_i386s_glibc() {
    agrees("/lib32/libc.so.6", Architecture::I386);
}

fn agrees_emulated(emulated: &Emulated) {
    emulated.prepare();
    let libc = format!("{}/lib/libc.so.6", emulated.root);
    agrees(&libc, emulated.architecture);
}

#[test]
fn the_versions_are_those_of_aarch64s_glibc() {
    agrees_emulated(&AARCH64);
}

#[test]
fn the_versions_are_those_of_riscvs_glibc() {
    agrees_emulated(&RISCV64);
}
