//! The object that a kernel's make would get, with the facts of no kernel: what it defines,
//! and that nothing of it needs a library, a table or a panic.

use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, elf};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use vdsokit_linux_clock::{FACTS, OPTIONS, SOURCES};

/// What `facts.sed` would make: the numbers that the tests inside the crate use, and text.
fn facts() -> String {
    let tests = include_str!("../src/tests.rs");
    let numbers = tests
        .lines()
        .skip_while(|line| !line.ends_with("mod facts {"))
        .skip(1)
        .take_while(|line| *line != "}")
        .map(|line| line.replace("pub(crate)", "pub") + "\n");
    numbers.collect::<String>()
        + "pub const CPU_SEGMENT: u32 = 123;\n\
           macro_rules! read_tsc { () => { \"rdtsc\" } }\n\
           macro_rules! read_cpu { () => { \"lsl %ecx, %eax\" } }\n"
}

fn compiled() -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clock");
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in SOURCES {
        fs::write(directory.join(name), text).unwrap();
    }
    let generated = directory.join("facts.generated");
    fs::write(&generated, facts()).unwrap();
    let object = directory.join("clock.o");
    let mut rustc = Command::new("rustc");
    rustc
        .args(OPTIONS)
        .arg("-Dwarnings")
        .arg(format!("--emit=obj={}", object.display()))
        .arg(directory.join("lib.rs"))
        .env(FACTS, &generated);
    assert!(rustc.status().unwrap().success());
    fs::read(object).unwrap()
}

#[test]
fn the_object_is_all_that_it_needs() {
    let bytes = compiled();
    let file = object::File::parse(&*bytes).unwrap();
    let mut defined = BTreeMap::new();
    let mut undefined = BTreeSet::new();
    for symbol in file.symbols().filter(|symbol| symbol.is_global()) {
        let name = symbol.name().unwrap();
        if symbol.is_undefined() {
            undefined.insert(name);
        } else {
            defined.insert(
                name,
                (symbol.address(), symbol.section_index(), symbol.is_weak()),
            );
        }
    }
    // The kernel's linker script has these.
    assert_eq!(
        undefined,
        [
            "hvclock_page",
            "pvclock_page",
            "timens__vdso_data",
            "vvar__vdso_data"
        ]
        .into()
    );
    let functions = [
        "clock_getres",
        "clock_gettime",
        "getcpu",
        "gettimeofday",
        "time",
    ];
    assert_eq!(defined.len(), 2 * functions.len(), "{defined:?}");
    for function in functions {
        let (address, section, weak) = defined[function];
        let strong = defined[&*format!("__vdso_{function}")];
        assert_eq!((address, section, false), strong, "{function}");
        assert!(weak, "{function}");
    }
    // All code, and unwind tables: no constants, nothing writable.
    for section in file.sections().filter(|section| section.size() > 0) {
        let name = section.name().unwrap();
        let text = name.starts_with(".text") || name == ".eh_frame";
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            panic!("no ELF")
        };
        let loaded = (sh_flags & elf::SHF_ALLOC).0 != 0;
        assert!(text || !loaded, "{name}");
        assert!((sh_flags & elf::SHF_WRITE).0 == 0, "{name}");
        for (at, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type, .. } = relocation.flags() else {
                panic!("no ELF")
            };
            let relative = [elf::R_X86_64_PC32, elf::R_X86_64_PLT32].contains(&r_type);
            assert!(
                relative || !loaded,
                "{name}+{at:#x}: relocation of type {r_type:?}"
            );
        }
    }
}
