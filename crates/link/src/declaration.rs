//! Reading what a crate's macros declared from its compiled code.

use crate::Error;
use object::read::archive::ArchiveFile;
use object::read::elf::{ElfFile, FileHeader};
use object::{Endianness, Object, ObjectSection, elf};

/// The section into which the macros of `vdsokit-rt` write their declarations.
pub const DECLARATION: &str = ".vdsokit.declaration";

/// The declarations in a static library: the text in every object of it, TOML, in the order of the
/// source.
///
/// # Errors
/// [`Error::Archive`].
pub fn declarations(archive: &[u8]) -> Result<String, Error> {
    let text = texts(archive).map_err(|error| Error::Archive {
        reason: error.to_string(),
    })?;
    Ok(in_order(&text))
}

fn texts(archive: &[u8]) -> object::read::Result<String> {
    let mut declared = String::new();
    for member in ArchiveFile::parse(archive)?.members() {
        let bytes = member?.data(archive)?;
        // Members such as the symbol table are not objects and declare nothing.
        if let Ok(file) = ElfFile::<elf::FileHeader64<Endianness>>::parse(bytes) {
            declared += &text(&file)?;
        } else if let Ok(file) = ElfFile::<elf::FileHeader32<Endianness>>::parse(bytes) {
            declared += &text(&file)?;
        }
    }
    Ok(declared)
}

/// The text of one object.
fn text<E: FileHeader<Endian = Endianness>>(file: &ElfFile<'_, E>) -> object::read::Result<String> {
    let mut declared = String::new();
    for section in file.sections().filter(|one| one.name() == Ok(DECLARATION)) {
        declared += &String::from_utf8_lossy(section.data()?);
    }
    Ok(declared)
}

/// Sorts the declarations: variables in their order, then functions by name. The compiler
/// emits the items of several macros in any order, and the image must depend on the source
/// alone.
fn in_order(declared: &str) -> String {
    let mut variables = String::new();
    let mut functions: Vec<String> = Vec::new();
    let mut in_function = false;
    // A table's header is a line of its own; the user's texts are quoted after a key.
    for line in declared.split_inclusive('\n') {
        if line.starts_with('[') {
            in_function = line.starts_with("[function.");
            if in_function {
                functions.push(String::new());
            }
        }
        match functions.last_mut().filter(|_| in_function) {
            Some(function) => function.push_str(line),
            None => variables.push_str(line),
        }
    }
    functions.sort();
    variables + &functions.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_declarations_is_the_sources_whatever_the_compilers() {
        let wanted = "[var.a]\ntype = \"u8\"\n[var.b]\ntype = \"u8\"\n\
                      [function.a]\ndoc = \"[x]\"\n[function.b]\n";
        let compiled = "[function.b]\n[function.a]\ndoc = \"[x]\"\n\
                        [var.a]\ntype = \"u8\"\n[var.b]\ntype = \"u8\"\n";
        assert_eq!(in_order(compiled), wanted);
        assert_eq!(in_order(wanted), wanted);
    }
}
