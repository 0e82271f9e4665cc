//! Time in a clock image's page, through the publisher.
#![cfg(target_arch = "x86_64")]

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use vdsokit_clock::{
    Clock, Course, ErrorBound, Line, Moment, Rate, Record, Settings, Source, VirtualTime,
};
use vdsokit_publish::serve::{End, Serve};
use vdsokit_publish::{Error, Publisher, Vdso};
use vdsokit_sources::clock::{
    ClockPage, ClockSource, Counter, Kept, Reader, Untrusted, kernel_time, monotonic_now, view,
};
use vdsokit_virtual_time::IMAGE;

/// A place that readers and publisher share, and that the kernel may map.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn read(vdso: &Vdso, name: &str) -> Record {
    let words = vdso.latched::<[u64; Record::WORDS]>(name).unwrap().get();
    Record::from_words(&words)
}

#[test]
fn every_source_is_published_and_read_back() {
    let place = place();
    let path = place.path().join("linux-vdso.so.1");
    let publisher = Publisher::create(&path, IMAGE).unwrap();
    let mut page = ClockPage::new(&publisher).unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(read(&vdso, "realtime"), Record::SYSTEM_CALL);

    page.kernel();
    assert_eq!(read(&vdso, "monotonic").source, Source::Kernel);
    let hint = vdso.var::<u64>("monotonic_source").unwrap();
    assert_eq!(hint.get(), Source::Kernel.to_word());

    let mut time = VirtualTime::default();
    time.run(&kernel_time(), 1_000_000, Course::Rate(60, 1))
        .unwrap();
    page.virtual_time(&time);
    assert_eq!(read(&vdso, "boottime"), time.record(Clock::Boottime));

    let settings = Settings::default();
    let mut counter = Counter::new(settings).expect("this machine's counter can be used");
    counter.update(&mut page);
    let record = read(&vdso, "monotonic");
    assert_eq!(record.source, Source::Counter { monotonic: true });
    let now = record.current.base.as_nanoseconds();
    let kernel = i128::from(kernel_time().monotonic);
    assert!((now - kernel).abs() < 1_000_000_000, "{now} {kernel}");

    page.system_call();
    assert_eq!(read(&vdso, "monotonic"), Record::SYSTEM_CALL);
}

fn published(path: &std::path::Path) -> (Publisher, ClockPage, Vdso) {
    let publisher = Publisher::create(path, IMAGE).unwrap();
    let page = ClockPage::new(&publisher).unwrap();
    (publisher, page, Vdso::open(path).unwrap())
}

#[allow(unsafe_code, reason = "a counter is read by an instruction of its own")]
fn ticks() -> u64 {
    // SAFETY: it reads a register.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// A record of a counter of 1 GHz, whatever the real one's frequency.
fn line(start: u64, length: u64, base: u64) -> Record {
    Record {
        source: Source::Counter { monotonic: true },
        current: Line {
            start,
            length,
            rate: Rate::NANOSECOND,
            base: Moment::from_nanoseconds(base.into()),
        },
        former: Line::NONE,
        error: ErrorBound {
            at_start: 7,
            growth: 0,
        },
    }
}

/// The kernel's clock lies within the interval of a page that is disciplined to it, and where
/// the page has none, the interval is the kernel's.
#[test]
fn the_kernels_clock_is_within_the_bounds_of_the_page() {
    let place = place();
    let (_publisher, mut page, vdso) = published(&place.path().join("linux-vdso.so.1"));
    let reader = Reader::new(&vdso, Clock::Monotonic).unwrap();
    let bounds = || {
        let (earliest, latest) = reader.bounds(Clock::MonotonicCoarse).unwrap();
        (earliest.as_nanoseconds(), latest.as_nanoseconds())
    };
    let (earliest, latest) = bounds();
    assert_eq!(earliest, latest, "the kernel's own clock");

    let mut counter = Counter::new(Settings::default()).expect("this machine's counter");
    counter.update(&mut page);
    let before = i128::from(monotonic_now());
    let (earliest, latest) = bounds();
    let after = i128::from(monotonic_now());
    assert!(
        before <= latest && earliest <= after,
        "{before} {earliest} {latest} {after}"
    );

    // Seven nanoseconds around a time that is not the kernel's.
    page.publish(|_| Some(line(ticks(), 1 << 50, 1 << 60)));
    let (earliest, latest) = bounds();
    assert_eq!(latest - earliest, 14);
    assert!(earliest >= (1 << 60) - 7);

    // A record whose publisher knows no bound.
    let mut unknown = line(ticks(), 1 << 50, 1 << 60);
    unknown.error.at_start = ErrorBound::UNKNOWN;
    page.publish(|_| Some(unknown));
    assert!(bounds().1 < 1 << 60, "the kernel's own clock");
}

/// A publisher that sleeps with its machine, or is stopped, and a counter that jumps: what
/// readers then say is the kernel's time, and not before what they have said.
#[test]
fn a_reader_asks_the_kernel_where_the_record_has_no_answer() {
    let place = place();
    let (_publisher, mut page, vdso) = published(&place.path().join("linux-vdso.so.1"));
    let reader = Reader::new(&vdso, Clock::Monotonic).unwrap();
    let is_kernels = || {
        let before = monotonic_now();
        let seen = reader.nanoseconds();
        before <= seen && seen <= monotonic_now()
    };
    assert!(is_kernels(), "a page that was never published");

    // An hour ahead of the kernel, so that one can't be taken for the other.
    let ahead = monotonic_now() + 3_600_000_000_000;
    page.publish(|_| Some(line(ticks(), 1 << 50, ahead)));
    assert_eq!(reader.error(), Some(7));
    let first = reader.nanoseconds();
    let second = reader.nanoseconds_unordered().max(reader.nanoseconds());
    assert!(ahead <= first && first <= second);
    assert_eq!(view(&vdso).unwrap()[1].error, Some(7));

    // Past its end. The end of the promise is the answer for as long again as the line lasted, so
    // a line that is as old as the machine's half uptime outlasts any pause of this test.
    let half = ticks() / 2;
    page.publish(|_| Some(line(ticks() - half - 1, half, ahead)));
    assert_eq!(reader.nanoseconds(), ahead + half);
    assert_eq!(reader.nanoseconds_unordered(), ahead + half);
    assert_eq!(reader.error(), None);
    assert!(!view(&vdso).unwrap()[1].answers);

    // Before its start: the counter was reset.
    page.publish(|_| Some(line(ticks() + (1 << 50), 1 << 40, ahead)));
    assert!(is_kernels(), "the page of an earlier boot");

    // The kernel has come further than what was promised.
    page.publish(|_| Some(line(ticks() - 1000, 500, 5)));
    assert!(is_kernels());
    page.publish(|_| Some(Record::fixed(Moment::from_seconds(5))));
    assert!(is_kernels(), "a source that is not the counter");
    page.kernel();
    assert!(is_kernels());
}

/// A page of a hypervisor's, as `/dev/vmclock0` (include/uapi/linux/vmclock-abi.h): magic, size,
/// version, counter (TSC), time (UTC), sequence number and marker.
fn vmclock(path: &std::path::Path) -> std::fs::File {
    let mut page = vec![0u8; 4096];
    page[0..4].copy_from_slice(b"VCLK");
    page[4..8].copy_from_slice(&4096u32.to_le_bytes());
    page[8..12].copy_from_slice(&[1, 0, 1, 0]);
    page[16..24].copy_from_slice(&7u64.to_le_bytes());
    std::fs::write(path, &page).unwrap();
    std::fs::File::options().write(true).open(path).unwrap()
}

/// After a live migration readers went on with the rate and the bound of the old host's counter.
#[test]
fn a_changed_disruption_marker_ends_every_record_until_the_counter_was_measured_anew() {
    let place = place();
    let (_publisher, mut page, vdso) = published(&place.path().join("linux-vdso.so.1"));
    let path = place.path().join("vmclock0");
    let hypervisor = vmclock(&path);
    let reader = Reader::new(&vdso, Clock::Monotonic).unwrap();
    let mut counter = Counter::with_vmclock(Settings::default(), &path).expect("a counter");
    let answers = || {
        let view = view(&vdso).unwrap();
        let is_counter = |source| matches!(source, Source::Counter { .. });
        view.iter()
            .filter(|one| is_counter(one.source) && one.answers)
            .count()
    };
    let is_kernels = || {
        let before = monotonic_now();
        let seen = reader.nanoseconds();
        before <= seen && reader.error().is_none()
    };
    counter.update(&mut page);
    let all = answers();
    assert!(all >= 5 && reader.error().is_some(), "{all}");
    let latest = |seen: u64| {
        let now = reader.nanoseconds();
        assert!(now >= seen, "back by {}", seen - now);
        now
    };
    let mut seen = latest(0);

    // What the hypervisor has begun to say is not known before it has ended.
    for (at, bytes) in [
        (12, 1u64.to_le_bytes()[..4].to_vec()),
        (16, 8u64.to_le_bytes().to_vec()),
        (12, 2u64.to_le_bytes()[..4].to_vec()),
    ] {
        hypervisor.write_all_at(&bytes, at).unwrap();
        counter.update(&mut page);
        assert_eq!(answers(), 0, "after byte {at}");
        assert!(is_kernels());
        seen = latest(seen);
    }
    // A tenth of a second of samples, by the kernel's clock.
    let start = monotonic_now();
    // A line lasts 20 ms, which a thread that is not scheduled may miss.
    while answers() < all || reader.error().is_none() {
        seen = latest(seen);
        counter.update(&mut page);
    }
    assert!(monotonic_now() - start >= 100_000_000);
    assert!(latest(seen) >= seen);
    assert!(!counter.discipline().is_disrupted());
}

#[test]
fn a_page_that_is_no_vmclock_is_refused_and_none_is_no_error() {
    let place = place();
    let path = place.path().join("vmclock0");
    let open = || Counter::with_vmclock(Settings::default(), &path);
    assert!(open().is_ok(), "no such file");
    for (at, byte) in [(0, b'X'), (4, 31), (8, 2)] {
        let file = vmclock(&path);
        file.write_all_at(&[byte, 0], at).unwrap();
        let error = open().unwrap_err();
        assert!(matches!(error, Untrusted::VmClock { .. }), "{error}");
        assert!(error.to_string().contains("vmclock0"), "{error}");
    }
}

/// Readers were told what the kernel's clock has yet to come to.
#[test]
fn a_change_to_the_kernel_waits_for_what_was_promised() {
    let place = place();
    let (_publisher, mut page, vdso) = published(&place.path().join("linux-vdso.so.1"));
    let reader = Reader::new(&vdso, Clock::Monotonic).unwrap();
    let ahead = monotonic_now() + 5_000_000;
    page.publish(|clock| {
        let published = clock == Clock::Monotonic;
        published.then(|| line(ticks(), 10_000_000, ahead))
    });
    let seen = reader.nanoseconds();
    page.kernel();
    assert_eq!(reader.record().source, Source::Kernel);
    assert!(reader.nanoseconds() >= seen);
    assert!(monotonic_now() >= ahead + 10_000_000);
}

#[test]
fn a_clock_is_served_until_it_is_told_to_stop() {
    let place = place();
    let path = place.path().join("linux-vdso.so.1");
    for source in [Source::Kernel, Source::SystemCall] {
        let kept = match source {
            Source::Kernel => Kept::Kernel,
            _ => Kept::SystemCall,
        };
        let (publisher, page, vdso) = published(&path);
        drop(page);
        let (stop, stopped) = UnixStream::pair().unwrap();
        let end = std::thread::scope(|scope| {
            let served = scope.spawn(|| {
                let source = ClockSource::new(&publisher, kept, |_| {}).unwrap();
                let serve = Serve {
                    lines: None,
                    stop: stopped.as_fd(),
                };
                serve.run(publisher, source, |_, _| {})
            });
            while read(&vdso, "boottime").source != source {
                std::thread::yield_now();
            }
            drop(stop);
            served.join().unwrap()
        });
        assert_eq!(end.unwrap(), End::Stopped);
        assert_eq!(read(&vdso, "tai").source, source);
    }
}

#[test]
fn a_reader_is_for_clocks_that_never_run_backwards() {
    let place = place();
    let (_publisher, _page, vdso) = published(&place.path().join("linux-vdso.so.1"));
    let refused = Reader::new(&vdso, Clock::Realtime);
    assert!(matches!(refused, Err(Error::Unknown { .. })));
}
