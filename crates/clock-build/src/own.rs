//! A crate whose functions and variables an image for kernels has besides Linux's.

use std::fs;
use std::path::{Path, PathBuf};

use vdsokit_link::{Architecture, declarations};
use vdsokit_vvar::layout::{Cursor, Hash, Shape, Type};
use vdsokit_vvar::scalar::ScalarType;

use crate::{built, compile};

/// The symbol of a crate's function, which the macros of `vdsokit-rt` define.
pub(crate) fn symbol(function: &str) -> String {
    format!("__vdso_{function}")
}

/// Such a crate, compiled.
#[derive(Debug)]
pub struct Own {
    /// The static library.
    pub library: PathBuf,
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
    /// left in `out`, an absolute path.
    ///
    /// # Panics
    /// When it does not compile, or declares a variable that is not one word of 8 bytes.
    #[must_use]
    pub fn build(arch: Architecture, directory: &Path, out: &Path) -> Self {
        let library = compile(arch, directory, &[], &out.join("own"));
        let archive = fs::read(&library);
        let archive = archive.unwrap_or_else(|error| panic!("{}: {error}", library.display()));
        Self::declared(&built(declarations(&archive)), library)
    }

    /// The names of its functions in the image, without their aliases.
    pub(crate) fn exports(&self) -> impl Iterator<Item = String> {
        self.functions.iter().map(|name| symbol(name))
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
    #[should_panic(expected = "variable name has the type str[8]")]
    fn a_variable_of_more_than_a_word_is_refused_by_name() {
        let _ = declared("[var.name]\ntype = \"str[8]\"\n");
    }
}
