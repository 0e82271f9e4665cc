//! Tests that only make sense inside a guest. The table of checks names them.

/// The plainest of all: if this runs, the whole way from a row to a Rust test in
/// a guest works.
#[test]
#[ignore = "runs in the lab: cargo xtask vm rust-test"]
fn process_1_is_the_labs() {
    let name = std::fs::read_to_string("/proc/1/comm").unwrap();
    // The kernel calls its first program `init`, by its path.
    assert_eq!(name.trim(), "init");
    assert!(std::path::Path::new(vdsokit_lab::plan::PLAN).exists());
    assert!(rustix::process::geteuid().is_root());
}
