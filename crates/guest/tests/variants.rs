//! Images with fewer functions, and with execute-only text.

use vdsokit_elf::{Class, Image as Elf};
use vdsokit_guest::{Contents, Image, Plan, Rights};

/// The image as a file: text and an empty page.
fn file(image: &Image) -> Vec<u8> {
    let mut bytes = image.text().to_vec();
    bytes.resize(image.vvar() + image.largest_page(), 0);
    bytes
}

#[test]
fn a_function_whose_definition_was_cleared_is_absent_and_no_other() {
    for image in Image::ALL {
        for (name, _) in image.symbols() {
            let mut variant = file(image);
            variant[image.definition(name).unwrap()].fill(0);
            let variant = Elf::parse(&variant).unwrap();
            for (other, _) in image.symbols() {
                let is_there = variant.lookup(other).is_some();
                assert_eq!(is_there, other != name, "{other} without {name}");
            }
        }
        assert_eq!(image.definition("no_such_function"), None);
    }
}

/// Unwinders read the code that signal handlers return to, and C libraries the tables.
#[test]
fn execute_only_pages_have_functions_alone() {
    for image in Image::ALL {
        let code = image.code();
        for (name, offset) in image.symbols() {
            let is_readable = name.ends_with("sigreturn") || name == "__kernel_vsyscall";
            assert_eq!(offset >= code, !is_readable, "{name}");
        }
        let text = file(image);
        let elf = Elf::parse(&text).unwrap();
        for segment in elf.segments().filter(|segment| !segment.is_load()) {
            assert!(
                (segment.offset + segment.filesz) as usize <= code,
                "{segment:?}"
            );
        }
        for page_size in [4096, 16384, 65536] {
            let Ok(plan) = Plan::new(image, page_size) else {
                continue;
            };
            for page in plan.execute_only().pages() {
                let is_text = matches!(page.contents, Contents::Text(_));
                let rights = match page.offset >= code {
                    _ if !is_text => Rights::Read,
                    true => Rights::Execute,
                    false => Rights::ReadExecute,
                };
                assert_eq!(page.rights, rights, "{page_size} {:#x}", page.offset);
            }
            assert!(plan.pages().all(|page| page.rights != Rights::Execute));
        }
    }
}

/// i386's programs enter the kernel through the image, and return from signal handlers through it.
#[test]
fn the_image_for_i386_has_entry_and_returns_and_64_bit_times() {
    let image = Image::of("x86").unwrap();
    let text = file(image);
    let elf = Elf::parse(&text).unwrap();
    assert_eq!(elf.header().class, Class::Elf32);
    assert_eq!(
        elf.soname().map(|name| name == "linux-vdso.so.1"),
        Some(true)
    );
    for name in ["clock_gettime64", "clock_gettime", "gettimeofday", "time"] {
        let found = elf.lookup_version(&format!("__vdso_{name}"), "LINUX_2.6");
        assert!(found.is_some(), "{name}");
    }
    let at = |offset: Option<usize>| &text[offset.unwrap()..];
    // int 0x80; ret. mov eax, 173; int 0x80. pop eax; mov eax, 119; int 0x80.
    assert!(at(image.entry()).starts_with(&[0xcd, 0x80, 0xc3]));
    assert!(at(image.rt_sigreturn()).starts_with(&[0xb8, 173, 0, 0, 0, 0xcd, 0x80]));
    let sigreturn = at(image.symbol("__kernel_sigreturn"));
    assert!(sigreturn.starts_with(&[0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80]));
    for other in Image::ALL
        .iter()
        .filter(|image| image.architecture() != "x86")
    {
        assert_eq!(other.entry(), None, "{}", other.architecture());
    }
}
