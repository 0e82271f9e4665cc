//! The README's table of what runs where, made of the rows of the lab.
//!
//! A cell names the kernels that all rows of a subject run on, so it can't promise more than the lab
//! tries. What other tests try, on the kernel of the machine that runs them, is said in words.

use crate::check::Which;
use crate::checks;
use crate::debian::by_number;
use std::fmt::Write;

/// What one architecture has of a subject.
enum Cell {
    /// The kernels of the rows with these names.
    Rows(&'static [&'static str]),
    Words(&'static str),
}

use Cell::{Rows, Words};

/// Each subject: x86-64, AArch64, RISC-V 64.
const SUBJECTS: &[(&str, [Cell; 3])] = &[
    (
        "declarations: `build`, `serve`, `set`, `get`, `watch`",
        [
            Words("yes"),
            Rows(&["arm-publishing"]),
            Rows(&["riscv-publishing"]),
        ],
    ),
    (
        "declarations for 32-bit programs: `build --arch i386`",
        [Words("yes"), Words("no"), Words("no")],
    ),
    (
        "`ls`, `dump`, `check`, `doctor`, `bench`",
        [
            Words("yes"),
            Rows(&["arm-inspection"]),
            Rows(&["riscv-inspection"]),
        ],
    ),
    (
        "`run`, `clock`",
        [
            Words("yes"),
            Rows(&[
                "arm-run",
                "arm-options",
                "arm-waits",
                "arm-clock-changed",
                "arm-registers",
                "arm-delivery-calls",
                "arm-selftests",
            ]),
            Rows(&[
                "riscv-run",
                "riscv-options",
                "riscv-waits",
                "riscv-clock-changed",
                "riscv-registers",
                "riscv-delivery-calls",
                "riscv-selftests",
            ]),
        ],
    ),
    (
        "`run` of 32-bit programs",
        [Words("yes"), Words("no"), Words("no")],
    ),
    (
        "`attach`, `detach`",
        [
            Words("yes"),
            Rows(&[
                "arm-attach",
                "arm-sleep",
                "arm-events",
                "arm-vectors",
                "arm-killed",
            ]),
            Rows(&[
                "riscv-attach",
                "riscv-sleep",
                "riscv-events",
                "riscv-vectors",
                "riscv-killed",
            ]),
        ],
    ),
    ("`trace`", [Words("yes"), Words("no"), Words("no")]),
    (
        "`serve clock`",
        [
            Words("yes"),
            Rows(&["arm-counter"]),
            Rows(&["riscv-counter"]),
        ],
    ),
    (
        "`serve --kernel`, `serve clock --source timekeeper`",
        [Rows(&["kernel-values"]), Rows(&["arm-kernel"]), Words("no")],
    ),
    (
        "`serve current`, `run --current`",
        [Rows(&["current-facts"]), Words("no"), Words("no")],
    ),
    (
        "`kernel add`",
        [Words("trees of 6.1 and 6.12"), Words("no"), Words("no")],
    ),
];

/// The table, in Markdown.
///
/// # Errors
/// The name of a row that is not there.
pub fn table() -> Result<String, &'static str> {
    let mut text = String::from("| | x86-64 | AArch64 | RISC-V 64 |\n| --- | --- | --- | --- |\n");
    for (subject, cells) in SUBJECTS {
        let _ = write!(text, "| {subject} |");
        for cell in cells {
            let words = match cell {
                Rows(names) => kernels(names)?,
                Words(words) => (*words).to_owned(),
            };
            let _ = write!(text, " {words} |");
        }
        text.push('\n');
    }
    Ok(text)
}

/// The kernels that all rows of these names run on.
fn kernels(names: &[&'static str]) -> Result<String, &'static str> {
    let mut common: Option<Vec<&str>> = None;
    for &name in names {
        let row = checks::all().find(|check| check.name == name).ok_or(name)?;
        let kernels: Vec<&str> = row.kernels(Which::All).map(|kernel| kernel.name).collect();
        common = Some(match common {
            Some(before) => before
                .into_iter()
                .filter(|name| kernels.contains(name))
                .collect(),
            None => kernels,
        });
    }
    let names = common.unwrap_or_default().into_iter();
    let mut versions: Vec<String> = names
        .map(|name| match name.split_once(' ') {
            Some(("arm64-16k", version)) => format!("{version} with pages of 16 KiB"),
            Some((_, version)) => version.to_owned(),
            None => name.to_owned(),
        })
        .collect();
    versions.sort_by(|a, b| by_number(a, b));
    Ok(format!("Linux {}", versions.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_names_the_kernels_of_the_rows() {
        let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
        let readme = std::fs::read_to_string(readme).expect("the README");
        let table = table().expect("each row exists");
        assert!(
            readme.contains(&table),
            "the README's table of what runs where has to be\n\n{table}"
        );
    }

    #[test]
    fn a_cell_has_only_kernels_that_all_of_its_rows_have() {
        assert_eq!(
            kernels(&["arm-run", "arm-kernel"]).as_deref(),
            Ok("Linux 6.12")
        );
        assert_eq!(kernels(&["nonsense"]), Err("nonsense"));
    }
}
