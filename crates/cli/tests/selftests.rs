//! Linux's own tests of its vDSO, which compare it with the system calls: under `vdso run` as
//! it is, and at another time where both are answered.
#![cfg(target_arch = "x86_64")]

mod common;

use std::path::Path;

use common::{output, skip};
use vdsokit_lab::{Workshop, selftests};

#[test]
fn linuxs_own_tests_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let programs = Workshop::new(root).and_then(|workshop| selftests::programs(&workshop));
    let programs = match programs {
        Ok(programs) => programs,
        Err(error) => return skip(&error.to_string()),
    };
    for options in [&[][..], &["--strict", "--time", "2038-06-01"]] {
        for program in &programs {
            let program = program.to_str().expect("a path of text");
            let output = output(&[&["run"], options, &["--", program]].concat());
            let said = String::from_utf8_lossy(&output.stdout);
            let is_well = output.status.success() && !said.contains("[FAIL]");
            assert!(is_well, "{program} {options:?}: {output:?}");
        }
    }
}
