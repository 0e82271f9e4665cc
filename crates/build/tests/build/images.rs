//! What holds for the image of any declaration.

use crate::support::declaration;
use proptest::prelude::*;
use vdsokit_build::{Architecture, Declaration, directory, image, verify};
use vdsokit_elf::Image;

/// Eight variables with units and words about each.
const EIGHT: &str = r#"
[vdso]
soname = "libsystem.so.1"
version = "SYSTEM_1.0"
[var.processes]
type = "u64"
unit = "1"
doc = "Processes there are"
[var.threads]
type = "u64"
unit = "1"
doc = "Threads there are"
[var.run_queue]
type = "u32"
unit = "1"
doc = "Threads that run or could"
[var.load]
type = "f64[3]"
unit = "1"
doc = "Load averages over 1, 5 and 15 minutes"
[var.memory_free]
type = "u64"
unit = "B"
doc = "Unused memory"
[var.memory_available]
type = "u64"
unit = "B"
doc = "Memory that a new program can have"
[var.uptime]
type = "f64"
unit = "s"
doc = "Since the machine was started"
[var.host]
type = "str[65]"
doc = "The machine's name"
"#;

#[test]
fn eight_variables_take_a_page_of_image_and_a_page_of_data() {
    let declaration = Declaration::parse("eight.toml", EIGHT).unwrap();
    let bytes = image(&declaration, Architecture::X86_64).unwrap();
    assert_eq!(bytes.len(), 2 * 4096);
}

#[test]
fn the_same_declaration_gives_the_same_bytes() {
    for arch in Architecture::ALL {
        let build = || image(&declaration("every-type.toml"), arch).unwrap();
        assert_eq!(build(), build());
    }
}

#[test]
fn another_initial_value_gives_another_build_id() {
    let id = |text: &str| {
        let declaration = Declaration::parse("eight.toml", text).unwrap();
        let bytes = image(&declaration, Architecture::X86_64).unwrap();
        Image::parse(&bytes).unwrap().build_id().unwrap().to_vec()
    };
    let other = EIGHT.replace("doc = \"The machine's name\"", "init = \"x\"");
    assert_eq!(id(EIGHT).len(), 20);
    assert_ne!(id(EIGHT), id(&other));
}

/// A declaration of plain variables of these types.
fn of_types(types: &[&str]) -> Declaration {
    let mut text = String::from("[vdso]\nsoname = \"libany.so\"\nversion = \"ANY_1\"\n");
    for (index, ty) in types.iter().enumerate() {
        text += &format!(
            "[var.v{index}]\ntype = \"{ty}\"\nversion = \"ANY_{}\"\n",
            index / 50 + 1
        );
    }
    Declaration::parse("any.toml", &text).unwrap()
}

#[test]
fn no_variables_at_all() {
    for arch in Architecture::ALL {
        verify(&image(&of_types(&[]), arch).unwrap()).unwrap();
    }
}

#[test]
fn ten_thousand_variables() {
    let types: Vec<_> = ["f64", "u8", "str[9]", "i32"]
        .into_iter()
        .cycle()
        .take(10_000)
        .collect();
    let declaration = of_types(&types);
    for arch in Architecture::ALL {
        let bytes = image(&declaration, arch).unwrap();
        let image = Image::parse(&bytes).unwrap();
        for index in 0..types.len() {
            let version = format!("ANY_{}", index / 50 + 1);
            assert!(
                image
                    .lookup_version(&format!("any_v{index}"), &version)
                    .is_some()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every image passes the check on its way out, so this is that none is refused, and
    /// that each function is found and each variable has its name and type.
    #[test]
    fn any_declaration_gives_a_sound_image(
        types in prop::collection::vec(
            prop::sample::select(vec![
                "bool", "i8", "u16", "i32", "u64", "f32", "f64", "u8[3]", "f64[20]", "str[1]",
                "i16[1000]", "str[77]",
            ]),
            0..200,
        ),
        arch in prop::sample::select(Architecture::ALL.to_vec()),
    ) {
        let declaration = of_types(&types);
        let bytes = image(&declaration, arch).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let directory = directory(&image).unwrap();
        prop_assert_eq!(directory.len(), types.len());
        for (variable, entry) in declaration.variables().iter().zip(directory.iter()) {
            prop_assert_eq!(&variable.name, entry.name);
            let function = image.lookup_version(&format!("any_{}", entry.name), entry.version);
            prop_assert!(function.is_some_and(|function| function.size > 0));
        }
    }
}
