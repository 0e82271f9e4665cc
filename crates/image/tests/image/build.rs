//! Builds the image: cargo makes a static library, the linker an image.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};
use vdsokit_clock::page::{SIZE, VARIABLES};
use vdsokit_vvar::header::Header;
use vdsokit_vvar::layout::{Cursor, Hash};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_LINKS, NOTE_NAME, directory};

const VERSION: &str = "LINUX_2.6";
const LINKS: [(&str, &str); 4] = [
    ("__vdso_clock_gettime", VERSION),
    ("__vdso_clock_getres", VERSION),
    ("__vdso_getrandom", VERSION),
    ("vdsokit_reads", ""),
];

/// The image's file.
pub(crate) fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let target = target();
        let library = library(&target);
        let own = target.join(std::process::id().to_string());
        fs::create_dir_all(&own).unwrap();
        let (script, versions) = (own.join("image.lds"), own.join("image.map"));
        fs::write(&script, linker_script()).unwrap();
        fs::write(&versions, version_script()).unwrap();
        let image = own.join("linux-vdso.so.1");
        succeed(
            Command::new("ld")
                .args(["-shared", "-soname", "linux-vdso.so.1", "--hash-style=both"])
                .args([
                    "--gc-sections",
                    "--eh-frame-hdr",
                    "--build-id",
                    "-Bsymbolic",
                    "-u",
                    "__vdso_clock_gettime",
                ])
                .args([
                    "-z",
                    "noexecstack",
                    "-z",
                    "max-page-size=4096",
                    "--no-undefined",
                ])
                .arg("-T")
                .arg(&script)
                .arg(format!("--version-script={}", versions.display()))
                .arg(library)
                .arg("-o")
                .arg(&image),
        );
        strip(&image);
        image
    })
}

/// Cuts off what comes behind the vvar pages, the table of sections: no vDSO
/// needs it, and a publisher's file ends with its pages.
fn strip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let end = {
        let image = vdsokit_elf::Image::parse(&bytes).unwrap();
        let loads = image.segments().filter(|segment| segment.kind == 1);
        loads.map(|load| load.offset + load.filesz).max().unwrap()
    };
    bytes.truncate(end as usize);
    // e_shoff, e_shnum and e_shstrndx of a 64-bit header.
    for field in [0x28..0x30, 0x3c..0x40] {
        bytes[field].fill(0);
    }
    fs::write(path, bytes).unwrap();
}

fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap().join("target/image")
}

fn library(target: &Path) -> PathBuf {
    let flags = ["--cfg", "vdsokit_image", "-Crelocation-model=pic"].join("\x1f");
    succeed(
        Command::new(env!("CARGO"))
            .args([
                "rustc",
                "--quiet",
                "--release",
                "--package",
                "vdsokit-image",
            ])
            .args(["--crate-type", "staticlib", "--target-dir"])
            .arg(target)
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .env("CARGO_PROFILE_RELEASE_LTO", "fat")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    );
    target.join("release/libvdsokit_image.a")
}

fn succeed(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn version_script() -> String {
    let plain = "clock_gettime; clock_getres; gettimeofday; time; getcpu; getrandom";
    format!("{VERSION} {{ global: __vdso_*; {plain}; vdso_clock_bound; local: *; }};\n")
}

/// Text first, at a `p_vaddr` that is not 0 but at the file's start; the vvar
/// pages behind it.
fn linker_script() -> String {
    let mut notes = String::new();
    let mut directory = vec![0; directory::encoded_len("", &VARIABLES).unwrap()];
    directory::encode("", &VARIABLES, &mut directory).unwrap();
    note(&mut notes, NOTE_DIRECTORY, directory.len());
    bytes(&mut notes, &directory);
    notes.push_str(". = ALIGN(4);\n");
    let texts: Vec<Vec<u8>> = LINKS
        .iter()
        .map(|(name, version)| {
            let mut text = format!("{name}\0{version}\0").into_bytes();
            text.resize(text.len().next_multiple_of(8), 0);
            text
        })
        .collect();
    let length = 8 + texts.iter().map(|text| 8 + text.len()).sum::<usize>();
    note(&mut notes, NOTE_LINKS, length);
    writeln!(notes, "LONG({}) LONG(0)", LINKS.len()).unwrap();
    for ((name, _), text) in LINKS.iter().zip(&texts) {
        writeln!(notes, "QUAD(\"vdsokit_link.{name}\")").unwrap();
        bytes(&mut notes, text);
    }
    let mut pages = String::new();
    bytes(&mut pages, &header().to_bytes());
    format!(
        "PHDRS {{ text PT_LOAD FILEHDR PHDRS FLAGS(5); pages PT_LOAD FLAGS(4);
  dynamic PT_DYNAMIC FLAGS(4); note PT_NOTE FLAGS(4); frames PT_GNU_EH_FRAME FLAGS(4);
  stack PT_GNU_STACK FLAGS(6); }}
SECTIONS {{
  . = 0x1000 + SIZEOF_HEADERS;
  .hash : {{ *(.hash) }} :text
  .gnu.hash : {{ *(.gnu.hash) }}
  .dynsym : {{ *(.dynsym) }}
  .dynstr : {{ *(.dynstr) }}
  .gnu.version : {{ *(.gnu.version) }}
  .gnu.version_d : {{ *(.gnu.version_d) }}
  .dynamic : {{ *(.dynamic) }} :text :dynamic
  .note.gnu.build-id : {{ *(.note.gnu.build-id) }} :text :note
  .note.vdsokit : {{ {notes} }} :text :note
  .eh_frame_hdr : {{ *(.eh_frame_hdr) }} :text :frames
  .eh_frame : {{ KEEP(*(.eh_frame)) }} :text
  .rodata : {{ KEEP(*(.rodata.vdsokit.links)) *(.rodata*) }} :text
  .text : {{ *(.text*) }} :text
  . = ALIGN(4096);
  __vdsokit_vvar = .;
  .vvar : {{ {pages} . = 4096; }} :pages
  /DISCARD/ : {{ *(.comment) *(.note.*) *(.gcc_except_table*) }}
}}
"
    )
}

fn note(to: &mut String, kind: u32, length: usize) {
    writeln!(
        to,
        "LONG({}) LONG({length}) LONG({kind})",
        NOTE_NAME.len() + 1
    )
    .unwrap();
    bytes(to, &format!("{NOTE_NAME}\0").into_bytes());
}

fn bytes(to: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(to, "BYTE({byte}) ").unwrap();
    }
    to.push('\n');
}

fn header() -> Header {
    let mut cursor = Cursor::PAGES;
    let hash = VARIABLES.iter().fold(Hash::EMPTY, |hash, variable| {
        hash.variable(
            variable.name,
            &variable.shape,
            cursor.variable(&variable.shape),
        )
    });
    assert_eq!(cursor.end(), SIZE);
    Header::new(hash.get(), VARIABLES.len() as u32, SIZE as u32)
}
