//! `examples/order`, which orders events of two machines.

use std::path::Path;
use std::process::Command;

#[test]
fn the_example_orders_events_and_refuses_where_it_cannot() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/order");
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--target-dir"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("order"))
        .current_dir(example)
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{output:?}");
}
