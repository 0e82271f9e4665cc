//! The clock image that programs get, and a copy of it in this process.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

pub(crate) mod counter;
mod loaded;

pub(crate) use loaded::{Calls, Loaded};

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The image in a directory of this process's own.
pub(crate) fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
        fs::create_dir_all(&directory).unwrap();
        let image = directory.join("linux-vdso.so.1");
        fs::write(&image, vdsokit_virtual_time::IMAGE).unwrap();
        image
    })
}
