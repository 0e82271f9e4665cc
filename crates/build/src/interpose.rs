//! Taking the place of functions of the C library by ELF symbol order.
//!
//! A program's reference to `getppid` names the version that the function had in the C library
//! that the program was linked with: `getppid@GLIBC_2.2.5`. glibc's loader binds it to the first
//! object in its search order that defines the name in that version, or without any version
//! (glibc 2.36 `elf/dl-lookup.c`, `check_match`): an object that exports the name in a version of
//! its own, as every image does, is passed over without a word. So an image that interposes
//! exports each such name in the C library's versions as well.
//!
//! musl's loader compares names alone, and passes over names whose version is hidden (musl 1.2.3
//! `ldso/dynlink.c`, `gnu_lookup`). The names in the C library's versions are therefore hidden,
//! as non-default versions are, and the image's own is the default that musl and linkers find.

use crate::arch;
use crate::image::code::Export;
use vdsokit_elf::Image;
use vdsokit_link::Architecture;

/// Functions that a vDSO can take the place of, since all that they do is to return something, and
/// the versions of glibc on x86-64 that define them, oldest first: two where a second definition
/// was added. Source: `sysdeps/unix/sysv/linux/x86_64/64/libc.abilist` of glibc 2.36.
const FUNCTIONS: &[(&str, &[Version])] = &[
    ("arc4random", &[Version(2, 36, 0)]),
    ("clock", &[BASE]),
    ("clock_getres", &[BASE, Version(2, 17, 0)]),
    ("clock_gettime", &[BASE, Version(2, 17, 0)]),
    ("ftime", &[BASE]),
    ("get_avphys_pages", &[BASE]),
    ("get_nprocs", &[BASE]),
    ("get_nprocs_conf", &[BASE]),
    ("get_phys_pages", &[BASE]),
    ("getauxval", &[Version(2, 16, 0)]),
    ("getcpu", &[Version(2, 29, 0)]),
    ("getdomainname", &[BASE]),
    ("getegid", &[BASE]),
    ("getentropy", &[Version(2, 25, 0)]),
    ("getenv", &[BASE]),
    ("geteuid", &[BASE]),
    ("getgid", &[BASE]),
    ("gethostid", &[BASE]),
    ("gethostname", &[BASE]),
    ("getloadavg", &[BASE]),
    ("getpagesize", &[BASE]),
    ("getpgid", &[BASE]),
    ("getpgrp", &[BASE]),
    ("getpid", &[BASE]),
    ("getppid", &[BASE]),
    ("getpriority", &[BASE]),
    ("getrandom", &[Version(2, 25, 0)]),
    ("getrusage", &[BASE]),
    ("getsid", &[BASE]),
    ("gettid", &[Version(2, 30, 0)]),
    ("gettimeofday", &[BASE]),
    ("getuid", &[BASE]),
    ("rand", &[BASE]),
    ("random", &[BASE]),
    ("sched_getcpu", &[Version(2, 6, 0)]),
    ("sched_yield", &[BASE]),
    ("secure_getenv", &[Version(2, 17, 0)]),
    ("sysconf", &[BASE]),
    ("sysinfo", &[BASE]),
    ("time", &[BASE]),
    ("times", &[BASE]),
    ("timespec_get", &[Version(2, 16, 0)]),
    ("timespec_getres", &[Version(2, 34, 0)]),
    ("uname", &[BASE]),
];

/// `GLIBC_2.2.5`, or without a third number `GLIBC_2.17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u8, u8, u8);

/// The oldest version on x86-64.
const BASE: Version = Version(2, 2, 5);

impl Version {
    fn name(self) -> String {
        match self {
            Self(major, minor, 0) => format!("GLIBC_{major}.{minor}"),
            Self(major, minor, patch) => format!("GLIBC_{major}.{minor}.{patch}"),
        }
    }
}

/// The oldest version of glibc on an architecture: what is older elsewhere has this version
/// (`sysdeps/unix/sysv/linux/*/shlib-versions`).
fn oldest(arch: Architecture) -> Version {
    match arch {
        Architecture::X86_64 => BASE,
        Architecture::Aarch64 => Version(2, 17, 0),
        Architecture::Riscv64 => Version(2, 27, 0),
        Architecture::Loongarch64 => Version(2, 36, 0),
        Architecture::I386 => Version(2, 0, 0),
    }
}

/// The version in which i386's glibc, which is older than x86-64's, defines a function that
/// x86-64's has in its oldest version (`sysdeps/unix/sysv/linux/i386/libc.abilist`).
fn i386(name: &str) -> Version {
    match name {
        "clock_getres" | "clock_gettime" | "getloadavg" => Version(2, 2, 0),
        _ => oldest(Architecture::I386),
    }
}

/// The versions in which the C library of `arch` defines a function that an image can take the
/// place of, such as `GLIBC_2.2.5`; none for any other name.
///
/// ```
/// use vdsokit_build::{Architecture, libc_versions};
///
/// assert_eq!(libc_versions("getppid", Architecture::X86_64), ["GLIBC_2.2.5"]);
/// assert_eq!(libc_versions("getppid", Architecture::Aarch64), ["GLIBC_2.17"]);
/// assert!(libc_versions("weather_temperature", Architecture::X86_64).is_empty());
/// ```
#[must_use]
pub fn libc_versions(name: &str, arch: Architecture) -> Vec<String> {
    let Ok(index) = FUNCTIONS.binary_search_by_key(&name, |(name, _)| name) else {
        return Vec::new();
    };
    let mut versions: Vec<Version> = FUNCTIONS[index]
        .1
        .iter()
        .map(|version| match (*version, arch) {
            (BASE, Architecture::I386) => i386(name),
            (version, arch) => version.max(oldest(arch)),
        })
        .collect();
    versions.dedup();
    versions.into_iter().map(Version::name).collect()
}

/// What has to be added to `exports` for those that interpose: an export of the same name in each
/// version of the C library, and the index of the export whose place it shares. Versions that
/// are missing are added to `versions`.
pub(crate) fn aliases(
    exports: &[Export],
    versions: &mut Vec<String>,
    arch: Architecture,
) -> Vec<(Export, usize)> {
    let mut aliases = Vec::new();
    for (index, export) in exports.iter().enumerate().filter(|(_, one)| one.interpose) {
        for version in libc_versions(&export.name, arch) {
            let node = match versions.iter().position(|one| *one == version) {
                Some(node) if node == export.version => continue,
                Some(node) => node,
                None => {
                    versions.push(version);
                    versions.len() - 1
                }
            };
            let alias = Export {
                version: node,
                weak: false,
                hidden: true,
                ..export.clone()
            };
            aliases.push((alias, index));
        }
    }
    aliases
}

/// The functions of an image that have the name of one of the C library's, but that a program
/// linked against glibc will not call in its place.
#[must_use]
pub fn not_interposing(image: &Image<'_>) -> Vec<String> {
    let Some(arch) = arch::of_image(image) else {
        return Vec::new();
    };
    let mut names: Vec<String> = image
        .symbols()
        .filter(|symbol| symbol.is_export() && !symbol.is_hidden_version)
        .map(|symbol| symbol.name().to_string())
        .filter(|name| {
            libc_versions(name, arch)
                .iter()
                .any(|version| image.lookup_version(name, version).is_none())
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_the_versions_of_the_architectures_own_c_library() {
        use Architecture::{Aarch64, I386, Loongarch64, Riscv64, X86_64};
        for (name, arch, versions) in [
            ("getppid", X86_64, &["GLIBC_2.2.5"][..]),
            ("clock_getres", X86_64, &["GLIBC_2.2.5", "GLIBC_2.17"]),
            ("getcpu", X86_64, &["GLIBC_2.29"]),
            ("sched_getcpu", X86_64, &["GLIBC_2.6"]),
            ("getppid", Aarch64, &["GLIBC_2.17"]),
            ("clock_getres", Aarch64, &["GLIBC_2.17"]),
            ("getcpu", Riscv64, &["GLIBC_2.29"]),
            ("getppid", Riscv64, &["GLIBC_2.27"]),
            ("getcpu", Loongarch64, &["GLIBC_2.36"]),
            ("getppid", I386, &["GLIBC_2.0"]),
            ("clock_gettime", I386, &["GLIBC_2.2", "GLIBC_2.17"]),
            ("getloadavg", I386, &["GLIBC_2.2"]),
            ("getauxval", I386, &["GLIBC_2.16"]),
            ("printf", X86_64, &[]),
        ] {
            assert_eq!(libc_versions(name, arch), versions, "{name} {arch:?}");
        }
    }

    #[test]
    fn the_table_can_be_searched() {
        assert!(FUNCTIONS.is_sorted_by_key(|(name, _)| name));
        for (_, versions) in FUNCTIONS {
            assert!(versions.is_sorted() && !versions.is_empty());
        }
    }
}
