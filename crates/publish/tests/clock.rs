//! Time in a clock image's page, through the publisher.
#![cfg(target_arch = "x86_64")]

use vdsokit_clock::{Clock, Course, Record, Settings, Source, VirtualTime};
use vdsokit_publish::clock::{ClockPage, Counter, kernel_time};
use vdsokit_publish::{Publisher, Vdso};
use vdsokit_time::IMAGE;

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

    let mut time = VirtualTime::new();
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
