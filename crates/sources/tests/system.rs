//! The built-in declaration `system` and its source.

use std::time::Duration;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::{Publisher, Vdso, place};
use vdsokit_sources::system;

#[test]
fn the_built_in_declaration_is_what_its_source_writes() {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libsystem.so.1");
    let declaration = Declaration::parse("system.toml", system::DECLARATION).unwrap();
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    let mut source = system::System::new(&publisher, Duration::from_secs(1)).unwrap();
    source.sample().unwrap();
    source.sample().unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.var::<u64>("samples").unwrap().get(), 2);
    assert!(vdso.var::<u32>("processes").unwrap().get() > 0);
    assert!(vdso.var::<u32>("threads").unwrap().get() > 0);
    assert!(vdso.var::<u64>("memory_total").unwrap().get() > 1 << 20);
    assert!(vdso.var::<f64>("uptime").unwrap().get() > 0.0);
    assert!(vdso.var::<u64>("forks").unwrap().get() > 0);
}

/// A container's /proc, as lxcfs makes it: lines and files are missing.
#[test]
fn what_a_proc_lacks_is_named_and_the_rest_goes_on() {
    let proc = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(proc.path().join(name), text).unwrap();
    std::fs::create_dir(proc.path().join("7")).unwrap();
    write("stat", "cpu  1 2 3 4\nprocesses 42\nprocs_running 1\n");
    write("loadavg", "0.50 0.25 0.00 1/77 4242\n");
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libsystem.so.1");
    let declaration = Declaration::parse("system.toml", system::DECLARATION).unwrap();
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    let source = system::System::new(&publisher, Duration::from_secs(1)).unwrap();
    let mut source = source.reading(proc.path());
    source.sample().unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.var::<u64>("forks").unwrap().get(), 42);
    assert_eq!(vdso.var::<u32>("threads").unwrap().get(), 77);
    assert_eq!(vdso.var::<u32>("processes").unwrap().get(), 1);
    assert_eq!(
        source.missing(),
        [
            "blocked",
            "context_switches",
            "memory_total",
            "memory_free",
            "memory_available",
            "free_pages",
            "uptime"
        ]
    );
    let missing = vdso.latched::<vdsokit_vvar::value::Text<200>>("missing");
    assert_eq!(missing.unwrap().get().as_str(), source.missing().join(" "));
    // All names together have room.
    let names: usize = publisher
        .directory()
        .iter()
        .map(|entry| entry.name.len() + 1)
        .sum();
    assert!(names <= 200, "{names}");
}
