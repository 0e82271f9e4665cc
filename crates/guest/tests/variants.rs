//! Images with fewer functions, and with execute-only text.

use vdsokit_elf::Image as Elf;
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
            assert_eq!(offset >= code, !name.ends_with("rt_sigreturn"), "{name}");
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
