//! Linux's own tests of its vDSO, as Debian's source of Linux 6.12 has them, unchanged.

use crate::workshop::output_of;
use crate::{Architecture, Error, Workshop, debian};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A test program's sources, and what its own Makefile gives it beside `-std=gnu99
/// -O2`.
struct Test {
    name: &'static str,
    more: &'static [&'static str],
    flags: &'static [&'static str],
    /// It needs no dynamic linker and no source of one architecture.
    is_portable: bool,
}

const fn test(
    name: &'static str,
    more: &'static [&'static str],
    flags: &'static [&'static str],
) -> Test {
    Test {
        name,
        more,
        flags,
        is_portable: false,
    }
}

const fn portable(name: &'static str, more: &'static [&'static str]) -> Test {
    Test {
        is_portable: true,
        ..test(name, more, &[])
    }
}

const PARSER: &[&str] = &["parse_vdso.c"];

const TESTS: [Test; 8] = [
    portable("vdso_test_gettimeofday", PARSER),
    portable("vdso_test_getcpu", PARSER),
    portable("vdso_test_abi", PARSER),
    portable("vdso_test_clock_getres", &[]),
    test(
        "vdso_standalone_test_x86",
        PARSER,
        &[
            "-nostdlib",
            "-fno-asynchronous-unwind-tables",
            "-fno-stack-protector",
        ],
    ),
    test("vdso_test_correctness", &[], &["-ldl"]),
    test(
        "vdso_test_getrandom",
        PARSER,
        &[
            "-isystem",
            "../../../include",
            "-isystem",
            "../../../../include/uapi",
        ],
    ),
    CHACHA,
];

const CHACHA: Test = test(
    "vdso_test_chacha",
    &["vgetrandom-chacha.S"],
    &[
        "-idirafter",
        "../../../include",
        "-idirafter",
        "../../../../arch/x86/include",
        "-idirafter",
        "../../../../include",
        "-Wa,--noexecstack",
    ],
);

/// The parts of the kernel's source that they need.
const PARTS: [&str; 6] = [
    "tools/testing/selftests/vDSO",
    "tools/testing/selftests/kselftest.h",
    "tools/include",
    "include",
    "arch/x86/include",
    "arch/x86/entry/vdso/vgetrandom-chacha.S",
];

const PACKAGE: &str = "linux-source-6.12";

/// The tests, compiled: programs for x86-64 that exit with 0 when they pass, and print
/// `[FAIL]` when they don't.
///
/// # Errors
/// When the source can't be had or unpacked, or there is no C compiler.
pub fn programs(workshop: &Workshop) -> Result<Vec<PathBuf>, Error> {
    let source = source(workshop)?;
    let compile = |test: &Test| compile("cc", &source, test, test.more, &source.join(test.name));
    TESTS.iter().map(compile).collect()
}

/// The tests that need no dynamic linker and no source of one architecture, as static programs that a
/// C compiler makes in a directory.
///
/// # Errors
/// As [`programs`].
pub fn static_programs(
    workshop: &Workshop,
    compiler: &str,
    directory: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let source = source(workshop)?;
    let tests = TESTS.iter().filter(|test| test.is_portable);
    tests
        .map(|test| compile_static(compiler, &source, test, directory))
        .collect()
}

/// One of [`static_programs`], for a guest of an architecture.
pub(crate) fn static_program(
    workshop: &Workshop,
    architecture: Architecture,
    name: &str,
) -> Result<PathBuf, Error> {
    let directory = workshop.output().join("own").join(architecture.debian());
    fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let mut tests = TESTS.iter().filter(|test| test.is_portable);
    let test = tests.find(|test| test.name == name);
    let test = test.ok_or_else(|| Error::NotBuilt {
        package: PACKAGE.into(),
        name: name.into(),
    })?;
    compile_static(
        architecture.compiler(),
        &source(workshop)?,
        test,
        &directory,
    )
}

fn compile_static(
    compiler: &str,
    source: &Path,
    test: &Test,
    directory: &Path,
) -> Result<PathBuf, Error> {
    let more = [test.more, &["-static"]].concat();
    compile(compiler, source, test, &more, &directory.join(test.name))
}

/// The kernel's test of `__arch_chacha20_blocks_nostack`, linked to that of an object file in the
/// place of the kernel's own.
///
/// # Errors
/// As [`programs`].
pub fn chacha(workshop: &Workshop, object: &Path) -> Result<PathBuf, Error> {
    let program = object.with_extension("test");
    let object = object.display().to_string();
    compile("cc", &source(workshop)?, &CHACHA, &[&object], &program)
}

/// Compiles a test, with what it is linked to.
fn compile(
    compiler: &str,
    source: &Path,
    test: &Test,
    more: &[&str],
    program: &Path,
) -> Result<PathBuf, Error> {
    let fresh = program.with_extension(std::process::id().to_string());
    output_of(
        Command::new(compiler)
            .current_dir(source.join("tools/testing/selftests/vDSO"))
            .args(["-std=gnu99", "-O2", "-w", "-D_GNU_SOURCE="])
            .arg(format!("{}.c", test.name))
            .args(more)
            .args(test.flags)
            .arg("-o")
            .arg(&fresh),
    )?;
    fs::rename(&fresh, program).map_err(Error::file(program))?;
    Ok(program.to_owned())
}

/// The parts of the kernel's source, beside its archive.
fn source(workshop: &Workshop) -> Result<PathBuf, Error> {
    let archive = debian::file(workshop, PACKAGE, &format!("usr/src/{PACKAGE}.tar.xz"))?;
    let beside = archive.with_file_name("linux-source-6.12-vdso");
    if beside.is_dir() {
        return Ok(beside);
    }
    // Whole trees only: unpack beside the place, then rename.
    let fresh = archive.with_file_name(format!("fresh-{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(Error::file(&fresh))?;
    output_of(
        Command::new("tar")
            .args(["--strip-components=1", "-xf"])
            .arg(&archive)
            .arg("-C")
            .arg(&fresh)
            .args(PARTS.map(|part| format!("{PACKAGE}/{part}"))),
    )?;
    match fs::rename(&fresh, &beside) {
        // Another run was faster.
        Err(_) if beside.is_dir() => fs::remove_dir_all(&fresh).map_err(Error::file(&fresh))?,
        result => result.map_err(Error::file(&beside))?,
    }
    Ok(beside)
}
