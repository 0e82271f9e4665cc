//! A crate whose functions and variables an image for kernels has besides Linux's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use vdsokit_elf::Image;
use vdsokit_vvar::layout::{Cursor, Hash, Shape, Type};
use vdsokit_vvar::scalar::ScalarType;

use crate::link::Architecture;
use crate::{Linker, compile, succeed};

/// The section into which the macros of `vdsokit-rt` write the declaration.
const DECLARATION: &str = ".vdsokit.declaration";

/// Such a crate, compiled.
#[derive(Debug)]
pub struct Own {
    pub(crate) library: PathBuf,
    /// The names of its functions.
    pub functions: Vec<String>,
    /// Its variables, in the order of their declaration.
    pub variables: Vec<ImageVariable>,
    /// The layout hash of its page.
    pub layout: u64,
}

/// A variable of one word.
#[derive(Debug)]
pub struct ImageVariable {
    /// Its name.
    pub name: String,
    /// Its place in the page.
    pub offset: usize,
    /// Its bits before it is published.
    pub initial: u64,
}

impl Own {
    /// Compiles the crate in `directory` for an architecture, and reads what it declares. Files are
    /// left in `out`.
    ///
    /// # Panics
    /// When it does not compile, or declares a variable that is not one word of 8 bytes.
    #[must_use]
    pub fn build(of: &Architecture, directory: &Path, out: &Path) -> Self {
        let library = compile(of, &directory.join("Cargo.toml"), &[], &out.join("own"));
        // A program of this section alone: its code needs addresses that only the image has.
        let (probe, linked) = (out.join("probe.lds"), out.join("probe.so"));
        let script = format!(
            "SECTIONS {{
  . = SIZEOF_HEADERS;
  {DECLARATION} : {{ KEEP(*({DECLARATION})) }}
  /DISCARD/ : {{ *(.text* .rodata* .data* .bss* .got* .init_array* .eh_frame* .gcc_except_table*) }}
}}
"
        );
        fs::write(&probe, script).expect("the script can be written");
        let mut linker = Linker::Rust.command(of);
        linker
            .args(["--whole-archive", "--gc-sections", "--entry=0", "--script"])
            .args([&probe, &library])
            .arg("-o")
            .arg(&linked);
        succeed(&mut linker);
        let bytes = fs::read(&linked).expect("the linker has written it");
        let image = Image::parse(&bytes).expect("an ELF file");
        let section = image
            .sections()
            .find(|section| section.name() == DECLARATION);
        let text = section.and_then(|section| image.section_bytes(&section));
        let text = std::str::from_utf8(text.unwrap_or_default()).expect("a declaration is text");
        Self::declared(text, library)
    }

    /// The files that it was compiled of: its own, those of the crates on this machine that it depends
    /// on, and the manifests of all of them. A change of any changes the image.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<PathBuf> {
        let list = self.library.with_extension("d");
        let text = fs::read_to_string(&list).expect("cargo has written it");
        sources_in(&text)
    }

    /// Reads the lines that the macros wrote.
    fn declared(text: &str, library: PathBuf) -> Self {
        let mut own = Self {
            library,
            functions: Vec::new(),
            variables: Vec::new(),
            layout: 0,
        };
        let (mut cursor, mut hash) = (Cursor::PAGES, Hash::EMPTY);
        let table = |line: &str, kind: &str| {
            let name = line.strip_prefix(kind)?.strip_suffix(']')?;
            (!name.contains('.')).then(|| name.to_owned())
        };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            own.functions.extend(table(line, "[function."));
            let Some(name) = table(line, "[var.") else {
                continue;
            };
            let value = |key: &str| {
                let is_key = |line: &&str| !line.starts_with('[');
                let of_table = lines.clone().take_while(is_key);
                of_table
                    .filter_map(|line| line.split_once(" = "))
                    .find_map(|(found, value)| (found == key).then_some(value))
            };
            let kind = value("type").unwrap_or_default().trim_matches('"');
            let initial = value("init").unwrap_or("0");
            let (kind, initial) = match kind {
                "u64" => (ScalarType::U64, initial.parse().ok()),
                "i64" => (
                    ScalarType::I64,
                    initial.parse().ok().map(i64::cast_unsigned),
                ),
                "f64" => (ScalarType::F64, initial.parse().ok().map(f64::to_bits)),
                other => panic!(
                    "variable {name} has the type {other}: a kernel's own are u64, i64 or f64"
                ),
            };
            let shape = Shape::Plain(Type::Scalar(kind));
            let offset = cursor.variable(&shape);
            hash = hash.variable(&name, &shape, offset);
            let initial = initial.unwrap_or_else(|| panic!("variable {name} has no readable init"));
            own.variables.push(ImageVariable {
                name,
                offset,
                initial,
            });
        }
        own.layout = hash.get();
        own
    }
}

/// The files of a list that cargo wrote for make, behind the target's name, and the manifest of the
/// crate that each is in.
fn sources_in(list: &str) -> BTreeSet<PathBuf> {
    // A space in a name has a backslash before it.
    let list = list.replace("\\ ", "\0");
    let names = list.split_whitespace().skip(1);
    let mut sources: BTreeSet<_> = names
        .map(|name| PathBuf::from(name.replace('\0', " ")))
        .collect();
    let manifests = sources.iter().filter_map(|source| {
        let mut all = source.ancestors().map(|above| above.join("Cargo.toml"));
        all.find(|manifest| manifest.is_file())
    });
    let manifests: Vec<_> = manifests.collect();
    sources.extend(manifests);
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Own {
        Own::declared(text, PathBuf::new())
    }

    #[test]
    fn functions_and_words_are_read_from_what_the_macros_write() {
        let own = declared(
            "[function.first]\ndoc = \"One.\"\nc = \"uint64_t first(void)\"\n[var.number]\nunit = \"1\"\n\
             type = \"u64\"\ninit = 666\n[var.change]\ntype = \"i64\"\ninit = -1\n[var.ratio]\ntype = \"f64\"\n",
        );
        assert_eq!(own.functions, ["first"]);
        let variables = own.variables.iter();
        let variables: Vec<_> = variables
            .map(|variable| (&*variable.name, variable.offset, variable.initial))
            .collect();
        let expected = [
            ("number", 64, 666),
            ("change", 72, u64::MAX),
            ("ratio", 80, 0),
        ];
        assert_eq!(variables, expected);
        assert_ne!(own.layout, declared("").layout);
    }

    #[test]
    fn the_sources_are_those_of_dependencies_too_with_their_manifests() {
        let here = env!("CARGO_MANIFEST_DIR");
        let list = format!("out/libown.a: {here}/src/own.rs /no/where\\ else/lib.rs\n");
        let expected = [
            format!("{here}/src/own.rs"),
            format!("{here}/Cargo.toml"),
            "/no/where else/lib.rs".into(),
        ];
        assert_eq!(sources_in(&list), expected.map(PathBuf::from).into());
    }

    #[test]
    #[should_panic(expected = "variable name has the type str[8]")]
    fn a_variable_of_more_than_a_word_is_refused_by_name() {
        let _ = declared("[var.name]\ntype = \"str[8]\"\n");
    }
}
