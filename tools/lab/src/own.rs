//! A kernel of our own: Debian's source with virtual system calls added, as
//! docs/adding-a-virtual-system-call.md builds it, and what is checked inside.

use crate::check::{Check, Kernel, Need, PROCESSOR};
use crate::workshop::output_of;
use crate::{Architecture, Error, Workshop, debian, programs};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the page's commands are run: the tree, and `build` beside it.
#[must_use]
pub fn directory(workshop: &Workshop) -> PathBuf {
    workshop.cache.join("linux")
}

/// The kernel's image, once it is built; the clock of its vDSO is in Rust.
#[must_use]
pub fn image(workshop: &Workshop) -> PathBuf {
    build(workshop).join("arch/x86/boot/bzImage")
}

/// The kernel as it was before its clock was replaced, and that kernel's 64-bit vDSO.
const WITH_CLOCK_IN_C: [&str; 2] = ["bzImage-c", "vdso64-c.so.dbg"];

/// The 64-bit vDSO as the kernel's make linked it, without its local symbols; with them it is
/// called `vdso64.so.dbg`.
#[must_use]
pub fn vdso(workshop: &Workshop) -> PathBuf {
    build(workshop).join("arch/x86/entry/vdso/vdso64.so")
}

/// The same with its local symbols and the kernel's own clock in C.
#[must_use]
pub fn vdso_with_clock_in_c(workshop: &Workshop) -> PathBuf {
    directory(workshop).join(WITH_CLOCK_IN_C[1])
}

fn build(workshop: &Workshop) -> PathBuf {
    directory(workshop).join("build")
}

/// With the kernel's own clock.
pub const CLOCK_IN_C: Kernel = Kernel {
    name: "6.12-own-c",
    architecture: Architecture::X86_64,
    image: |workshop| there(directory(workshop).join(WITH_CLOCK_IN_C[0])),
};

/// With the clock in Rust.
pub const CLOCK_IN_RUST: Kernel = Kernel {
    name: "6.12-own-rust",
    architecture: Architecture::X86_64,
    image: |workshop| there(image(workshop)),
};

const OWN: &[Kernel] = &[CLOCK_IN_C, CLOCK_IN_RUST];

fn there(file: PathBuf) -> Result<PathBuf, Error> {
    fs::metadata(&file).map_err(Error::file(&file))?;
    Ok(file)
}

/// The checks whose lines [`counted`] reads.
pub const COUNT: &str = "count";
/// In a time namespace.
pub const COUNT_IN_NAMESPACE: &str = "count-in-a-time-namespace";

/// The table.
pub const CHECKS: &[Check] = &[
    inside(
        "values",
        "both functions return what the kernel counts, and follow it",
        &["inside", "values"],
    ),
    inside(
        "no-system-call",
        "two million calls in a process that a system call would kill",
        &["inside", "no-system-call"],
    ),
    inside(
        "no-writing",
        "mprotect of every vvar page for writing is denied, and so is /proc/self/mem",
        &["inside", "no-writing"],
    ),
    inside(
        "time-namespace",
        "in a time namespace the values are the same",
        &["inside", "time-namespace"],
    ),
    inside(
        "linked",
        "a program linked against vdso64.so finds the functions in the process",
        &["linked"],
    ),
    inside(
        "loaded",
        "dlopen and dlvsym find them by name and version",
        &["loaded"],
    ),
    inside("small", "the 32-bit image works as ever", &["small"]),
    inside(
        COUNT,
        "instructions of each of Linux's own functions, by stepping through a call",
        &["count"],
    ),
    inside(
        COUNT_IN_NAMESPACE,
        "the same in a time namespace",
        &["count", "in-namespace"],
    ),
    inside(
        "selftest-gettimeofday",
        "the kernel's own test of its vDSO",
        &["vdso_test_gettimeofday"],
    ),
    inside(
        "selftest-getcpu",
        "the kernel's own test of its vDSO",
        &["vdso_test_getcpu"],
    ),
    inside(
        "selftest-abi",
        "the kernel's own test of its vDSO",
        &["vdso_test_abi"],
    ),
    inside(
        "selftest-clock-getres",
        "the kernel's own test of its vDSO",
        &["vdso_test_clock_getres"],
    ),
    inside(
        "selftest-correctness",
        "the kernel's own test of its vDSO",
        &["vdso_test_correctness"],
    ),
    inside(
        "selftest-standalone",
        "the kernel's own test of its vDSO",
        &["vdso_standalone_test_x86"],
    ),
    inside(
        "selftest-getrandom",
        "the kernel's own test of its vDSO",
        &["vdso_test_getrandom"],
    ),
    inside(
        "selftest-timens",
        "the kernel's own test of time namespaces",
        &["timens"],
    ),
    inside(
        "selftest-timens-exec",
        "the kernel's own test of time namespaces",
        &["exec"],
    ),
];

/// Booting, a kernel panics that does not see five ticks while its counter runs through ten of
/// 4 GHz (`arch/x86/kernel/apic/io_apic.c`, `timer_irq_works`). The emulator's counter is the
/// host's: on a busy host it has run through them before the emulator could deliver as many.
const COMMAND_LINE: &str = "tsc=reliable no_timer_check";

const fn inside(name: &'static str, why: &'static str, command: &'static [&'static str]) -> Check {
    Check {
        name,
        why,
        command,
        needs: NEEDS,
        kernels: OWN,
        command_line: COMMAND_LINE,
        processor: PROCESSOR,
        seconds: 120,
        rare: &[],
    }
}

/// A program of this project in C, and one of the kernel's tests.
macro_rules! program {
    ($name:literal, $source:literal, $($option:expr),*) => {
        Need::File {
            at: concat!("/bin/", $name),
            make: |workshop| compile(workshop, $name, $source, &[$($option),*]),
        }
    };
}
macro_rules! selftest {
    ($group:literal, $name:literal) => {
        Need::File {
            at: concat!("/bin/", $name),
            make: |workshop| there(build(workshop).join(concat!("kselftest/", $group, "/", $name))),
        }
    };
}

/// The loader and the C library of this machine, for the programs that are not static.
const NEEDS: &[Need] = &[
    Need::File {
        at: "/lib64/ld-linux-x86-64.so.2",
        make: |_| there("/lib64/ld-linux-x86-64.so.2".into()),
    },
    Need::File {
        at: "/lib/x86_64-linux-gnu/libc.so.6",
        make: |_| there("/lib/x86_64-linux-gnu/libc.so.6".into()),
    },
    program!("inside", "inside.c", "-static"),
    program!("count", "count.c", "-static"),
    program!("linked", "linked.c", LINKED),
    program!("loaded", "loaded.c", "-Wall"),
    program!("small", "small.S", "-m32", "-nostdlib", "-static"),
    selftest!("vDSO", "vdso_test_gettimeofday"),
    selftest!("vDSO", "vdso_test_getcpu"),
    selftest!("vDSO", "vdso_test_abi"),
    selftest!("vDSO", "vdso_test_clock_getres"),
    selftest!("vDSO", "vdso_test_correctness"),
    selftest!("vDSO", "vdso_standalone_test_x86"),
    selftest!("vDSO", "vdso_test_getrandom"),
    selftest!("timens", "timens"),
    selftest!("timens", "exec"),
];

/// Stands for the image among a compiler's options.
const LINKED: &str = "vdso64.so";

fn compile(
    workshop: &Workshop,
    name: &str,
    source: &str,
    options: &[&str],
) -> Result<PathBuf, Error> {
    let image = vdso(workshop);
    let options = options.iter().map(|option| match *option {
        LINKED => image.as_os_str(),
        option => option.as_ref(),
    });
    let source = Path::new("crates/linux-tree/tests/guest").join(source);
    programs::compile(workshop, name, &source, options)
}

/// As much of Debian's source of a series as `vdso kernel add` edits, unpacked into the cache.
///
/// # Errors
/// When the package can't be had or unpacked.
pub fn sources(workshop: &Workshop, series: &str) -> Result<PathBuf, Error> {
    const EDITED: [&str; 5] = [
        "Makefile",
        "arch/x86/entry/vdso",
        "arch/x86/include/asm",
        "kernel/time",
        "lib/vdso",
    ];
    let package = format!("linux-source-{series}");
    let tree = directory(workshop).join(format!("edited-{series}"));
    if tree.is_dir() {
        return Ok(tree);
    }
    let archive = debian::file(workshop, &package, &format!("usr/src/{package}.tar.xz"))?;
    // Whole trees only: unpack beside the place, then rename.
    let fresh = directory(workshop).join(format!(".edited-{series}.{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(Error::file(&fresh))?;
    output_of(
        Command::new("tar")
            .arg("-xf")
            .arg(&archive)
            .args(["--strip-components=1", "-C"])
            .arg(&fresh)
            .args(EDITED.map(|path| format!("{package}/{path}"))),
    )?;
    fs::rename(&fresh, &tree).map_err(Error::file(&tree))?;
    Ok(tree)
}

/// What the check [`COUNT`] printed: functions and the instructions of one call of each.
#[must_use]
pub fn counted(output: &str) -> Vec<(&str, u32)> {
    let line = |line| {
        let (call, count) = str::rsplit_once(line, ": ")?;
        let count = count.strip_suffix(" instructions")?.parse().ok()?;
        Some((call, count))
    };
    output.lines().filter_map(line).collect()
}

/// The bytes of machine code of all of Linux's own clock functions and `getcpu` in an image
/// with its local symbols: from the first of them to the last there is nothing else.
///
/// # Errors
/// When nm fails, or shows no such functions.
pub fn clock_size(image: &Path) -> Result<u64, Error> {
    let listing = output_of(
        Command::new("nm")
            .args(["--print-size", "--radix=d", "--defined-only"])
            .arg(image),
    )?;
    let mut size = 0;
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, bytes, kind, name] = words[..] else {
            continue;
        };
        // Linux's other functions; the weak names are second names of the strong ones.
        let other = ["getrandom", "chacha", "sgx", "number_of"];
        if kind.eq_ignore_ascii_case("t") && !other.iter().any(|other| name.contains(other)) {
            size += bytes.parse::<u64>().unwrap_or_default();
        }
    }
    if size == 0 {
        return Err(Error::Command {
            command: format!("nm {}", image.display()),
            how: "it shows no functions".into(),
        });
    }
    Ok(size)
}

/// How many instructions a function of the image has, up to and with its last.
///
/// # Errors
/// When objdump fails, or shows no such function.
pub fn instructions(image: &Path, function: &str) -> Result<usize, Error> {
    let listing = output_of(
        Command::new("objdump")
            .args(["--disassemble", "--no-show-raw-insn"])
            .arg(format!("--disassemble={function}"))
            .arg(image),
    )?;
    let count = listing
        .lines()
        .skip_while(|line| !line.ends_with(&format!("<{function}>:")))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.contains("nop") && !line.contains("int3"))
        .count();
    if count == 0 {
        return Err(Error::Command {
            command: format!("objdump {}", image.display()),
            how: format!("it shows no {function}"),
        });
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_lines_of_their_kind() {
        let output = "up\na(B): 57 instructions\ntime: 9 instructions\nx: many instructions\n";
        assert_eq!(counted(output), [("a(B)", 57), ("time", 9)]);
    }
}
