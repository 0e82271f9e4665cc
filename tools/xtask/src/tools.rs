//! What the other steps need beside the toolchain: Debian's packages, and the targets that images are
//! compiled for.

use crate::steps::{End, Outcome};
use crate::targets;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use vdsokit_lab::debian;
use vdsokit_link::Architecture;

/// Debian's packages, each with what needs it. Not `gcc-multilib`: it conflicts with the
/// cross compilers.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "readers in C"),
    ("g++", "readers in C++"),
    ("libc6-dev", "readers in C"),
    ("gcc-12-multilib", "a 32-bit process"),
    ("gcc-aarch64-linux-gnu", "readers on AArch64"),
    ("libc6-dev-arm64-cross", "readers on AArch64"),
    (
        "gcc-riscv64-linux-gnu",
        "readers on RISC-V, and the conformance tests of kernels",
    ),
    (
        "libc6-dev-riscv64-cross",
        "readers on RISC-V, and the conformance tests of kernels",
    ),
    ("iproute2", "links of the tests' own that are cut"),
    ("lintian", "the Debian package"),
    ("openssl", "certificates of the stores of `vdso feed`"),
    ("qemu-user-static", "readers on other architectures"),
    ("qemu-system-x86", "the lab"),
    ("qemu-system-arm", "the lab and the reference kernel"),
    ("qemu-system-misc", "the reference kernel"),
    ("opensbi", "the firmware of the reference kernel on RISC-V"),
    ("binutils", "readelf, which the parser is compared with"),
    ("gdb", "a program that traces others"),
    ("strace", "a program that traces others"),
    ("valgrind", "counting instructions"),
    ("make", "many short processes"),
    ("python3", "a reader by ctypes"),
    ("libpython3.11-testsuite", "CPython's own tests"),
    (
        "redis-server",
        "a server whose time-outs end at another time",
    ),
    ("default-jdk-headless", "a reader in Java"),
    ("libjna-java", "a reader in Java"),
    ("golang-go", "programs in Go"),
    ("nodejs", "programs in JavaScript"),
    (
        "npm",
        "the foreign function interface that programs in JavaScript use",
    ),
    ("cpio", "the file system of the kernel that the page builds"),
    ("bc", "building a kernel"),
    ("bison", "building a kernel"),
    ("flex", "building a kernel"),
    ("libelf-dev", "building a kernel"),
    ("libssl-dev", "building a kernel"),
    ("xz-utils", "Debian's archives of the kernel's source"),
    ("debootstrap", "the root of the step `fresh`"),
    ("ruby", "readers in Ruby"),
    ("python3-pip", "packages of Python that tests use"),
    ("pkg-config", "the flags of the C library"),
    ("musl-tools", "static programs of another libc"),
    (
        "btrfs-progs",
        "a file system on which nothing can be published",
    ),
    (
        "xfsprogs",
        "a file system on which nothing can be published",
    ),
    ("chromium", "the page of the benchmark"),
    ("faketime", "the peer that virtual time is compared with"),
    ("prometheus", "what scrapes `vdso export`"),
    ("nats-server", "the store of `vdso feed`"),
    ("systemd", "the units that it starts"),
    ("etcd-server", "the store of `vdso feed`"),
    ("etcd-client", "certificates and users of that store"),
];

/// The step of `cargo xtask test`: all of them in one go, so that tests that run at the
/// same time need not wait for each other's installation.
pub(crate) fn step() -> Outcome {
    // The images in `vdsokit-guest`, and that of 32-bit programs, are compiled with the `core` of these.
    // rust-toolchain.toml names them too, for rustup where it installs by itself (`RUSTUP_AUTO_INSTALL`);
    // but for LoongArch's, which not every mirror of Rust's archive has.
    for target in Architecture::ALL.map(Architecture::target) {
        if !targets::has_core(target) {
            return Ok(End::Skipped(format!(
                "rustup can add neither the target {target} nor the component rust-src"
            )));
        }
    }
    let installed = installed();
    let missing: Vec<&str> = PACKAGES
        .iter()
        .map(|(package, _)| *package)
        .filter(|package| !installed.contains(*package))
        .collect();
    if missing.is_empty() {
        return Ok(End::Passed);
    }
    for (package, why) in PACKAGES.iter().filter(|(name, _)| missing.contains(name)) {
        println!("missing: {package}, for {why}");
    }
    match debian::install("programs that the tests run", &missing) {
        Ok(()) => Ok(End::Passed),
        Err(error) => Ok(End::Skipped(error.to_string())),
    }
}

/// The packages that are installed, and the names that they provide: another archive's `nodejs`
/// has `npm` in it, and conflicts with Debian's.
fn installed() -> BTreeSet<String> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["--show", "--showformat"])
        .arg("${db:Status-Status}, ${Package}, ${Provides}\n")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let listed = query.output().map(|output| output.stdout);
    let listed = listed.unwrap_or_default();
    names(&String::from_utf8_lossy(&listed))
}

fn names(listed: &str) -> BTreeSet<String> {
    let packages = listed
        .lines()
        .filter_map(|line| line.strip_prefix("installed, "));
    let names = packages.flat_map(|packages| packages.split(", "));
    let without_version = |name: &str| name.split(' ').next().map(str::to_owned);
    names.filter_map(without_version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provided_package_is_installed_and_one_with_a_rest_is_not() {
        let listed = "installed, nodejs, nodejs-dev, npm\nconfig-files, gdb, \n\
                      installed, default-jdk, java (= 17), java17\n";
        let names = names(listed);
        for name in ["nodejs", "npm", "default-jdk", "java"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.contains("gdb"));
    }
}
