//! A publisher's main loop, and the ways in which it ends.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::serve::{End, Heartbeat, Serve, Source, Update};
use vdsokit_publish::{Condition, Error, Publisher, Vdso, assign, place};

fn published(soname: &str) -> (TempDir, PathBuf, Publisher) {
    let text = format!(
        "[vdso]\nsoname = \"{soname}\"\nversion = \"SERVE_1.0\"\n\
         [var.limit]\ntype = \"f64\"\n[var.mode]\ntype = \"u64[2]\"\n"
    );
    let declaration = Declaration::parse("test.toml", &text).unwrap();
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = fs::canonicalize(directory.path()).unwrap().join(soname);
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    (directory, path, publisher)
}

/// Counts its updates, and what was passed to it at the end.
struct Counter<'c> {
    period: Duration,
    updates: &'c mut Vec<Update>,
    ended: &'c mut Option<End>,
}

impl Source for Counter<'_> {
    type Error = Error;

    fn period(&self) -> Duration {
        self.period
    }

    fn update(&mut self, _: &Publisher) -> Result<Update, Error> {
        // The last one is not taken.
        match self.updates.as_slice() {
            [only] => Ok(*only),
            _ => Ok(self.updates.remove(0)),
        }
    }

    fn finish(&mut self, _: &Publisher, end: End) -> Result<(), Error> {
        *self.ended = Some(end);
        Ok(())
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn lines_are_assigned_to_their_end_and_wrong_ones_are_refused_by_their_number() {
    let (_directory, path, publisher) = published("libserve-lines.so.1");
    let vdso = Vdso::open(&path).unwrap();
    let (lines, mut to_lines) = UnixStream::pair().unwrap();
    let (stop, _to_stop) = UnixStream::pair().unwrap();
    // Longer than one reading.
    let mut text = "limit=1.5\nlimit=x\nnothing=1\n".to_owned();
    text.extend(std::iter::repeat_n("limit=2.5\n", 20_000));
    text.push_str("mode=3,4\nlimit=4.5 mode=1\nlimit=5.5");
    let writer = std::thread::spawn(move || to_lines.write_all(text.as_bytes()).unwrap());
    let serve = Serve {
        lines: Some(lines.as_fd()),
        stop: stop.as_fd(),
    };
    let mut refused = vec![];
    let end = serve.run(publisher, Heartbeat(HOUR), |number, _| refused.push(number));
    writer.join().unwrap();
    assert_eq!(end.unwrap(), End::EndOfInput);
    assert_eq!(refused, [2, 3, 20_005]);
    assert_eq!(vdso.get("limit").unwrap().to_string(), "5.5");
    assert_eq!(vdso.get("mode").unwrap().to_string(), "3,4");
    assert_eq!(vdso.status().condition, Condition::Stopped);
}

#[test]
fn it_stops_when_it_is_told_to() {
    let (_directory, path, publisher) = published("libserve-stop.so.1");
    let (stop, mut to_stop) = UnixStream::pair().unwrap();
    to_stop.write_all(b"x").unwrap();
    let (mut updates, mut ended) = (vec![Update::Current], None);
    let source = Counter {
        period: HOUR,
        updates: &mut updates,
        ended: &mut ended,
    };
    let serve = Serve {
        lines: None,
        stop: stop.as_fd(),
    };
    let end = serve.run(publisher, source, |_, error| panic!("{error}"));
    assert_eq!(end.unwrap(), End::Stopped);
    assert_eq!(ended, Some(End::Stopped));
    let status = Vdso::open(&path).unwrap().status();
    assert_eq!(status.condition, Condition::Stopped);
}

#[test]
fn a_source_is_updated_in_each_period_until_it_is_retired() {
    let (_directory, path, publisher) = published("libserve-source.so.1");
    let vdso = Vdso::open(&path).unwrap();
    let (stop, _to_stop) = UnixStream::pair().unwrap();
    let mut updates = vec![Update::Current, Update::AsOf(7), Update::Retired];
    let mut ended = None;
    let source = Counter {
        period: Duration::from_millis(1),
        updates: &mut updates,
        ended: &mut ended,
    };
    let serve = Serve {
        lines: None,
        stop: stop.as_fd(),
    };
    let end = serve.run(publisher, source, |_, error| panic!("{error}"));
    assert_eq!(end.unwrap(), End::Retired);
    assert_eq!(
        (updates, ended),
        (vec![Update::Retired], Some(End::Retired))
    );
    assert_eq!(vdso.status().condition, Condition::Stopped);
}

#[test]
fn it_ends_when_another_file_takes_its_place() {
    let (_directory, path, publisher) = published("libserve-displaced.so.1");
    fs::remove_file(&path).unwrap();
    let (stop, _to_stop) = UnixStream::pair().unwrap();
    let serve = Serve {
        lines: None,
        stop: stop.as_fd(),
    };
    let end = serve.run(publisher, Heartbeat(HOUR), |_, error| panic!("{error}"));
    assert_eq!(end.unwrap(), End::Displaced);
}

#[test]
fn readers_wait_for_ten_heartbeats_and_for_five_seconds_at_least() {
    let seconds = Duration::from_secs;
    for (period, patience) in [
        (Duration::ZERO, seconds(5)),
        (Duration::from_millis(500), seconds(5)),
        (Duration::from_millis(501), Duration::from_millis(5010)),
        (seconds(60), seconds(600)),
        (Duration::MAX, Duration::MAX),
    ] {
        assert_eq!(Serve::patience(period), patience, "{period:?}");
        assert_eq!(Heartbeat(period).stale_after(), patience, "{period:?}");
    }
    for (end, text) in [
        (End::Stopped, "stopped"),
        (End::EndOfInput, "end of input"),
        (End::Displaced, "another file took its place"),
        (End::Retired, "the kernel's variables were retired"),
    ] {
        assert_eq!(end.to_string(), text);
    }
}

/// The handle for other threads, while the loop has the publisher.
#[test]
fn assignments_by_another_handle_are_made_whole_or_not_at_all() {
    let (_directory, path, publisher) = published("libserve-handle.so.1");
    let vdso = Vdso::open(&path).unwrap();
    let handle = publisher.assigner();
    let assign = |line| handle.assign(&assign::parse(line).unwrap());
    assign("limit=2.5 mode=7,8").unwrap();
    let values = || ["limit", "mode"].map(|name| vdso.get(name).unwrap().to_string());
    assert_eq!(values(), ["2.5", "7,8"]);
    for line in ["limit=3.5 mode=9", "limit=3.5 gone=1"] {
        assert!(assign(line).is_err(), "{line}");
        assert_eq!(values(), ["2.5", "7,8"]);
    }
}
