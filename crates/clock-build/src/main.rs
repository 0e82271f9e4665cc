//! Writes what `vdsokit-guest` embeds of the image of each architecture named: `ARCH.text`, the
//! bytes of its text segment, and `ARCH.rs`, an expression that describes them. With `--own CRATE` the
//! image has the functions and variables of another crate besides, and the files that it was compiled
//! of are printed as a build script has to.
//!
//! usage: vdsokit-clock-build DIRECTORY [--own CRATE] ARCH...

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use vdsokit_clock_build::{
    AARCH64, Architecture, I386, LOONGARCH64, Linker, Own, RISCV64, System, X86_64, has_core,
    has_source, image_with, library,
};
use vdsokit_elf::constants::DT_SYMTAB;
use vdsokit_elf::{Class, Image};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(directory) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: vdsokit-clock-build DIRECTORY [--own CRATE] ARCH...");
        return ExitCode::from(2);
    };
    let mut own = None;
    while let Some(name) = arguments.next() {
        if name == "--own" {
            own = arguments.next().map(PathBuf::from);
            continue;
        }
        let architectures = [X86_64, I386, AARCH64, RISCV64, LOONGARCH64];
        let Some(of) = architectures.iter().find(|of| *of.name == *name) else {
            eprintln!("no clock image for {}", name.display());
            return ExitCode::from(2);
        };
        if *of.name == *LOONGARCH64.name && !has_core(of) && !has_source() {
            // The build script that embeds the images says so.
            continue;
        }
        write(of, &directory, own.as_deref());
    }
    ExitCode::SUCCESS
}

/// The size of an entry of the table of symbols, and the bytes of it without which the symbol is
/// undefined: `st_shndx` and `st_value`, and in a 32-bit file what is between them.
fn entry(class: Class) -> (u64, Range<u64>) {
    match class {
        Class::Elf32 => (16, 4..16),
        Class::Elf64 => (24, 6..16),
    }
}

fn write(of: &Architecture, directory: &Path, own: Option<&Path>) {
    let out = directory.join(of.name);
    fs::create_dir_all(&out).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
    let library = library(of, System::Guest, &out);
    let own = own.map(|own| Own::build(of, own, &out));
    for source in own.iter().flat_map(Own::sources) {
        // For the build script that runs this program.
        println!("cargo::rerun-if-changed={}", source.display());
    }
    let bytes = image_with(
        of,
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
    let file = |extension: &str| directory.join(of.name).with_extension(extension);
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
        name = of.name,
        code = code.vaddr - text.vaddr,
        vvar = pages.offset,
        page = of.page
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
