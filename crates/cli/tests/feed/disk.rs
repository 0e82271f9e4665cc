//! A server whose disk is full: what was read stays, and what is written later arrives.

use crate::stores::{Store, etcd, nats};
use crate::{Machine, Running, eventually, number, put, vdso};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `note` takes much of the disk with each write.
const DECLARATION: &str = r#"
[vdso]
soname = "libflags.so.1"
version = "FLAGS_1.0"
[var.limit]
type = "u32"
[var.note]
type = "str[60000]"
"#;

/// A small disk in a mount namespace of its own, at a directory.
struct Disk {
    keeper: Running,
    directory: PathBuf,
}

impl Disk {
    /// `None` where no such namespace can be made.
    fn at(directory: &Path) -> Option<Self> {
        // etcd allocates two segments of its write-ahead log in advance, of 64 MB each.
        let script = "mount -t tmpfs -o size=160m none \"$0\" && echo ready && exec sleep infinity";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(directory)
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let disk = Self {
            keeper: Running(child),
            directory: directory.to_owned(),
        };
        if line == "ready\n" {
            return Some(disk);
        }
        vdsokit_test_support::skip("no mount namespace can be made");
        None
    }

    /// The file that fills the disk, as this namespace reaches it.
    fn filler(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.0.id());
        let directory = self.directory.strip_prefix("/").unwrap();
        Path::new(&root).join(directory).join("filler")
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        for size in [1 << 16, 1 << 12] {
            let block = vec![0; size];
            let full = loop {
                if let Err(error) = file.write_all(&block) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull);
        }
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

fn a_full_disk_loses_nothing_that_was_read(mut store: Store) {
    let Some(disk) = Disk::at(&store.data()) else {
        return;
    };
    store.enter(&disk.keeper);
    store.server().start();
    let (url, machine) = (store.url(), Machine::with_declaration(DECLARATION));
    let mut feed = machine.feed(&url, &["--create"]);
    put(&url, &["limit=1"]);
    machine.wait("limit", "1");
    disk.fill();
    // Both servers accept some writes that they have room for.
    let note = format!("note={}", "x".repeat(50_000));
    let mut value = 1;
    let refused = loop {
        value += 1;
        let assignments = [format!("limit={value}"), note.clone()];
        let mut put = vdso(&["put", &url]);
        let output = put.args(assignments).output().unwrap();
        if !output.status.success() {
            break output;
        }
    };
    assert_eq!(refused.status.code(), Some(1));
    let text = crate::errors(&refused);
    println!("after {value} writes: {text}");
    assert!(text.contains("help:"), "{text}");
    let before = number(&machine.open(), "limit");
    assert!((1..=value).contains(&before), "{before}");
    assert!(feed.is_running());

    // etcd ends, and nats-server disables JetStream, until they are started again.
    disk.empty();
    store.server().kill();
    store.server().start();
    eventually(|| {
        let value = value + 1;
        let output = vdso(&["put", &url, &format!("limit={value}")]).output();
        let output = output.unwrap();
        let now = number(&machine.open(), "limit");
        assert!(now >= before, "{now} after {before}");
        match output.status.success() {
            true => Ok(()),
            false => Err(crate::errors(&output)),
        }
    });
    machine.wait("limit", &(value + 1).to_string());
    machine.wait("feed_connected", "true");
    feed.stop();
}

#[test]
fn a_full_disk_of_nats_loses_nothing_that_was_read() {
    if let Some(store) = nats(1, "") {
        a_full_disk_loses_nothing_that_was_read(store);
    }
}

#[test]
fn a_full_disk_of_etcd_loses_nothing_that_was_read() {
    if let Some(store) = etcd(1, "http", &[]) {
        a_full_disk_loses_nothing_that_was_read(store);
    }
}
