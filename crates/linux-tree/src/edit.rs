//! Insertions into a kernel's files, as data: where, and what.
//!
//! A place is found by its *anchor*: words that a line begins with, each looked for behind
//! the one before. So no text of the kernel's is kept here, and a tree that looks different
//! where a line would go is refused rather than guessed at. An insertion is whole lines and
//! nothing else of the file is touched; taking exactly these lines out again gives back
//! every byte.

use crate::error::Error;
use std::path::Path;

/// The word that every insertion contains, by which insertions are recognised.
pub(crate) const MARK: &str = "vdsokit";

/// One insertion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Insertion {
    /// The file, from the root of the tree.
    pub(crate) file: &'static str,
    /// What needs it.
    pub(crate) part: Part,
    /// Where.
    pub(crate) anchor: Anchor,
    /// Whole lines.
    pub(crate) text: &'static str,
}

/// What there is in a tree that needs an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The functions of crates.
    Functions,
    /// The clock.
    Clock,
    /// Either of them.
    Any,
}

/// Where an insertion goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    /// Behind the last line.
    End,
    /// Behind the line that the last of these words begin, see [`find`].
    After(&'static [&'static str]),
    /// Before it.
    Before(&'static [&'static str]),
}

/// A line that ends a function's body, or a linker script's.
const END_OF_BODY: &str = "}";

/// `text` with all of `wanted` and without any of `unwanted`, which together are all of this
/// file. One that is there already stays as it is.
pub(crate) fn change(
    file: &Path,
    text: &str,
    wanted: &[&Insertion],
    unwanted: &[&Insertion],
) -> Result<String, Error> {
    refuse_changed(file, text, &[wanted, unwanted].concat())?;
    let mut text = unwanted.iter().fold(text.to_owned(), |text, insertion| {
        text.replacen(insertion.text, "", 1)
    });
    for insertion in wanted {
        if !text.contains(insertion.text) {
            let at = place(file, &text, insertion)?;
            text.insert_str(at, insertion.text);
        }
    }
    Ok(text)
}

/// Refuses a file in which an inserted line was changed, or stands twice.
fn refuse_changed(file: &Path, text: &str, insertions: &[&Insertion]) -> Result<(), Error> {
    // The line numbers are the file's: insertions are blanked, not removed.
    let blanked = insertions.iter().fold(text.to_owned(), |text, insertion| {
        let lines = insertion.text.lines().count();
        text.replacen(insertion.text, &"\n".repeat(lines), 1)
    });
    match blanked.lines().position(|line| line.contains(MARK)) {
        None => Ok(()),
        Some(index) => Err(Error::Changed {
            file: file.to_owned(),
            line: index + 1,
            found: blanked.lines().nth(index).unwrap_or_default().trim().into(),
        }),
    }
}

/// The byte at which an insertion goes.
fn place(file: &Path, text: &str, insertion: &Insertion) -> Result<usize, Error> {
    if !text.ends_with('\n') {
        return Err(Error::NoAnchor {
            file: file.to_owned(),
            line: text.lines().count(),
            looked_for: "a line feed at the end of the file".into(),
        });
    }
    match insertion.anchor {
        Anchor::End => Ok(text.len()),
        Anchor::After(words) => find(file, text, words).map(|line| line.end),
        Anchor::Before(words) => find(file, text, words).map(|line| line.start),
    }
}

struct Line {
    number: usize,
    start: usize,
    end: usize,
}

/// The line that the last of `words` begin. The first of them must begin exactly one line;
/// each other is the next line of its kind in the same body.
fn find(file: &Path, text: &str, words: &[&str]) -> Result<Line, Error> {
    let missing = |line: usize, word: &str| Error::NoAnchor {
        file: file.to_owned(),
        line,
        looked_for: format!("a line that begins `{word}`"),
    };
    let Some((first, others)) = words.split_first() else {
        return Err(missing(1, ""));
    };
    let mut candidates = lines(text).filter(|(_, line)| begins(line, first));
    let (mut found, _) = candidates.next().ok_or_else(|| missing(1, first))?;
    if let Some((second, _)) = candidates.next() {
        return Err(Error::TwoAnchors {
            file: file.to_owned(),
            lines: [found.number, second.number],
            looked_for: (*first).into(),
        });
    }
    for word in others {
        let behind = lines(text).skip(found.number);
        let mut body = behind.scan(false, |ended, (place, line)| {
            if *ended {
                return None;
            }
            *ended = line == END_OF_BODY;
            Some((place, line))
        });
        let next = body.find(|(_, line)| begins(line, word));
        (found, _) = next.ok_or_else(|| missing(found.number, word))?;
    }
    Ok(found)
}

/// The lines with their places, without their ends.
fn lines(text: &str) -> impl Iterator<Item = (Line, &str)> {
    text.split_inclusive('\n')
        .enumerate()
        .scan(0, |at, (index, line)| {
            let start = *at;
            *at += line.len();
            let place = Line {
                number: index + 1,
                start,
                end: *at,
            };
            Some((place, line.strip_suffix('\n').unwrap_or(line)))
        })
}

/// Does a line begin with these words, whatever the white space before and between? The
/// end of a body only counts at the start of its line.
fn begins(line: &str, words: &str) -> bool {
    if words == END_OF_BODY {
        return line == END_OF_BODY;
    }
    let mut rest = line.split_whitespace();
    let mut words = words.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let Some(found) = rest.next() else {
            return false;
        };
        let same = match words.peek() {
            Some(_) => found == word,
            None => found.starts_with(word),
        };
        if !same {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "a.c";
    const CALL: Insertion = Insertion {
        file: FILE,
        part: Part::Any,
        anchor: Anchor::Before(&["void update(", "}"]),
        text: "\tvdsokit_update();\n",
    };
    const CHECK: Insertion = Insertion {
        file: FILE,
        part: Part::Any,
        anchor: Anchor::After(&["static int fault(", "if (!image)", "return BUS;"]),
        text: "\tif (vdsokit())\n\t\treturn 0;\n",
    };
    const ALL: [&Insertion; 2] = [&CALL, &CHECK];
    const SOURCE: &str = "int update_all(void);\n\
                          static int fault(int a,\n\t\tint b)\n{\n\tif (!image)\n\t\treturn BUS;\n\n\tgo();\n}\n\n\
                          void update(void)\n{\n\tif (x) {\n\t}\n}\n";

    fn insert_into(text: &str) -> Result<String, Error> {
        change(Path::new(FILE), text, &ALL, &[])
    }

    fn take_out(text: &str) -> Result<String, Error> {
        change(Path::new(FILE), text, &[], &ALL)
    }

    #[test]
    fn lines_come_to_their_places_and_leave_no_trace() {
        let with = insert_into(SOURCE).unwrap();
        assert!(with.contains("return BUS;\n\tif (vdsokit())\n\t\treturn 0;\n\n\tgo();"));
        assert!(with.contains("\t}\n\tvdsokit_update();\n}\n"));
        assert_eq!(insert_into(&with).unwrap(), with);
        assert_eq!(take_out(&with).unwrap(), SOURCE);
    }

    #[test]
    fn what_an_interrupted_run_left_is_completed() {
        let half = change(Path::new(FILE), SOURCE, &[&CALL], &[&CHECK]).unwrap();
        let whole = insert_into(&half).unwrap();
        assert_eq!(whole, insert_into(SOURCE).unwrap());
        assert_eq!(
            change(Path::new(FILE), &whole, &[&CALL], &[&CHECK]).unwrap(),
            half
        );
    }

    #[test]
    fn an_inserted_line_that_was_changed_is_named() {
        let changed = insert_into(SOURCE)
            .unwrap()
            .replace("return 0;", "return 1;");
        for result in [insert_into(&changed), take_out(&changed)] {
            let Err(Error::Changed { line, found, .. }) = result else {
                panic!("{result:?}")
            };
            assert_eq!((line, found.as_str()), (7, "if (vdsokit())"));
        }
    }

    #[test]
    fn an_inserted_line_that_stands_twice_is_named() {
        let twice = insert_into(SOURCE).unwrap() + CALL.text;
        assert!(matches!(
            insert_into(&twice),
            Err(Error::Changed { line: 19, .. })
        ));
    }

    #[test]
    fn a_place_that_is_gone_is_named() {
        let gone = SOURCE.replace("if (!image)", "if (image == NULL)");
        let Err(Error::NoAnchor {
            line, looked_for, ..
        }) = insert_into(&gone)
        else {
            panic!("{gone}")
        };
        assert_eq!(line, 2);
        assert_eq!(looked_for, "a line that begins `if (!image)`");
    }

    #[test]
    fn a_step_never_leads_into_the_next_function() {
        let moved = SOURCE.replace("\tif (!image)\n\t\treturn BUS;\n", "")
            + "int next(void)\n{\n\tif (!image)\n\t\treturn BUS;\n}\n";
        assert!(matches!(insert_into(&moved), Err(Error::NoAnchor { .. })));
    }

    #[test]
    fn two_places_are_none() {
        let twice = format!("{SOURCE}{SOURCE}");
        assert!(matches!(
            insert_into(&twice),
            Err(Error::TwoAnchors {
                lines: [11, 26],
                ..
            } | Error::TwoAnchors { lines: [2, 17], .. })
        ));
    }

    #[test]
    fn a_file_without_a_last_line_feed_is_refused() {
        assert!(matches!(
            insert_into(SOURCE.trim_end()),
            Err(Error::NoAnchor { .. })
        ));
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_of_any_text(
            before in "([a-z };]{0,12}\n){0,8}",
            after in "([a-z };]{0,12}\n){0,8}",
        ) {
            let text = format!("{before}{SOURCE}{after}");
            if let Ok(with) = insert_into(&text) {
                prop_assert_eq!(take_out(&with).unwrap(), text);
            }
        }
    }
}
