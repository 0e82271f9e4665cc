//! A program that reads one variable compiles few crates, and works: `examples/readers/rust`,
//! against the publisher in `examples/publisher`.

mod scratch;

use scratch::Package;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use vdsokit::place;

/// The crates that such a program may compile, itself included.
const MOST: usize = 12;

#[test]
fn a_reader_compiles_at_most_12_crates() {
    let tree = Package::example("readers/rust")
        .cargo("tree", &["--edges", "normal,build", "--prefix", "none"]);
    // A crate that was listed before ends in ` (*)`.
    let crates: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(crates.contains("vdsokit"), "{tree}");
    assert!(crates.len() <= MOST, "{}: {crates:?}", crates.len());
    for heavy in ["syn", "quote", "proc-macro2"] {
        assert!(!crates.contains(heavy), "{heavy} comes with a reader");
    }
}

#[test]
fn the_examples_publish_and_read() {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libweather.so.1");
    let reader = Package::example("readers/rust").build("weather-reader");

    let missing = Command::new(&reader).arg(&path).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let told = String::from_utf8(missing.stderr).unwrap();
    let sentence = format!("Error: {}: there is no such file\n  help: ", path.display());
    assert!(told.starts_with(&sentence), "{told}");

    let publisher = Package::example("publisher").build("weather-publisher");
    let mut publisher = Command::new(&publisher)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut live = String::new();
    BufReader::new(publisher.stdout.take().unwrap())
        .read_line(&mut live)
        .unwrap();
    assert_eq!(live, "live\n");
    let read = || {
        let output = Command::new(&reader).arg(&path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(read(), "1.5 °C\n");
    let mut stdin = publisher.stdin.take().unwrap();
    stdin.write_all(b"21.5\n").unwrap();
    drop(stdin);
    assert!(publisher.wait().unwrap().success());
    assert_eq!(read(), "21.5 °C (stopped)\n");
}
