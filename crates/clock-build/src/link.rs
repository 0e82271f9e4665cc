//! Links the image with a linker script.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vdsokit_clock::page::READS;
use vdsokit_elf::check::{Profile, check};
use vdsokit_elf::{Class, Image};
use vdsokit_random::page::{SIZE, VARIABLES};
use vdsokit_vvar::header::{self, Header};
use vdsokit_vvar::layout::{Cursor, Hash};
use vdsokit_vvar::process::{CURRENT, OWN};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_LINKS, NOTE_NAME, directory};

use crate::{ImageVariable, Own, System, succeed};

/// The properties of an architecture's image.
#[derive(Debug)]
pub struct Architecture {
    /// As in `target_arch`.
    pub name: &'static str,
    /// The compiler's target for the image's code.
    pub target: &'static str,
    /// The compiler's option for what the image's code may use of the processor.
    pub(crate) features: &'static str,
    /// The GNU linker, and its arguments.
    linker: &'static [&'static str],
    /// Its largest page.
    pub page: u64,
    version: &'static str,
    /// The prefix of its functions' names.
    pub prefix: &'static str,
    functions: &'static [&'static str],
    /// Whether the functions have names without the prefix too.
    plain: bool,
    /// The functions of the kernel's vDSO for which the image has links.
    links: &'static [&'static str],
    /// Its links to memory that delivery maps.
    memory: &'static [&'static str],
}

/// x86-64.
pub const X86_64: Architecture = Architecture {
    name: "x86_64",
    target: "x86_64-unknown-linux-gnu",
    features: "-Ctarget-cpu=x86-64",
    linker: &["ld"],
    page: 0x1000,
    version: "LINUX_2.6",
    prefix: "__vdso_",
    functions: &[
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "time",
        "getcpu",
        "getrandom",
    ],
    plain: true,
    links: &[
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "getcpu",
        "getrandom",
    ],
    memory: &[READS, vdsokit_current::LINK],
};

/// AArch64.
pub const AARCH64: Architecture = Architecture {
    name: "aarch64",
    target: "aarch64-unknown-linux-gnu",
    // Atomic operations out of line are functions that need a C library to choose the instruction.
    // In x28 Go keeps its goroutine, which its signal handlers read (runtime/signal_unix.go,
    // `sigFetchG`). The compiler warns that the options are unstable.
    features: "-Ctarget-feature=-outline-atomics,+reserve-x28",
    linker: &["aarch64-linux-gnu-ld"],
    page: 0x10000,
    version: "LINUX_2.6.39",
    prefix: "__kernel_",
    functions: &[
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "getrandom",
        "rt_sigreturn",
    ],
    plain: false,
    links: &["clock_gettime", "clock_getres", "gettimeofday", "getrandom"],
    memory: &[READS],
};

/// RISC-V, 64 bits.
pub const RISCV64: Architecture = Architecture {
    name: "riscv64",
    target: "riscv64gc-unknown-linux-gnu",
    features: "-Ctarget-cpu=generic-rv64",
    linker: &["riscv64-linux-gnu-ld"],
    page: 0x1000,
    version: "LINUX_4.15",
    prefix: "__vdso_",
    functions: &[
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "getcpu",
        "getrandom",
        "rt_sigreturn",
    ],
    plain: false,
    links: &[
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "getcpu",
        "getrandom",
    ],
    memory: &[READS],
};

/// LoongArch, 64 bits.
pub const LOONGARCH64: Architecture = Architecture {
    name: "loongarch64",
    target: "loongarch64-unknown-linux-gnu",
    // The target has vectors (LSX), which not every processor and no kernel by itself has. Linux builds its
    // vDSO without them.
    features: "-Ctarget-feature=-lsx",
    linker: &["loongarch64-linux-gnu-ld"],
    page: 0x10000,
    version: "LINUX_5.10",
    prefix: "__vdso_",
    functions: &[
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "getcpu",
        "getrandom",
        "rt_sigreturn",
    ],
    plain: false,
    links: &[
        "clock_gettime",
        "clock_getres",
        "gettimeofday",
        "getcpu",
        "getrandom",
    ],
    memory: &[READS],
};

/// i386: 32-bit programs on x86-64 kernels.
pub const I386: Architecture = Architecture {
    name: "x86",
    target: "i686-unknown-linux-gnu",
    features: "-Ctarget-cpu=pentium4",
    linker: &["ld", "-m", "elf_i386"],
    page: 0x1000,
    version: "LINUX_2.6",
    prefix: "__vdso_",
    functions: &[
        "clock_gettime64",
        "clock_gettime",
        "clock_getres_time64",
        "clock_getres",
        "gettimeofday",
        "time",
    ],
    plain: false,
    links: &["clock_gettime64", "clock_getres_time64", "gettimeofday"],
    memory: &[READS],
};

/// The smallest page: the functions of an image for kernels begin at a multiple of it.
pub const CODE_ALIGNMENT: u64 = 4096;

/// A linker. Both take the same script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linker {
    /// GNU's, of the architecture: what links programs here.
    Gnu,
    /// The compiler's own LLD: one for every architecture, and no other tool. It is part of the
    /// toolchains that rustup installs.
    Rust,
}

impl Linker {
    pub(crate) fn command(self, of: &Architecture) -> Command {
        match self {
            Self::Gnu => {
                let mut linker = Command::new(of.linker[0]);
                linker.args(&of.linker[1..]);
                linker.arg("--spare-dynamic-tags=0");
                linker
            }
            Self::Rust => {
                let mut linker = Command::new(lld());
                linker.args(["-flavor", "gnu"]);
                linker
            }
        }
    }
}

/// The compiler's own linker.
fn lld() -> PathBuf {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let line = |arguments: &[&str]| {
        let output = Command::new(&rustc).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", rustc.display()));
        let text = String::from_utf8(output.stdout).expect("rustc prints text");
        PathBuf::from(text.trim_end())
    };
    // `rust-lld` lies beside the libraries of the host.
    let path = line(&["--print", "target-libdir"]).with_file_name("bin/rust-lld");
    assert!(
        path.is_file(),
        "{} is missing: it is part of the toolchains that rustup installs",
        path.display()
    );
    path
}

impl System {
    /// The functions that are not Linux's. i386's image is beside the kernel's own vDSO, and what it
    /// exports beyond that would not be found.
    fn exports(self, of: &Architecture) -> impl Iterator<Item = &'static str> {
        let (every, guest) = (["vdso_clock_bound"], ["vdso_getpid", "vdso_getppid"]);
        let every = (of.name != I386.name).then_some(every);
        let guest = (self == Self::Guest).then_some(guest);
        // i386's kernels export their entry and both returns of signal handlers, too.
        let entry = [
            "__kernel_vsyscall",
            "__kernel_sigreturn",
            "__kernel_rt_sigreturn",
        ];
        let entry = (self == Self::Guest && of.name == I386.name).then_some(entry);
        every
            .into_iter()
            .flatten()
            .chain(guest.into_iter().flatten())
            .chain(entry.into_iter().flatten())
    }
}

impl Architecture {
    /// The image's links, and the versions of what they name.
    fn links(&self) -> Vec<(String, &'static str)> {
        let functions = self.links.iter();
        let functions = functions.map(|name| (format!("{}{name}", self.prefix), self.version));
        let memory = self.memory.iter().map(|&name| (name.to_owned(), ""));
        functions.chain(memory).collect()
    }
}

/// The bytes of the image with the code in `library`, a vDSO by every rule of
/// [`vdsokit_elf::check`]. Files of the linker are left in `out`.
///
/// # Panics
/// When the linker fails or the image is not sound.
#[must_use]
pub fn image(
    of: &Architecture,
    system: System,
    linker: Linker,
    library: &Path,
    out: &Path,
) -> Vec<u8> {
    image_with(of, system, linker, library, None, out)
}

/// [`image`] with the functions of another crate besides.
///
/// # Panics
/// As there.
#[must_use]
pub fn image_with(
    of: &Architecture,
    system: System,
    linker: Linker,
    library: &Path,
    own: Option<&Own>,
    out: &Path,
) -> Vec<u8> {
    let (script, versions) = (out.join("image.lds"), out.join("image.map"));
    let linked = out.join("linked.so");
    fs::write(&script, linker_script(of, system, own)).expect("the script can be written");
    fs::write(&versions, version_script(of, system, own)).expect("the script can be written");
    let options = "--strip-all -shared -soname linux-vdso.so.1 --hash-style=both --gc-sections \
                   --eh-frame-hdr --build-id -Bsymbolic --no-undefined -z noexecstack";
    let mut linker = linker.command(of);
    linker
        .args(options.split_whitespace())
        .args(["-z", &format!("max-page-size={}", of.page)])
        // So that the linker includes the archive's members that define them.
        .args(
            of.functions
                .iter()
                .map(|name| format!("--undefined={}{name}", of.prefix)),
        )
        .args(system.exports(of).map(|name| format!("--undefined={name}")))
        .args(own_functions(own).map(|name| format!("--undefined=__vdso_{name}")))
        .arg("--script")
        .arg(&script)
        .arg(format!("--version-script={}", versions.display()))
        .arg(library)
        .args(own.map(|own| &own.library))
        .arg("-o")
        .arg(&linked);
    succeed(&mut linker);
    let bytes = with_sections(fs::read(&linked).expect("the linker has written it"));
    let image = Image::parse(&bytes).unwrap_or_else(|error| panic!("the clock image: {error}"));
    let findings = check(&image, Profile::Own);
    assert!(findings.is_empty(), "the clock image: {findings:#?}");
    bytes
}

/// Moves the table of sections, with their names, from behind the vvar pages to the end of the
/// text, where debuggers find it in memory too; or leaves it out, where that would take a page
/// more, or the image is a 32-bit one, which debuggers don't look for. The vvar pages stay the last
/// bytes of the file.
fn with_sections(mut bytes: Vec<u8>) -> Vec<u8> {
    // The size of a section's header, and of fields in it (ELF-64 Object File Format).
    const HEADER: usize = 64;
    const OFFSET: usize = 24;
    const SIZE: usize = 32;
    let word = |bytes: &[u8], at: usize| {
        let word = bytes[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(word) as usize
    };
    let (text, end, class) = {
        let image = Image::parse(&bytes).expect("an ELF file");
        let mut loads = image.segments().filter(|segment| segment.is_load());
        let text = loads.next().expect("a text segment");
        let pages = loads.next().expect("the vvar pages");
        let free = text.offset + text.filesz..pages.offset;
        let end = (pages.offset + pages.filesz) as usize;
        (free, end, image.header().class)
    };
    if class == Class::Elf32 {
        bytes.truncate(end);
        // e_shoff, e_shnum and e_shstrndx of a 32-bit header.
        for field in [0x20..0x24, 0x30..0x34] {
            bytes[field].fill(0);
        }
        return bytes;
    }
    let count = usize::from(u16::from_le_bytes([bytes[0x3c], bytes[0x3d]]));
    let names = usize::from(u16::from_le_bytes([bytes[0x3e], bytes[0x3f]]));
    let start = word(&bytes, 0x28);
    let mut table = bytes[start..start + count * HEADER].to_vec();
    let strings = names * HEADER;
    let (from, length) = (word(&table, strings + OFFSET), word(&table, strings + SIZE));
    let strings_at = (text.start as usize + 7) & !7;
    let table_at = (strings_at + length + 7) & !7;
    let table_end = table_at + table.len();
    if table_end > text.end as usize {
        bytes.truncate(end);
        // e_shoff, e_shnum and e_shstrndx of a 64-bit header.
        for field in [0x28..0x30, 0x3c..0x40] {
            bytes[field].fill(0);
        }
        return bytes;
    }
    let at = strings + OFFSET;
    table[at..at + 8].copy_from_slice(&(strings_at as u64).to_le_bytes());
    bytes.copy_within(from..from + length, strings_at);
    bytes.truncate(end);
    bytes[table_at..table_end].copy_from_slice(&table);
    bytes[0x28..0x30].copy_from_slice(&(table_at as u64).to_le_bytes());
    // p_filesz and p_memsz of the first program header, the text's.
    let first = word(&bytes, 0x20);
    for field in [first + 32, first + 40] {
        bytes[field..field + 8].copy_from_slice(&(table_end as u64).to_le_bytes());
    }
    bytes
}

fn own_functions(own: Option<&Own>) -> impl Iterator<Item = &String> {
    own.into_iter().flat_map(|own| &own.functions)
}

fn version_script(of: &Architecture, system: System, own: Option<&Own>) -> String {
    let mut names = format!("{}*;", of.prefix);
    for name in system.exports(of) {
        write!(names, " {name};").expect("a string takes everything");
    }
    for name in own_functions(own) {
        write!(names, " __vdso_{name}; {name};").expect("a string takes everything");
    }
    if of.plain {
        names += &format!(" {};", of.functions.join("; "));
    }
    format!("{} {{ global: {names} local: *; }};\n", of.version)
}

/// The script: text first, at the file's start and at a `p_vaddr` that is not 0, and the vvar
/// pages behind it.
///
/// In an image for kernels the functions begin a page, so that their pages can be mapped
/// execute-only. The return of signal handlers stays with the tables: unwinders recognise it by
/// reading its instructions.
fn linker_script(of: &Architecture, system: System, own: Option<&Own>) -> String {
    let alignment = match system {
        System::Linux => 64,
        System::Guest => CODE_ALIGNMENT,
    };
    let aliases: String = own_functions(own)
        .map(|name| format!("{name} = __vdso_{name}; "))
        .collect();
    let variables: String = own
        .into_iter()
        .flat_map(|own| &own.variables)
        .map(|ImageVariable { name, offset, .. }| {
            format!("HIDDEN(__vvar_{name} = . + {}); ", OWN + offset)
        })
        .collect();
    let notes = notes(of);
    let pages = bytes(&header().to_bytes());
    let page = of.page;
    let rest = page - header::SIZE as u64;
    format!(
        "PHDRS {{ text PT_LOAD FILEHDR PHDRS FLAGS(5); pages PT_LOAD FLAGS(4);
  dynamic PT_DYNAMIC FLAGS(4); note PT_NOTE FLAGS(4); frames PT_GNU_EH_FRAME FLAGS(4);
  stack PT_GNU_STACK FLAGS(6); }}
SECTIONS {{
  . = {page} + SIZEOF_HEADERS;
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
  .rodata : {{ KEEP(*(.rodata.vdsokit.links)) *(.rodata* .got .got.plt) }} :text
  .text.sigreturn : ALIGN(16) {{ *(.text.*rt_sigreturn) }} :text
  .text : ALIGN({alignment}) {{ *(.text*) {aliases} }} :text
  . = ALIGN({page});
  __vdsokit_vvar = .; HIDDEN(__vdsokit_current = . + {CURRENT}); {variables}
  .vvar : {{ {pages} . += {rest}; }} :pages
  /DISCARD/ : {{ *(.comment) *(.note.*) *(.gcc_except_table*) *(.riscv.attributes) *(.vdsokit.declaration) }}
}}
"
    )
}

/// The notes: the directory of variables, and the links.
fn notes(of: &Architecture) -> String {
    let length = directory::encoded_len("", &VARIABLES).expect("the clock's variables");
    let mut directory = vec![0; length];
    directory::encode("", &VARIABLES, &mut directory).expect("as long as was said");
    let mut notes = note(NOTE_DIRECTORY, directory.len());
    notes += &bytes(&directory);
    notes += ". = ALIGN(4);\n";
    let links = of.links();
    let texts = links.iter().map(|(name, version)| {
        let mut text = format!("{name}\0{version}\0").into_bytes();
        text.resize(text.len().next_multiple_of(8), 0);
        text
    });
    let texts: Vec<_> = texts.collect();
    let length = 8 + texts.iter().map(|text| 8 + text.len()).sum::<usize>();
    notes += &note(NOTE_LINKS, length);
    notes += &format!("LONG({}) LONG(0)\n", links.len());
    for ((name, _), text) in links.iter().zip(&texts) {
        notes += &format!("QUAD(\"vdsokit_link.{name}\")\n{}", bytes(text));
    }
    notes
}

fn note(kind: u32, length: usize) -> String {
    let name = format!("{NOTE_NAME}\0").into_bytes();
    let head = format!("LONG({}) LONG({length}) LONG({kind})\n", name.len());
    head + &bytes(&name)
}

fn bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "BYTE({byte}) ").expect("a string takes everything");
    }
    text + "\n"
}

fn header() -> Header {
    let mut cursor = Cursor::PAGES;
    let hash = VARIABLES.iter().fold(Hash::EMPTY, |hash, variable| {
        let offset = cursor.variable(&variable.shape);
        hash.variable(variable.name, &variable.shape, offset)
    });
    assert_eq!(cursor.end(), SIZE);
    Header::new(hash.get(), VARIABLES.len() as u32, SIZE as u32)
}
