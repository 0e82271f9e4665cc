//! Publisher and readers of one file, in one process.

use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::place::{self, Unfit};
use vdsokit_publish::{Condition, Error, Publisher, Vdso, assign};

const WEATHER: &str = r#"
[vdso]
soname = "libweather.so.1"
version = "WEATHER_1.0"

[var.temperature]
type = "f64"
unit = "degC"
init = 1.5

[var.gusts]
type = "u16[3]"

[var.station]
type = "str[16]"

[var.wind]
[var.wind.fields.speed]
type = "f64"
[var.wind.fields.from]
type = "u16"
"#;

fn built(text: &str) -> Vec<u8> {
    let declaration = Declaration::parse("test.toml", text).unwrap();
    image(&declaration, Architecture::host().unwrap()).unwrap()
}

/// A directory of our own, and a vDSO's path in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = fs::canonicalize(directory.path())
        .unwrap()
        .join("libweather.so.1");
    (directory, path)
}

fn assign(publisher: &Publisher, line: &str) -> Result<(), Error> {
    publisher.assign(&assign::parse(line).unwrap())
}

fn get(vdso: &Vdso, name: &str) -> String {
    vdso.get(name).unwrap().to_string()
}

#[test]
fn a_life() {
    let (_directory, path) = place();
    fs::write(&path, built(WEATHER)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.status().condition, Condition::NeverPublished);
    assert_eq!(vdso.status().publisher, None);
    let temperature = vdso.var::<f64>("temperature").unwrap();
    assert_eq!(temperature.get(), 1.5);

    let publisher = Publisher::open(&path).unwrap();
    assert_eq!(vdso.status().condition, Condition::Live);
    assert_eq!(vdso.status().publisher, Some(std::process::id().into()));
    let writer = publisher.var::<f64>("temperature").unwrap();
    writer.set(21.5);
    assert_eq!(temperature.get(), 21.5);
    publisher
        .latched::<[u16; 3]>("gusts")
        .unwrap()
        .set([1, 2, 3]);
    assert_eq!(vdso.latched::<[u16; 3]>("gusts").unwrap().get(), [1, 2, 3]);
    assign(
        &publisher,
        "wind.from=270 station=\"north west\" wind.speed=3.5",
    )
    .unwrap();
    assert_eq!(get(&vdso, "wind"), "speed=3.5 from=270");
    assert_eq!(get(&vdso, "station"), "\"north west\"");

    drop(publisher);
    assert_eq!(vdso.status().condition, Condition::Live, "a handle is left");
    drop(writer);
    assert_eq!(vdso.status().condition, Condition::Stopped);
    assert_eq!(temperature.get(), 21.5);
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_status_names_the_publisher_and_the_age_of_its_heartbeat() {
    use std::time::Duration;
    use vdsokit_publish::Status;
    let status = |publisher, age| Status {
        condition: Condition::Live,
        publisher,
        age,
        stale_after: None,
    };
    let condition = Condition::Live.to_string();
    for (status, rest) in [
        (status(None, None), ""),
        (status(Some(7), None), ", publisher 7"),
        (
            status(Some(7), Some(Duration::from_millis(1250))),
            ", publisher 7, last heartbeat 1.2 s ago",
        ),
    ] {
        assert_eq!(status.to_string(), format!("{condition}{rest}"));
    }
}

#[test]
fn one_scalar_is_assigned_text_and_a_part_of_a_latch_is_read() {
    let (_directory, path) = place();
    let publisher = Publisher::create(&path, &built(WEATHER)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    let temperature = publisher.scalar("temperature").unwrap();
    temperature.assign("-3.5").unwrap();
    assert_eq!(get(&vdso, "temperature"), "-3.5");
    let refused = temperature.assign("cold");
    assert!(matches!(refused, Err(Error::Value { .. })), "{refused:?}");
    assert_eq!(get(&vdso, "temperature"), "-3.5");
    for name in ["gusts", "wind"] {
        let refused = publisher.scalar(name).unwrap_err();
        assert!(matches!(refused, Error::Mismatch { .. }), "{refused}");
    }

    assign(&publisher, "gusts=1,2,3").unwrap();
    let gusts = vdso.latched::<[u16; 3]>("gusts").unwrap();
    let word = gusts.try_read_some(|copy| Some(copy.word(0).to_ne_bytes()));
    let expected = [1_u16, 2, 3].map(u16::to_ne_bytes).concat();
    assert_eq!(word.map(|bytes| bytes[..6].to_vec()), Some(expected));
    assert_eq!(gusts.try_read_some(|_| None::<u64>), None);
}

#[test]
fn a_second_publisher_is_told_who_the_first_is() {
    let (_directory, path) = place();
    let image = built(WEATHER);
    let first = Publisher::create(&path, &image).unwrap();
    for second in [Publisher::open(&path), Publisher::create(&path, &image)] {
        let Err(Error::Busy { pid, name, .. }) = second else {
            panic!("{second:?}")
        };
        assert_eq!(pid, Some(std::process::id()));
        assert!(name.is_some());
    }
    drop(first);
    Publisher::open(&path).unwrap();
}

#[test]
fn another_layout_takes_the_place_of_the_old_one_and_keeps_shared_values() {
    let (_directory, path) = place();
    let (old, new) = (
        built(WEATHER),
        built(&format!(
            "{WEATHER}\n[var.humidity]\ntype = \"f32\"\ninit = 0.5\n"
        )),
    );
    let set = "temperature=-3 wind.speed=9 wind.from=90 gusts=7,8,9 station=Brocken";
    let publisher = Publisher::create(&path, &old).unwrap();
    assign(&publisher, set).unwrap();
    let before = Vdso::open(&path).unwrap();
    drop(publisher);

    let publisher = Publisher::create(&path, &new).unwrap();
    assert!(before.is_replaced());
    assert_eq!(before.status().condition, Condition::Replaced);
    assert_eq!(get(&before, "temperature"), "-3");
    let after = Vdso::open(&path).unwrap();
    assert!(!after.is_replaced());
    assert_eq!(get(&after, "temperature"), "-3");
    assert_eq!(get(&after, "wind"), "speed=9 from=90");
    assert_eq!(get(&after, "gusts"), "7,8,9");
    assert_eq!(get(&after, "station"), "\"Brocken\"");
    assert_eq!(get(&after, "humidity"), "0.5");
    assign(&publisher, "temperature=4").unwrap();
    assert_eq!(get(&before, "temperature"), "-3");
    drop(publisher);

    // And back: a program of the new age, a publisher of the old one.
    let publisher = Publisher::create(&path, &old).unwrap();
    let back = Vdso::open(&path).unwrap();
    assert_eq!(get(&back, "temperature"), "4");
    assert!(matches!(
        back.var::<f32>("humidity"),
        Err(Error::Unknown { .. })
    ));
    drop(publisher);
    assert_eq!(after.status().condition, Condition::Replaced);
}

#[test]
fn the_same_image_is_resumed_in_the_same_file() {
    let (_directory, path) = place();
    let image = built(WEATHER);
    let publisher = Publisher::create(&path, &image).unwrap();
    assign(&publisher, "temperature=7 gusts=1,1,1").unwrap();
    let vdso = Vdso::open(&path).unwrap();
    drop(publisher);
    let publisher = Publisher::create(&path, &image).unwrap();
    assert!(!vdso.is_replaced());
    assert!(!publisher.is_displaced());
    assert_eq!(vdso.status().condition, Condition::Live);
    assert_eq!(get(&vdso, "temperature"), "7");
    assert_eq!(get(&vdso, "gusts"), "1,1,1");
    fs::remove_file(&path).unwrap();
    assert!(publisher.is_displaced());
    assert!(vdso.is_replaced());
}

#[test]
fn nothing_of_a_wrong_line_is_written() {
    let (_directory, path) = place();
    let publisher = Publisher::create(&path, &built(WEATHER)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    for (line, expected) in [
        (
            "temperature=9 humidity=1",
            "no variable is called `humidity`",
        ),
        ("temperature=9 wind.gust=1", "it has no such field"),
        ("temperature=9 wind=1", "it is a record"),
        ("temperature=9 temperature.x=1", "it has no fields"),
        ("temperature=9 wind.from=65536", "too large"),
        ("temperature=9 gusts=1,2", "2 elements, not 3"),
        ("temperature=9 station=0123456789abcdef", "room for 15"),
        ("temperature=9 wind.speed=fast", "invalid float"),
    ] {
        let error = assign(&publisher, line).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
        assert_eq!(get(&vdso, "temperature"), "1.5", "{line}");
    }
    let writer = publisher.latched::<[u16; 3]>("gusts").unwrap();
    assert!(matches!(
        assign(&publisher, "gusts=1,2,3"),
        Err(Error::Taken { .. })
    ));
    assert!(matches!(
        publisher.latched::<[u16; 3]>("gusts"),
        Err(Error::Taken { .. })
    ));
    drop(writer);
    assign(&publisher, "gusts=1,2,3").unwrap();
}

#[test]
fn a_wrong_type_is_told_from_the_right_one() {
    let (_directory, path) = place();
    fs::write(&path, built(WEATHER)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    let error = vdso.var::<f32>("temperature").unwrap_err().to_string();
    assert!(error.ends_with("`temperature` is f64, not f32"), "{error}");
    let error = vdso.latched::<[f64; 2]>("wind").unwrap_err().to_string();
    assert!(
        error.ends_with("`wind` is { speed: f64, from: u16 }, not f64[2]"),
        "{error}"
    );
    let error = vdso.var::<f64>("humidity").unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }));
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let (_directory, path) = place();
    let image = built(WEATHER);
    let refused = |what: &str, bytes: &[u8]| -> Error {
        fs::write(&path, bytes).unwrap();
        let published = Publisher::open(&path).map(drop).unwrap_err();
        let read = Vdso::open(&path).map(drop).unwrap_err();
        assert_eq!(published.to_string(), read.to_string(), "{what}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: left alone");
        read
    };
    assert!(matches!(refused("empty", b""), Error::Foreign { .. }));
    assert!(matches!(
        refused("text", b"#!/bin/sh\n"),
        Error::Foreign { .. }
    ));
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(matches!(
        refused("a program", &program),
        Error::Foreign { .. }
    ));
    assert!(matches!(
        refused("cut short", &image[..image.len() - 1]),
        Error::Truncated { .. }
    ));
    let pages = image.len() - 4096;
    let mut other = image.clone();
    other[pages] ^= 1;
    assert!(matches!(refused("no magic", &other), Error::Pages { .. }));
    let mut other = image.clone();
    other[pages + 16] ^= 1;
    assert!(matches!(
        refused("another layout", &other),
        Error::Torn { .. }
    ));

    fs::write(&path, b"precious").unwrap();
    assert!(Publisher::create(&path, &image).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert!(matches!(
        Publisher::create(&path, b"no image"),
        Err(Error::Foreign { .. })
    ));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Publisher::open(&path), Err(Error::Missing { .. })));
    assert!(matches!(Vdso::open(&path), Err(Error::Missing { .. })));
    assert!(matches!(
        Vdso::open(path.parent().unwrap()),
        Err(Error::Foreign { .. })
    ));
    assert!(matches!(
        Vdso::open("/dev/null"),
        Err(Error::Foreign { .. })
    ));
}

#[test]
fn where_others_could_put_another_file_nothing_is_published() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, path) = place();
    let image = built(WEATHER);
    for mode in [0o777, 0o775, 0o1777] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        let Err(Error::Unfit { reason, help, .. }) = Publisher::create(&path, &image) else {
            panic!("{mode:o}")
        };
        assert!(matches!(reason, Unfit::Writable { .. }), "{reason}");
        assert!(help.contains("chmod go-w"), "{help}");
    }
    // Below a sticky directory, as below /tmp, a directory of one's own is safe.
    let own = directory.path().join("own");
    fs::create_dir(&own).unwrap();
    Publisher::create(own.join("libweather.so.1"), &image).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Publisher::create(own.join("libweather.so.1"), &image).is_err());
}

#[test]
fn a_file_that_others_could_write_is_made_safe() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = place();
    fs::write(&path, built(WEATHER)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let _publisher = Publisher::open(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn a_replaced_file_is_readable_for_the_same_users() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let (_directory, path) = place();
    drop(Publisher::create(&path, &built(WEATHER)).unwrap());
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(&path, None, Some(65533)).unwrap();
    }
    let group = fs::metadata(&path).unwrap().gid();
    let mut text = WEATHER.to_owned();
    for (number, (mode, expected)) in [(0o600, 0o600), (0o660, 0o640), (0o755, 0o755)]
        .into_iter()
        .enumerate()
    {
        for installs in [false, true] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let before = fs::metadata(&path).unwrap().ino();
            text += &format!("\n[var.more_{number}_{installs}]\ntype = \"u32\"\n");
            match installs {
                false => drop(Publisher::create(&path, &built(&text)).unwrap()),
                true => vdsokit_publish::install(&path, &built(&text)).unwrap(),
            }
            let meta = fs::metadata(&path).unwrap();
            assert_ne!(meta.ino(), before, "another file");
            assert_eq!(
                meta.mode() & 0o777,
                expected,
                "{mode:o}, installed: {installs}"
            );
            assert_eq!(meta.gid(), group);
        }
    }
}

#[test]
fn a_place_that_works_is_proposed() {
    let proposed = place::propose().expect("this machine has one");
    assert!(proposed.is_absolute());
}

#[test]
fn silence_is_staleness() {
    let (_directory, path) = place();
    let publisher = Publisher::create(&path, &built(WEATHER)).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    publisher.stale_after(std::time::Duration::from_nanos(1));
    while vdso.status().condition == Condition::Live {
        std::hint::spin_loop();
    }
    assert_eq!(vdso.status().condition, Condition::Stale);
    publisher.stale_after(std::time::Duration::from_secs(3600));
    assert_eq!(vdso.status().condition, Condition::Live);
    publisher.beat();
    publisher.retire();
    assert_eq!(vdso.status().condition, Condition::Stopped);
}
