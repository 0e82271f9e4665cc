//! Writes what `vdsokit-guest` embeds of the image of each architecture named: `ARCH.text`, the
//! bytes of its text segment, and `ARCH.rs`, an expression that describes them. With `--own CRATE` the
//! image has the functions and variables of another crate besides. The files of which this program and
//! the image were compiled are printed as a build script has to.
//!
//! usage: vdsokit-clock-build DIRECTORY [--own CRATE] ARCH...

use std::ffi::OsStr;
use std::fmt::Write;
use std::ops::Range;
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use vdsokit_clock_build::{
    Architecture, Linker, Own, System, compiles_for, image_with, library, rerun_if_changed,
};
use vdsokit_elf::constants::DT_SYMTAB;
use vdsokit_elf::{Class, Image};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: vdsokit-clock-build DIRECTORY [--own CRATE] ARCH...");
        return ExitCode::from(2);
    };
    let directory = absolute(&directory);
    rerun_if_changed(&env::current_exe().expect("Linux names the program"));
    let mut own = None;
    while let Some(name) = arguments.next() {
        if name == "--own" {
            own = arguments.next().map(|path| absolute(&path));
            continue;
        }
        let Some(arch) = name.to_str().and_then(Architecture::from_target_arch) else {
            eprintln!("no clock image for {}", name.display());
            return ExitCode::from(2);
        };
        if arch == Architecture::Loongarch64 && !compiles_for(arch) {
            // The build script that embeds the images says so.
            continue;
        }
        write(arch, &directory, own.as_deref());
    }
    ExitCode::SUCCESS
}

/// The path without the directory that this program was started in: cargo runs in others.
fn absolute(path: &OsStr) -> PathBuf {
    path::absolute(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The size of an entry of the table of symbols, and the bytes of it without which the symbol is
/// undefined: `st_shndx` and `st_value`, and in a 32-bit file what is between them.
fn entry(class: Class) -> (u64, Range<u64>) {
    match class {
        Class::Elf32 => (16, 4..16),
        Class::Elf64 => (24, 6..16),
    }
}

fn write(arch: Architecture, directory: &Path, own: Option<&Path>) {
    let out = directory.join(arch.target_arch());
    fs::create_dir_all(&out).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
    let library = library(arch, System::Guest, &out);
    let own = own.map(|own| Own::build(arch, own, &out));
    rerun_if_changed(&library);
    if let Some(own) = &own {
        rerun_if_changed(&own.library);
    }
    let bytes = image_with(
        arch,
        System::Guest,
        Linker::Rust,
        &library,
        own.as_ref(),
        &out,
    );
    let image = Image::parse(&bytes).expect("a sound image");
    let mut loads = image.segments().filter(|segment| segment.is_load());
    let (text, pages) = (
        loads.next().expect("a text segment"),
        loads.next().expect("the vvar pages"),
    );
    let end = usize::try_from(text.filesz).expect("a small image");
    let file = |extension: &str| directory.join(arch.target_arch()).with_extension(extension);
    let save = |path: PathBuf, bytes: &[u8]| {
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    };
    save(file("text"), &bytes[..end]);
    let table = image.dynamic_value(DT_SYMTAB).expect("a table of symbols");
    let (size, definition) = entry(image.header().class);
    let entries = image.symbols().filter(|symbol| symbol.is_export());
    let mut symbols: Vec<_> = entries
        .map(|symbol| {
            let entry = table - text.vaddr + u64::from(symbol.index) * size;
            let definition = (entry + definition.start, entry + definition.end);
            let name = symbol.name().to_string();
            (name, symbol.value - text.vaddr, definition)
        })
        .collect();
    symbols.sort();
    // The linker's output has all sections, the image perhaps none.
    let linked = fs::read(out.join("linked.so")).expect("the linker has written it");
    let linked = Image::parse(&linked).expect("an ELF file");
    let code = linked
        .sections()
        .find(|section| section.name() == ".text")
        .expect("the functions");
    let mut description = format!(
        "Image {{\n    architecture: \"{name}\",\n    text: include_bytes!(\"{name}.text\"),\n    \
         code: {code:#x},\n    vvar: {vvar:#x},\n    largest_page: {page:#x},\n    symbols: &[\n",
        name = arch.target_arch(),
        code = code.vaddr - text.vaddr,
        vvar = pages.offset,
        page = arch.page()
    );
    for (name, offset, (start, end)) in symbols {
        writeln!(
            description,
            "        ({name:?}, {offset:#x}, {start:#x}..{end:#x}),"
        )
        .expect("a string takes everything");
    }
    let layout = own.as_ref().map_or(0, |own| own.layout);
    write!(
        description,
        "    ],\n    layout: {layout:#x},\n    variables: &[\n"
    )
    .expect("a string takes everything");
    for variable in own.iter().flat_map(|own| &own.variables) {
        let (name, offset, initial) = (&variable.name, variable.offset, variable.initial);
        writeln!(
            description,
            "        ({name:?}, {offset:#x}, {initial:#x}),"
        )
        .expect("a string takes everything");
    }
    description += "    ],\n}\n";
    save(file("rs"), description.as_bytes());
}
