//! Runs a program on the vDSO in an image file: `run [--alone] [--report] IMAGE PROGRAM [ARG…]`.
//!
//! The vvar pages are those of the image file itself, which a publisher may keep up to date.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use vdsokit_deliver::{Delivery, Event, Object};

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut take = |flag: &str| {
        let is_there = arguments.first().is_some_and(|first| first == flag);
        is_there.then(|| arguments.remove(0)).is_some()
    };
    let (alone, report) = (take("--alone"), take("--report"));
    let [image, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("run [--alone] [--report] IMAGE PROGRAM [ARG...]");
        return ExitCode::from(125);
    };
    let object = match Object::open(&PathBuf::from(image)) {
        Ok(object) => object,
        Err(error) => return fail(error),
    };
    let say = |event: Event| {
        if report {
            eprintln!("{event:?}");
        }
    };
    fail(
        Delivery::new(object)
            .follow(!alone)
            .exec(program, rest, say),
    )
}

fn fail(error: vdsokit_deliver::Error) -> ExitCode {
    eprintln!(
        "run: {error}: {:?}",
        std::error::Error::source(&error).map(ToString::to_string)
    );
    ExitCode::from(error.exit_status())
}
