//! Publishers in processes of their own: fork(2), panics, locks and two names of one file.
#![allow(unsafe_code, reason = "fork(2) has no safe function")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::{Condition, Error, Publisher, Vdso, assign, install, place, set};

const FLAGS: &str = r#"
[vdso]
soname = "libflags.so.1"
version = "FLAGS_1.0"

[var.limit]
type = "f64"
init = 7.0

[var.mode]
type = "u64[2]"
"#;

fn built(text: &str) -> Vec<u8> {
    let declaration = Declaration::parse("test.toml", text).unwrap();
    image(&declaration, Architecture::host().unwrap()).unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = fs::canonicalize(directory.path())
        .unwrap()
        .join("libflags.so.1");
    (directory, path)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// This test program as another process, in which `publisher_process` runs.
fn process(role: &str, path: &Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "publisher_process", "--ignored", "--nocapture"])
        .env("VDSOKIT_ROLE", role)
        .env("VDSOKIT_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Reads lines until one is `expected`; libtest prints others.
fn expect(output: &mut impl BufRead, expected: &str) {
    let mut line = String::new();
    while line.trim_end() != expected {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "no `{expected}`");
    }
}

fn print(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "\n{line}").unwrap();
    output.flush().unwrap();
}

fn until_input_ends() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

#[test]
#[ignore = "the process of other tests"]
fn publisher_process() {
    let (Ok(role), Some(path)) = (
        std::env::var("VDSOKIT_ROLE"),
        std::env::var_os("VDSOKIT_PATH"),
    ) else {
        return;
    };
    if role == "create in a page" {
        return create_in_a_page(Path::new(&path));
    }
    let publisher = Publisher::open(path).unwrap();
    match role.as_str() {
        "publish" => {
            print("live");
            until_input_ends();
            drop(publisher);
        }
        // The parent dies, its child lives on until the input ends.
        "fork and die" => {
            // SAFETY: the child only reads, and ends by _exit(2).
            match unsafe { libc::fork() } {
                0 => {
                    until_input_ends();
                    // SAFETY: ends the process.
                    unsafe { libc::_exit(0) }
                }
                _ => {
                    print("forked");
                    // SAFETY: a signal to this process.
                    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
                }
            }
        }
        // The child drops the publisher that it inherited.
        "drop in a child" => {
            // SAFETY: the child drops a value and ends by _exit(2).
            let child = unsafe { libc::fork() };
            if child == 0 {
                drop(publisher);
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) }
            }
            // SAFETY: waits for the child; no status is stored.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            print("dropped");
            until_input_ends();
            drop(publisher);
        }
        role => panic!("{role}"),
    }
}

#[test]
fn a_lock_ends_with_its_process_though_a_forked_child_lives() {
    let (_directory, path) = place();
    fs::write(&path, built(FLAGS)).unwrap();
    let (mut parent, mut output) = process("fork and die", &path);
    expect(&mut output, "forked");
    assert!(!parent.wait().unwrap().success());
    // The child still has the standard output open.
    drop(Publisher::open(&path).unwrap());
    drop(parent.stdin.take());
}

#[test]
fn a_forked_child_neither_stops_the_vdso_nor_releases_the_lock() {
    let (_directory, path) = place();
    fs::write(&path, built(FLAGS)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    let (mut parent, mut output) = process("drop in a child", &path);
    expect(&mut output, "dropped");
    assert_eq!(vdso.status().condition, Condition::Live);
    let Err(Error::Busy { pid, .. }) = Publisher::open(&path) else {
        panic!("a second publisher")
    };
    assert_eq!(pid, Some(parent.id()));
    assert!(path.with_file_name(".libflags.so.1.lock").exists());
    drop(parent.stdin.take());
    assert!(parent.wait().unwrap().success());
    assert_eq!(vdso.status().condition, Condition::Stopped);
    assert_eq!(names(&path), ["libflags.so.1"]);
}

#[test]
fn a_panic_is_not_an_orderly_end() {
    let (_directory, path) = place();
    let publisher = Publisher::create(&path, &built(FLAGS)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    let panicked = std::thread::spawn(move || {
        let _publisher = publisher;
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.join().is_err());
    assert_eq!(vdso.status().condition, Condition::Live);
    // And the next publisher can start at once.
    drop(Publisher::open(&path).unwrap());
    assert_eq!(vdso.status().condition, Condition::Stopped);
}

#[test]
fn one_file_with_two_names_has_one_publisher() {
    let (directory, path) = place();
    fs::write(&path, built(FLAGS)).unwrap();
    fs::create_dir(directory.path().join("other")).unwrap();
    let other = directory.path().join("other/libflags.so.1");
    fs::hard_link(&path, &other).unwrap();
    let (mut first, mut output) = process("publish", &path);
    expect(&mut output, "live");
    let refused = |result: Result<(), Error>| match result {
        Err(Error::Busy { pid, .. }) => assert_eq!(pid, Some(first.id())),
        other => panic!("{other:?}"),
    };
    refused(Publisher::open(&other).map(drop));
    refused(set(&other, &assign::parse("limit=1").unwrap()));
    refused(install(
        &other,
        &built(&format!("{FLAGS}\n[var.x]\ntype = \"u8\"\n")),
    ));
    assert_eq!(
        Vdso::open(&path).unwrap().status().condition,
        Condition::Live
    );
    // Killed, its place is free by either name.
    first.kill().unwrap();
    first.wait().unwrap();
    drop(Publisher::open(&other).unwrap());
}

#[test]
fn installing_the_image_that_is_live_changes_nothing() {
    let (directory, path) = place();
    fs::write(&path, built(FLAGS)).unwrap();
    let other = directory.path().join("libother.so.1");
    fs::hard_link(&path, &other).unwrap();
    let (mut publisher, mut output) = process("publish", &path);
    expect(&mut output, "live");
    let before = fs::metadata(&path).unwrap().ino();
    for name in [&path, &other] {
        install(name, &built(FLAGS)).unwrap();
        assert_eq!(fs::metadata(name).unwrap().ino(), before);
    }
    let condition = Vdso::open(&path).unwrap().status().condition;
    assert_eq!(condition, Condition::Live);
    publisher.kill().unwrap();
    publisher.wait().unwrap();
}

#[test]
fn a_lock_file_that_is_another_file_is_refused_and_not_written_to() {
    let (directory, path) = place();
    let image = built(FLAGS);
    let lock = path.with_file_name(".libflags.so.1.lock");
    let precious = directory.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    let makers: [(&str, &dyn Fn()); 4] = [
        ("hard links", &|| fs::hard_link(&precious, &lock).unwrap()),
        ("symbolic link", &|| symlink(&precious, &lock).unwrap()),
        ("directory", &|| fs::create_dir(&lock).unwrap()),
        ("not a regular file", &|| {
            let made = Command::new("mkfifo").arg(&lock).status().unwrap();
            assert!(made.success());
        }),
    ];
    for (why, make) in makers {
        make();
        for result in [
            Publisher::create(&path, &image).map(drop),
            install(&path, &image),
        ] {
            let Err(error @ Error::LockFile { .. }) = result else {
                panic!("{why}: {result:?}")
            };
            assert!(error.to_string().contains(why), "{error}");
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert!(!path.exists());
        match lock.is_dir() && !lock.is_symlink() {
            true => fs::remove_dir(&lock).unwrap(),
            false => fs::remove_file(&lock).unwrap(),
        }
    }
    Publisher::create(&path, &image).unwrap();
}

#[test]
fn no_lock_file_is_left_beside_a_file_that_is_refused() {
    let (_directory, path) = place();
    fs::write(&path, "no vDSO").unwrap();
    assert!(Publisher::open(&path).is_err());
    assert!(Publisher::create(&path, &built(FLAGS)).is_err());
    assert!(install(&path, &built(FLAGS)).is_err());
    assert!(set(&path, &[]).is_err());
    assert_eq!(names(&path), ["libflags.so.1"]);
    assert_eq!(fs::read(&path).unwrap(), b"no vDSO");
}

#[test]
fn a_new_file_that_a_crash_left_is_removed() {
    let (_directory, path) = place();
    fs::write(path.with_file_name(".libflags.so.1.new"), "left").unwrap();
    drop(Publisher::create(&path, &built(FLAGS)).unwrap());
    assert_eq!(names(&path), ["libflags.so.1"]);
}

/// A file may have no more bytes than a page, so the image can't be written whole.
fn create_in_a_page(path: &Path) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // SAFETY: the signal is ignored; write(2) then fails with EFBIG (setrlimit(2)).
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let limit = Rlimit {
        current: Some(4096),
        maximum: Some(4096),
    };
    setrlimit(Resource::Fsize, limit).unwrap();
    let refused = Publisher::create(path, &built(FLAGS));
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    print("refused");
}

#[test]
fn a_new_file_that_cannot_be_written_whole_is_not_left() {
    let (_directory, path) = place();
    let (mut child, mut output) = process("create in a page", &path);
    expect(&mut output, "refused");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(names(&path), Vec::<String>::new());
}

#[test]
fn values_are_copied_from_pages_of_the_same_layout_only() {
    use vdsokit_elf::Image;
    use vdsokit_vvar::mapping::{Access, MappedFile};
    use vdsokit_vvar::pages::Pages;
    let (_one, from) = place();
    let (_other, to) = place();
    let first = Publisher::create(&from, &built(FLAGS)).unwrap();
    first
        .assign(&assign::parse("limit=2.5 mode=7,8").unwrap())
        .unwrap();
    let bytes = fs::read(&from).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let vvar = image.segments().filter(|segment| segment.is_load()).nth(1);
    let vvar = vvar.unwrap();
    let file = fs::File::open(&from).unwrap();
    let mapped = MappedFile::new(&file, vvar.offset, vvar.filesz as usize, Access::Read).unwrap();
    // SAFETY: the file is not made shorter while it is mapped, and its publisher stores as these
    // crates do.
    let pages = unsafe { Pages::new(mapped.base(), mapped.length()) }.unwrap();

    let second = Publisher::create(&to, &built(FLAGS)).unwrap();
    let [source, copy] = [&from, &to].map(|path| Vdso::open(path).unwrap());
    let values = |vdso: &Vdso| ["limit", "mode"].map(|name| vdso.get(name).unwrap().to_string());
    assert_eq!(values(&copy), ["7", "0,0"]);
    second.copy_from(pages).unwrap();
    assert_eq!(values(&copy), ["2.5", "7,8"]);
    assert_eq!(values(&copy), values(&source));
    drop(second);

    let longer = format!("{FLAGS}\n[var.more]\ntype = \"u8\"\n");
    let third = Publisher::create(&to, &built(&longer)).unwrap();
    let refused = third.copy_from(pages);
    assert!(matches!(refused, Err(Error::Torn { .. })), "{refused:?}");
}

#[test]
fn a_refused_assignment_changes_nothing() {
    let (_directory, path) = place();
    fs::write(&path, built(FLAGS)).unwrap();
    let before = fs::read(&path).unwrap();
    for line in [
        "nosuch=1",
        "limit=1 nosuch=1",
        "limit=1e400",
        "mode=1",
        "mode.x=1",
    ] {
        assert!(set(&path, &assign::parse(line).unwrap()).is_err(), "{line}");
        assert_eq!(fs::read(&path).unwrap(), before, "{line}");
    }
    set(&path, &assign::parse("limit=inf mode=3,4").unwrap()).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.get("limit").unwrap().to_string(), "inf");
    assert_eq!(vdso.get("mode").unwrap().to_string(), "3,4");
    assert_eq!(vdso.status().condition, Condition::Stopped);
    assert_eq!(names(&path), ["libflags.so.1"]);
}

#[test]
fn a_layout_that_moves_or_retypes_a_variable_is_refused_unless_replaced_on_purpose() {
    let (_directory, path) = place();
    drop(Publisher::create(&path, &built(FLAGS)).unwrap());
    set(&path, &assign::parse("limit=1.5 mode=3,4").unwrap()).unwrap();
    let old = Vdso::open(&path).unwrap();
    let inode = || fs::metadata(&path).unwrap().ino();
    let before = inode();
    let retyped = FLAGS.replace("type = \"f64\"\ninit = 7.0", "type = \"u64\"\ninit = 7");
    let moved = FLAGS.replace("[var.limit]", "[var.first]\ntype = \"u8\"\n\n[var.limit]");
    let renamed = FLAGS.replace("var.limit", "var.bound");
    for (text, found, wanted) in [
        (&retyped, "f64 at byte 64", "u64 at byte 64"),
        (&moved, "f64 at byte 64", "f64 at byte 72"),
        (&renamed, "f64 at byte 64", "absent"),
    ] {
        let refused = Publisher::create(&path, &built(text));
        let Err(error @ Error::Layout { .. }) = refused else {
            panic!("{refused:?}")
        };
        let message = error.to_string();
        for part in ["`limit`", found, wanted] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(
            (inode(), names(&path)),
            (before, vec!["libflags.so.1".into()])
        );
        assert_eq!(old.status().condition, Condition::Stopped);
    }
    let replaced = Publisher::options().replace(true);
    let publisher = replaced.create(&path, &built(&retyped)).unwrap();
    assert_eq!(old.status().condition, Condition::Replaced);
    let new = Vdso::open(&path).unwrap();
    // The bits of another type are not carried over.
    assert_eq!(new.get("limit").unwrap().to_string(), "7");
    assert_eq!(new.get("mode").unwrap().to_string(), "3,4");
    drop(publisher);
}

#[test]
fn a_publisher_has_a_heartbeat_by_default() {
    let (_directory, path) = place();
    let publisher = Publisher::create(&path, &built(FLAGS)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.status().stale_after, Some(Duration::from_secs(5)));
    let first = vdso.header().updated();
    while vdso.header().updated() == first {
        std::thread::yield_now();
    }
    // Taken over by the caller, it is the caller's.
    publisher.stale_after(Duration::from_secs(3600));
    let first = vdso.header().updated();
    publisher.beat();
    assert!(vdso.header().updated() > first);
    assert_eq!(vdso.status().condition, Condition::Live);
}

#[test]
fn a_publisher_of_another_boot_is_stale() {
    let (_directory, path) = place();
    let (mut first, mut output) = {
        fs::write(&path, built(FLAGS)).unwrap();
        process("publish", &path)
    };
    expect(&mut output, "live");
    first.kill().unwrap();
    first.wait().unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.status().condition, Condition::Live);
    let patch = |offset: u64, word: u64| {
        let bytes = fs::read(&path).unwrap();
        let header = bytes.windows(8).position(|at| at == b"vvarpage").unwrap() as u64;
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &word.to_ne_bytes(), header + offset)
            .unwrap();
    };
    let boot = vdso.header().boot();
    patch(56, boot ^ 1);
    assert_eq!(vdso.status().condition, Condition::Stale);
    patch(56, boot);
    assert_eq!(vdso.status().condition, Condition::Live);
    // Ten days in the future: an earlier boot of an image that cannot read the boot's id.
    patch(40, vdso.header().updated() + 864_000_000_000_000);
    assert_eq!(vdso.status().condition, Condition::Stale);
}

#[test]
fn a_file_that_was_cut_short_is_displaced() {
    let (_directory, path) = place();
    let publisher = Publisher::options()
        .stale_after(Duration::ZERO)
        .create(&path, &built(FLAGS))
        .unwrap();
    assert!(!publisher.is_displaced());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    assert!(publisher.is_displaced());
}

#[test]
fn a_directory_that_is_missing_or_closed_is_named() {
    let (directory, path) = place();
    let missing = directory.path().join("none/libflags.so.1");
    for result in [
        Publisher::create(&missing, &built(FLAGS)).map(drop),
        Publisher::open(&missing).map(drop),
        install(&missing, &built(FLAGS)),
    ] {
        let Err(Error::NoDirectory { path }) = result else {
            panic!("{result:?}")
        };
        assert!(path.ends_with("none"));
    }
    drop(path);
}
