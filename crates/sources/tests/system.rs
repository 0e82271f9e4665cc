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
