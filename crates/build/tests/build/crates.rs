//! Rust crates become images: `examples/beast`, and crates that can't.

use crate::support::{compile, mapped, shared};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use vdsokit_build::{Architecture, CrateError, Outputs, build_crate, directory, write_file};
use vdsokit_elf::{Binding, Image, Kind};
use vdsokit_vvar::scalar::Scalar;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The image of `examples/beast`, built once.
fn beast() -> &'static Outputs {
    static BEAST: OnceLock<Outputs> = OnceLock::new();
    BEAST.get_or_init(|| {
        let host = Architecture::host().expect("no image can be built for this machine");
        build_crate(&checkout().join("examples/beast"), host).unwrap()
    })
}

/// A directory with all of the beast, and its image's path.
fn beast_directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let image = beast().image_path(directory.path());
    write_file(&image, &beast().image).unwrap();
    beast().write_companions(directory.path()).unwrap();
    (directory, image)
}

#[test]
fn the_beast_has_a_strong_and_a_weak_name_and_unwind_tables() {
    let image = Image::parse(&beast().image).unwrap();
    let find = |name| image.lookup_version(name, "BEAST_1.0").unwrap();
    let strong = find("__vdso_number_of_the_beast");
    let weak = find("number_of_the_beast");
    assert_eq!(
        (strong.binding, weak.binding),
        (Binding::Global, Binding::Weak)
    );
    assert_eq!((strong.kind, weak.kind), (Kind::Function, Kind::Function));
    assert_eq!((strong.value, strong.size), (weak.value, weak.size));
    assert!(strong.size > 0);
    const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
    assert!(
        image
            .segments()
            .any(|segment| segment.kind == PT_GNU_EH_FRAME)
    );
    let directory = directory(&image).unwrap();
    let number = directory.find("number").unwrap();
    assert_eq!(
        (number.unit, number.doc),
        ("1", "The number of the beast, for now.")
    );
    insta::assert_snapshot!(beast().header.1);
}

/// Two pages of file; what is used of the first is about what a hand-made linker script
/// needs for one function, and the directory.
#[test]
fn the_beast_is_small() {
    let image = Image::parse(&beast().image).unwrap();
    let text = image.segments().find(|segment| segment.is_load()).unwrap();
    let pages = Architecture::host().unwrap().page();
    assert_eq!(beast().image.len(), 2 * pages);
    assert!(text.filesz < 2600, "{} bytes", text.filesz);
}

/// A C program that prints what the function returns whenever it is asked.
const READER: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <inttypes.h>
    #include <stdio.h>
    #include "beast.h"
    int main(void) {
    #ifdef BY_DLOPEN
        void *image = dlopen("libbeast.so.1", RTLD_NOW);
        if (!image) { puts(dlerror()); return 1; }
        uint64_t (*beast)(void) =
            (uint64_t (*)(void)) dlvsym(image, "__vdso_number_of_the_beast", "BEAST_1.0");
        if (!beast) { puts(dlerror()); return 1; }
    #else
        uint64_t (*beast)(void) = number_of_the_beast;
    #endif
        while (getchar() != EOF) {
            printf("%" PRIu64 "\n", beast());
            fflush(stdout);
        }
        return 0;
    }
"#;

fn the_number_changes_for_c(flags: &[&str]) {
    let (directory, image) = beast_directory();
    let mut all = vec!["-Wl,-rpath,$ORIGIN"];
    all.extend(flags);
    let program = compile("cc", directory.path(), READER, &all);
    let mut reader = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ask = reader.stdin.take().unwrap();
    let mut answers = BufReader::new(reader.stdout.take().unwrap()).lines();
    let mut number = || {
        ask.write_all(b"\n").unwrap();
        answers.next().unwrap().unwrap()
    };
    assert_eq!(number(), "666");
    let pages = shared::pages(&image);
    u64::store(pages.scalar::<u64>(64).unwrap(), 616);
    assert_eq!(number(), "616");
    drop(ask);
    assert!(reader.wait().unwrap().success());
}

#[test]
fn the_number_changes_for_a_linked_program() {
    the_number_changes_for_c(&["-lbeast"]);
}

#[test]
fn the_number_changes_for_a_program_that_opens_the_image() {
    the_number_changes_for_c(&["-DBY_DLOPEN", "-ldl"]);
}

/// As a process has it whose AT_SYSINFO_EHDR leads to the image: mapped, not loaded.
#[test]
fn the_number_changes_for_a_reader_of_vdsos() {
    let (_directory, path) = beast_directory();
    let function = mapped::function(&path, "__vdso_number_of_the_beast", "BEAST_1.0");
    assert_eq!(function(), 666);
    let pages = shared::pages(&path);
    u64::store(pages.scalar::<u64>(64).unwrap(), 616);
    assert_eq!(function(), 616);
}

const MANIFEST: &str = r#"
[package]
name = "case"
version = "0.1.0"
edition = "2024"
[package.metadata.vdso]
soname = "libcase.so"
version = "CASE_1"
[dependencies]
vdsokit-rt = { path = "RT" }
[workspace]
"#;

const HEAD: &str = "#![no_std]\nuse vdsokit_rt::{virtual_syscall, vvars};\n";

/// Builds a crate of this source, each after the other in one directory, so that its
/// dependencies are compiled once.
fn build(manifest: &str, source: &str) -> Result<Outputs, CrateError> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    build_in("case", manifest, source, Architecture::host().unwrap())
}

/// Builds a crate of this source in a directory that no other test uses meanwhile.
fn build_in(
    name: &str,
    manifest: &str,
    source: &str,
    arch: Architecture,
) -> Result<Outputs, CrateError> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(directory.join("src")).unwrap();
    let rt = checkout().join("crates/rt");
    let manifest = manifest.replace("RT", rt.to_str().unwrap());
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    fs::write(directory.join("src/lib.rs"), source).unwrap();
    build_crate(&directory, arch)
}

/// The message, without colours, and without what differs between machines.
fn message(source: &str) -> String {
    refused(MANIFEST, &format!("{HEAD}{source}"))
}

fn refused(manifest: &str, source: &str) -> String {
    match build(manifest, source) {
        Ok(_) => panic!("an image could be built of it"),
        Err(error) => printed(&error),
    }
}

fn printed(error: &CrateError) -> String {
    let mut printed = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(200)
        .render_report(&mut printed, error as &dyn Diagnostic)
        .unwrap();
    // Behind this come the linker's own words.
    let end = printed.find("the linker says").unwrap_or(printed.len());
    let lines = printed[..end].lines();
    lines
        .map(|line| line.trim_end().replace(env!("CARGO_TARGET_TMPDIR"), "…") + "\n")
        .collect()
}

#[test]
fn nothing_is_exported() {
    insta::assert_snapshot!(message("vvars! { pub static A: u8 = 1; }"));
}

#[test]
fn a_panic_can_be_reached() {
    insta::assert_snapshot!(message(
        "#[virtual_syscall] pub fn at(list: &[u8; 8], index: usize) -> u8 { list[index] }"
    ));
}

#[test]
fn memory_is_written() {
    insta::assert_snapshot!(message(
        "use core::sync::atomic::{AtomicU64, Ordering};\n\
         static CALLS: AtomicU64 = AtomicU64::new(0);\n\
         #[virtual_syscall] pub fn calls() -> u64 { CALLS.fetch_add(1, Ordering::Relaxed) }"
    ));
}

#[test]
fn a_table_of_addresses_would_have_to_be_relocated() {
    let printed = message(
        "static NAMES: [&str; 3] = [\"one\", \"two\", \"three\"];\n\
         #[virtual_syscall] pub fn names() -> *const u8 { NAMES.as_ptr().cast() }",
    );
    assert!(
        printed.contains("the code needs what an image cannot have"),
        "{printed}"
    );
    assert!(printed.contains("relocation at"), "{printed}");
}

#[test]
fn a_library_is_called() {
    insta::assert_snapshot!(message(
        "unsafe extern \"C\" { safe fn getpid() -> i32; }\n\
         #[virtual_syscall] pub fn pid() -> i32 { getpid() }"
    ));
}

#[test]
fn the_manifest_names_no_vdso() {
    let manifest = "[package]\nname = \"case\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
        [dependencies]\nvdsokit-rt = { path = \"RT\" }\n[workspace]\n";
    let source = format!("{HEAD}#[virtual_syscall] pub fn one() -> u8 {{ 1 }}");
    insta::assert_snapshot!(refused(manifest, &source));
}

#[test]
fn a_variable_out_of_range() {
    insta::assert_snapshot!(message(
        "vvars! { pub static A: u8 = 256; }\n#[virtual_syscall] pub fn a() -> u8 { A.get() }"
    ));
}

/// Everything that a crate can have: arguments, all kinds of variables, a system call, versions,
/// constants.
const EVERYTHING: &str = r#"
    use vdsokit_rt::vvar::value::Text;

    vvars! {
        /// Outside temperature.
        #[vvar(unit = "degC")]
        pub static TEMPERATURE: f64 = -1.5;
        pub static FLAG: bool = true;
        pub static LOADS: [u32; 3] = [1, 2, 3];
        pub static NAME: Text<8> = "Kiel";
        /// Wind.
        pub struct Wind {
            #[vvar(unit = "m/s")]
            pub speed: f64,
            pub from: i16,
            pub place: Text<5>,
        }
        #[vvar(version = "CASE_2")]
        pub static WIND: Wind = Wind { speed: 3.5, from: -7, place: "hill" };
    }

    #[virtual_syscall]
    pub fn temperature() -> f64 { TEMPERATURE.get() }

    /// A number of all the others: the sum of the loads, and what is added to it.
    #[virtual_syscall(version = "CASE_2")]
    pub unsafe fn sum(add: u32, speed: *mut f64) -> i64 {
        let wind = WIND.get();
        // SAFETY: the caller vouches for a pointer that isn't null.
        if !speed.is_null() { unsafe { speed.write(wind.speed) } }
        let loads: u32 = LOADS.get().iter().fold(0, |sum, load| sum.wrapping_add(*load));
        i64::from(loads.wrapping_add(add)) + i64::from(wind.from)
    }

    #[virtual_syscall]
    pub fn name_length() -> usize { NAME.get().as_str().len() + usize::from(FLAG.get()) }

    #[virtual_syscall]
    pub fn process() -> isize {
        let getpid = if cfg!(target_arch = "x86_64") { 39 } else { 172 };
        // SAFETY: getpid(2) takes nothing and touches no memory.
        unsafe { vdsokit_rt::system_call(getpid, [0; 6]) }
    }

    #[virtual_syscall]
    pub fn life() -> u32 { vdsokit_rt::state() as u32 }
"#;

/// The image of a crate with everything, for an architecture that no other test builds it for.
pub(crate) fn everything(arch: Architecture) -> Outputs {
    // A directory of its own: what is compiled in another environment would be compiled again.
    let name = format!("case-{}", arch.name());
    build_in(&name, MANIFEST, &format!("{HEAD}{EVERYTHING}"), arch).unwrap()
}

/// A C program calls it.
#[test]
fn a_crate_with_everything() {
    let source = format!("{HEAD}{EVERYTHING}");
    let outputs = build(MANIFEST, &source).unwrap();
    insta::assert_snapshot!(outputs.header.1);
    let directory = tempfile::tempdir().unwrap();
    write_file(&outputs.image_path(directory.path()), &outputs.image).unwrap();
    outputs.write_companions(directory.path()).unwrap();
    let program = compile(
        "cc",
        directory.path(),
        r#"
        #include <stdio.h>
        #include <unistd.h>
        #include "case.h"
        int main(void) {
            double speed = 0;
            int64_t total = sum(10, &speed);
            printf("%g %d %g %d %d %u\n", temperature(), (int) total, speed, (int) name_length(),
                process() == getpid(), life());
            return 0;
        }
        "#,
        &["-Wl,-rpath,$ORIGIN", "-lcase"],
    );
    let output = Command::new(program).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "-1.5 9 3.5 5 1 0\n"
    );
}
