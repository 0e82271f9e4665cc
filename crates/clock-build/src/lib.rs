//! Describes the clock image to [`vdsokit_link`], which compiles and links it, for the crates that
//! embed its bytes.
//!
//! The code is that of `vdsokit-clock-image`, compiled as a user's crate is, with the same flags and
//! profile, but for size. This crate says what the image exports (`interface`), what its notes and its page
//! contain (`notes`), and where each section lies ([`image`]).
//!
//! The bytes depend on the compiler, the linker and the sources only: not on paths, time or the
//! machine. So images that were made at packaging can be compared with a build of their source.

mod interface;
mod notes;
mod own;
mod section_table;

pub use own::{ImageVariable, Own};
pub use vdsokit_link::{Architecture, Linker};

use std::fs;
use std::path::{Path, PathBuf};

use interface::Interface;
use vdsokit_elf::Image;
use vdsokit_elf::check::{Profile, check};
use vdsokit_link::{
    Error, FLAGS, Kind, Optimize, Package, Pages, Script, Section, VARIABLE, link, version_node,
};
use vdsokit_vvar::process::{CURRENT, OWN};

/// The smallest page: the functions of an image for kernels begin at a multiple of it.
pub const CODE_ALIGNMENT: u64 = 4096;

/// Whom an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Processes of Linux, beside its own vDSO.
    Linux,
    /// Processes of a kernel that publishes itself: with the functions that read the page of a
    /// process.
    Guest,
}

/// Whether the compiler has its `core` library for an architecture.
///
/// # Panics
/// When the compiler can't be run.
#[must_use]
pub fn has_core(arch: Architecture) -> bool {
    built(vdsokit_link::has_core(arch.target()))
}

/// Whether an image can be compiled for an architecture: the compiler has its `core` library, or the
/// source of which cargo compiles that.
///
/// # Panics
/// When the compiler can't be run.
#[must_use]
pub fn compiles_for(arch: Architecture) -> bool {
    has_core(arch) || built(vdsokit_link::has_core_source())
}

/// Prints what makes cargo run a build script again after a change of a file of which `compiled` was
/// made: a [`library`], or the program that the script runs.
///
/// # Panics
/// Without cargo's list of those files beside it.
pub fn rerun_if_changed(compiled: &Path) {
    built(vdsokit_link::rerun_if_changed(compiled));
}

/// Compiles the image's code for an architecture, as a static library in `out`, an absolute path.
///
/// # Panics
/// When cargo fails: its messages are on standard error.
#[must_use]
pub fn library(arch: Architecture, system: System, out: &Path) -> PathBuf {
    let flags: &[&str] = match system {
        System::Linux => &["--check-cfg=cfg(vdsokit_guest)"],
        System::Guest => &["--check-cfg=cfg(vdsokit_guest)", "--cfg=vdsokit_guest"],
    };
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clock-image");
    compile(arch, &package, flags, &out.join("image"))
}

/// Compiles a package of an image as a static library.
fn compile(arch: Architecture, package: &Path, flags: &[&str], target_directory: &Path) -> PathBuf {
    let package = Package {
        directory: package,
        target: arch.target(),
        kind: Kind::Static,
        optimize: Optimize::Size,
        flags: &[&FLAGS, &[Interface::of(arch).code][..], flags].concat(),
        target_directory,
        locked: true,
        builds_core: true,
    };
    built(package.compile())
}

/// The value of a step of the build, which ends with the step's error.
fn built<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("the clock image: {error}"))
}

/// The bytes of the image with the code in `library`, a vDSO by every rule of
/// [`vdsokit_elf::check`]. Files of the linker are left in `out`.
///
/// # Panics
/// When the linker fails or the image is not sound.
#[must_use]
pub fn image(
    arch: Architecture,
    system: System,
    linker: Linker,
    library: &Path,
    out: &Path,
) -> Vec<u8> {
    image_with(arch, system, linker, library, None, out)
}

/// [`image`] with the functions of another crate besides.
///
/// # Panics
/// As there.
#[must_use]
pub fn image_with(
    arch: Architecture,
    system: System,
    linker: Linker,
    library: &Path,
    own: Option<&Own>,
    out: &Path,
) -> Vec<u8> {
    let interface = Interface::of(arch);
    let mut names = interface.exports(system);
    names.extend(own.into_iter().flat_map(Own::exports));
    let (script, versions) = (out.join("image.lds"), out.join("image.map"));
    let save = |path: &Path, text: String| {
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    save(&script, linker_script(&interface, system, own));
    save(&versions, version_script(&interface, &names, own));
    let options = "--strip-all -shared -soname linux-vdso.so.1 --hash-style=both --gc-sections \
                   --eh-frame-hdr --build-id -Bsymbolic --no-undefined -z noexecstack";
    let mut linker = built(linker.command(arch));
    linker
        .args(options.split_whitespace())
        .args(["-z", &format!("max-page-size={}", arch.page())])
        // So that the linker includes the archive's members that define them.
        .args(names.iter().map(|name| format!("--undefined={name}")))
        .arg("--script")
        .arg(&script)
        .arg(format!("--version-script={}", versions.display()))
        .arg(library)
        .args(own.map(|own| &own.library));
    let linked = built(link(&mut linker, &out.join("linked.so")));
    let bytes = section_table::moved(linked);
    let image = Image::parse(&bytes).unwrap_or_else(|error| panic!("the clock image: {error}"));
    let findings = check(&image, Profile::Own);
    assert!(findings.is_empty(), "the clock image: {findings:#?}");
    bytes
}

/// The version script: one node, of Linux's version.
fn version_script(interface: &Interface, names: &[String], own: Option<&Own>) -> String {
    let aliases = own.into_iter().flat_map(|own| &own.functions);
    let plain = interface.functions.iter().filter(|_| interface.plain);
    let names = names.iter().map(String::as_str);
    let names = names.chain(aliases.map(String::as_str));
    let names: Vec<_> = names.chain(plain.copied()).collect();
    version_node(interface.version(), &names, true)
}

/// The script: text first, at the file's start and at a `p_vaddr` that is not 0, and the vvar
/// pages behind it.
///
/// In an image for kernels the functions begin a page, so that their pages can be mapped
/// execute-only. The return of signal handlers stays with the tables: unwinders recognise it by
/// reading its instructions.
fn linker_script(interface: &Interface, system: System, own: Option<&Own>) -> String {
    let alignment = match system {
        System::Linux => 64,
        System::Guest => CODE_ALIGNMENT,
    };
    let functions = own.into_iter().flat_map(|own| &own.functions);
    let aliases: String = functions
        .map(|name| format!("{name} = {}; ", own::symbol(name)))
        .collect();
    let variables = own.into_iter().flat_map(|own| &own.variables);
    let variables = variables.map(|one| (format!("{VARIABLE}{}", one.name), OWN + one.offset));
    let current = ("__vdsokit_current".to_owned(), CURRENT);
    let page = interface.arch.page();
    let text = &["text"];
    let table = |name| Section::new(name, format!("*({name})")).segments(text);
    let script = Script {
        segments: &[
            ("text", "PT_LOAD FILEHDR PHDRS FLAGS(5)"),
            ("pages", "PT_LOAD FLAGS(4)"),
            ("dynamic", "PT_DYNAMIC FLAGS(4)"),
            ("note", "PT_NOTE FLAGS(4)"),
            ("frames", "PT_GNU_EH_FRAME FLAGS(4)"),
            ("stack", "PT_GNU_STACK FLAGS(6)"),
        ],
        start: format!("{page} + SIZEOF_HEADERS"),
        sections: vec![
            table(".hash"),
            table(".gnu.hash"),
            table(".dynsym"),
            table(".dynstr"),
            table(".gnu.version"),
            table(".gnu.version_d"),
            table(".dynamic").segments(&["text", "dynamic"]),
            table(".note.gnu.build-id").segments(&["text", "note"]),
            Section::new(".note.vdsokit", notes::notes(interface)).segments(&["text", "note"]),
            table(".eh_frame_hdr").segments(&["text", "frames"]),
            Section::new(".eh_frame", "KEEP(*(.eh_frame))").segments(text),
            Section::new(
                ".rodata",
                "KEEP(*(.rodata.vdsokit.links)) *(.rodata* .got .got.plt)",
            )
            .segments(text),
            Section::new(".text.sigreturn", "*(.text.*rt_sigreturn)")
                .align(16)
                .segments(text),
            Section::new(".text", format!("*(.text*) {aliases}"))
                .align(alignment)
                .segments(text),
        ],
        pages: Pages {
            address: format!("ALIGN({page})"),
            symbols: [current].into_iter().chain(variables).collect(),
            size: page,
            bytes: Some(&notes::header().to_bytes()),
            segments: &["pages"],
        },
        discarded: &[".gcc_except_table*"],
    };
    script.to_string()
}
