//! The time of a tree as other processes find it, change it and serve it.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code, reason = "a handler of signals")]

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use miette::Diagnostic;
use vdsokit_clock::{Clock, Course, Moment};
use vdsokit_virtual_time::{Change, Clocks, Error, Name, Time, list};
use vdsokit_waits::{Clocks as Tree, WallTime};

const SECOND: i128 = 1_000_000_000;
/// 2000-01-01.
const START: Moment = Moment::from_seconds(946_684_800);

/// A name that no other test has.
fn name(of: &str) -> Name {
    format!("test-{of}-{}", std::process::id()).parse().unwrap()
}

fn help(error: &Error) -> String {
    error.help().expect("a help").to_string()
}

#[test]
fn a_name_has_1_to_64_letters_digits_dots_dashes_and_underscores() {
    let long = "n".repeat(64);
    for text in ["a", "A-1_b.c", "0", "lists", &long] {
        assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
    }
    let longer = "n".repeat(65);
    for (text, why) in [
        ("", "it is empty"),
        ("list", "`vdso clock list` lists all names"),
        (longer.as_str(), "it is too long"),
        ("a b", "it has other characters"),
        ("a/b", "it has other characters"),
        ("é", "it has other characters"),
    ] {
        let error = text.parse::<Name>().unwrap_err();
        let expected = format!("{text:?} is not a name: {why}");
        assert_eq!(error.to_string(), expected);
        assert!(help(&error).contains("1 to 64 letters"), "{error}");
    }
}

#[test]
fn a_tree_is_found_by_its_name_while_a_process_has_the_pages_that_are_delivered() {
    let (this, other) = (name("found"), name("other"));
    let is_unknown = |name: &Name| matches!(Time::find(name), Err(Error::Unknown { .. }));
    let listed = || {
        let named = list().unwrap().into_iter();
        let mut named = named.filter(|named| named.name == this || named.name == other);
        named
            .all(|named| named.tracer == std::process::id())
            .then(|| {
                let named = list().unwrap().into_iter().map(|named| named.name);
                named
                    .filter(|name| *name == this || *name == other)
                    .collect::<Vec<_>>()
            })
    };
    assert!(is_unknown(&this));
    let first = Time::create(Some(&this), &[Change::Set(START), Change::Freeze]).unwrap();
    // Its publisher alone does not make a tree.
    assert!(is_unknown(&this));
    assert_eq!(listed(), Some(vec![]));
    let delivered = first.vvar().unwrap();
    let again = first.vvar().unwrap();
    let mut found = Time::find(&this).unwrap();
    assert_eq!(found.read().unwrap().at(Clock::Realtime), START);
    assert_eq!(listed(), Some(vec![this.clone()]));

    // The name is taken, and no other one is.
    let second = Time::create(Some(&other), &[]).unwrap();
    let taken = Time::create(Some(&this), &[]).unwrap_err();
    let Error::Taken { name, holder } = taken else {
        panic!("{taken}");
    };
    assert_eq!((name, holder), (this.to_string(), std::process::id()));
    assert!(is_unknown(&other));
    let others = second.vvar().unwrap();
    assert_eq!(listed(), Some(vec![this.clone(), other.clone()]));

    drop(delivered);
    assert!(!is_unknown(&this));
    drop((again, others));
    assert!(is_unknown(&this));
}

#[test]
fn pages_of_another_version_are_told_from_a_tree_that_has_ended() {
    let name = name("version");
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create(format!("vdso-clock:{name}"), flags).unwrap();
    // Those of an earlier version are shorter.
    rustix::fs::ftruncate(&file, 4096).unwrap();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let delivered = std::fs::File::open(path).unwrap();
    assert!(matches!(Time::find(&name), Err(Error::Version { .. })));
    drop(delivered);
    assert!(matches!(Time::find(&name), Err(Error::Unknown { .. })));
}

#[test]
fn a_change_of_course_has_happened_when_it_returns() {
    let mut time = Time::create(None, &[]).unwrap();
    let reader = time.reader().unwrap();
    let in_time = |done: Result<bool, Error>| done.expect("a course");
    // A machine under load may delay one of them.
    let mut courses = [Change::Rate(1, 3), Change::Rate(2, 1)].into_iter().cycle();
    assert!((0..50).any(|_| in_time(time.change(|_| Ok(courses.next().expect("a cycle"))))));
    time.change(|_| Ok(Change::Rate(1, 3))).unwrap();
    time.change(|_| Ok(Change::Freeze)).unwrap();
    for clock in [Clock::Realtime, Clock::Monotonic, Clock::Boottime] {
        let stands = reader.read(clock).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_millis(1);
        while std::time::Instant::now() < until {
            assert_eq!(reader.read(clock), Some(stands), "{clock:?}");
        }
    }
    // The rate from before the freeze is kept with the pages.
    time.change(|_| Ok(Change::Resume)).unwrap();
    assert_eq!(time.read().unwrap().course(), Course::Rate(1, 3));
    // A date is set at once, also when a course was set before.
    assert!(time.change(|_| Ok(Change::Set(START))).unwrap());
}

#[test]
fn a_course_that_time_has_already_is_refused() {
    let refused = |before: &[Change], change| {
        let mut time = Time::create(None, before).unwrap();
        let changed = time.change(|_| Ok(change));
        let created = Time::create(None, &[before, &[change]].concat());
        let why = |error: &Error| match error {
            Error::Already(why) => Some(*why),
            _ => None,
        };
        let changed = changed.as_ref().err().and_then(why);
        (changed, created.as_ref().err().and_then(why))
    };
    let still = Some("time stands still already");
    assert_eq!(refused(&[Change::Freeze], Change::Freeze), (still, still));
    let runs = Some("time does not stand still");
    assert_eq!(refused(&[], Change::Resume), (runs, runs));
    assert_eq!(refused(&[Change::Rate(2, 1)], Change::Resume), (runs, runs));
    for change in [Change::Freeze, Change::Rate(2, 1), Change::EachRead(3)] {
        let (changed, created) = refused(&[Change::EachRead(5)], change);
        assert!(
            changed.is_some_and(|why| why.contains("at each read")),
            "{change:?}"
        );
        assert_eq!(changed, created);
    }
    // Only new pages can.
    let (changed, created) = refused(&[], Change::EachRead(5));
    assert_eq!(changed, Some("time does not advance at each read"));
    assert_eq!(created, None);
    for step in [Change::Step(SECOND), Change::Set(START)] {
        assert_eq!(refused(&[Change::EachRead(5)], step), (None, None));
        assert_eq!(refused(&[Change::Freeze], step), (None, None));
    }
}

/// What other processes note beside the pages, and what of it they see.
#[test]
fn notes_are_seen_by_all_that_have_the_pages_and_change_no_clock() {
    let name = name("notes");
    let frozen = [Change::Set(START), Change::Freeze];
    let mut time = Time::create_for(Some(&name), Clocks::All, &frozen).unwrap();
    let delivered = time.vvar().unwrap();
    let other = Time::find(&name).unwrap();
    let all = |time: &mut Time| Clock::ALL.map(|clock| time.read().unwrap().at(clock));
    let before = all(&mut time);

    assert!(!time.is_held() && !time.skips_idle());
    other.hold();
    assert!(time.is_held() && !time.skips_idle());
    assert!(Tree::is_held(&time));
    other.set_skips_idle();
    assert!(time.skips_idle());
    time.release();
    assert!(!other.is_held() && other.skips_idle());
    assert!(!Tree::is_held(&time));

    let [one, another] = [&time, &other].map(|time| time.reports().unwrap());
    assert!(one.list().is_empty());
    let texts: Vec<String> = (10..24)
        .map(|number| number.to_string().repeat(124))
        .collect();
    for text in &texts {
        another.add(text);
    }
    another.add("no room for it");
    assert_eq!(one.list(), texts);
    assert_eq!(all(&mut time), before);
    assert!(time.skips_idle() && !time.is_held());
    drop(delivered);
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_server_gets_a_signal_after_each_change() {
    // SAFETY: the handler only adds to an atomic number.
    unsafe { libc::signal(libc::SIGURG, count as *const () as libc::sighandler_t) };
    let mut time = Time::create(None, &[]).unwrap();
    time.change(|_| Ok(Change::Step(1))).unwrap();
    assert_eq!(SIGNALS.load(Ordering::SeqCst), 0);
    time.serve();
    time.change(|_| Ok(Change::Step(1))).unwrap();
    // Another thread of the test may get it.
    while SIGNALS.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_supervisor_moves_all_clocks_and_sets_the_wall_clocks() {
    let frozen = [Change::Set(START), Change::Freeze];
    let mut time = Time::create(None, &frozen).unwrap();
    let all =
        |time: &mut Time| Clock::ALL.map(|clock| time.read().unwrap().at(clock).as_nanoseconds());
    let before = all(&mut time);
    time.advance(5_000_000_007).unwrap();
    assert_eq!(all(&mut time), before.map(|at| at + 5_000_000_007));

    time.set_wall(WallTime::At(7 * SECOND)).unwrap();
    let wall = |time: &mut Time| time.read().unwrap().at(Clock::Realtime).as_nanoseconds();
    assert_eq!(wall(&mut time), 7 * SECOND);
    time.set_wall(WallTime::MovedBy(-9 * SECOND)).unwrap();
    assert_eq!(wall(&mut time), -2 * SECOND);
    let (_, adjustment) = time.adjustment().unwrap();
    assert_eq!(adjustment.time.tv_sec, -2);
    let monotonic = time.read().unwrap().at(Clock::Monotonic).as_nanoseconds();
    assert_eq!(monotonic, before[1] + 5_000_000_007);

    let mut others = Time::create_for(None, Clocks::Monotonic, &[]).unwrap();
    assert!(others.set_wall(WallTime::At(0)).is_err());

    // The one descriptor is that of the pages, which a supervisor must not close.
    let descriptors = time.descriptors();
    let [pages] = descriptors.as_slice() else {
        panic!("{descriptors:?}");
    };
    let inode = |file: &std::fs::File| {
        use std::os::unix::fs::MetadataExt;
        file.metadata().unwrap().ino()
    };
    let pages = std::fs::File::from(pages.try_clone_to_owned().unwrap());
    let delivered = std::fs::File::from(time.vvar().unwrap());
    assert_eq!(inode(&pages), inode(&delivered));
}
