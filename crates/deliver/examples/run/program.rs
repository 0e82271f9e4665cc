//! The options, and what is done for them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vdsokit_deliver::{Delivery, Error, Event, Object, Timestamp};

pub(crate) fn main() -> ExitCode {
    let mut arguments: VecDeque<OsString> = std::env::args_os().skip(1).collect();
    let (alone, report) = (
        take(&mut arguments, "--alone"),
        take(&mut arguments, "--report"),
    );
    let strict = take(&mut arguments, "--strict");
    let vvar = take(&mut arguments, "--vvar")
        .then(|| arguments.pop_front())
        .flatten();
    let with = take(&mut arguments, "--with")
        .then(|| arguments.pop_front())
        .flatten();
    let (Some(image), Some(program)) = (arguments.pop_front(), arguments.pop_front()) else {
        eprintln!("run [OPTION...] IMAGE PROGRAM [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let error = match object(
        Path::new(&image),
        vvar.map(PathBuf::from),
        with.map(PathBuf::from),
    ) {
        Ok(object) => {
            let mut delivery = Delivery::new(object).follow(!alone);
            if strict {
                delivery = delivery.strict(&[libc::CLOCK_REALTIME], |_| {
                    Some(Timestamp {
                        seconds: 946_684_800,
                        nanoseconds: 5000,
                    })
                });
            }
            let arguments: Vec<OsString> = arguments.into();
            delivery.exec(&program, &arguments, |event| {
                if report {
                    eprintln!("{}", describe(&event));
                }
            })
        }
        Err(error) => error,
    };
    let exit = error.exit_status();
    eprintln!("{:?}", miette::Report::new(error));
    ExitCode::from(exit)
}

/// Takes `flag` if it comes next.
fn take(arguments: &mut VecDeque<OsString>, flag: &str) -> bool {
    let is_there = arguments.front().is_some_and(|first| first == flag);
    if is_there {
        arguments.pop_front();
    }
    is_there
}

fn object(image: &Path, vvar: Option<PathBuf>, with: Option<PathBuf>) -> Result<Object, Error> {
    let object = match vvar {
        None => Object::open(image)?,
        Some(vvar) => {
            let file = File::options().read(true).write(true).open(vvar);
            let file = file.expect("the file given with --vvar");
            let bytes = std::fs::read(image).expect("the image");
            Object::new(&bytes)?.with_vvar(file.into(), 0)?
        }
    };
    match with {
        None => Ok(object),
        Some(other) => Object::join(vec![object, Object::open(&other)?]),
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Delivered { pid } => format!("delivered to {pid}"),
        Event::Unserved { pid, reason, .. } => format!("{pid} runs without: {reason}"),
        Event::RightsWithheld { pid, .. } => format!("{pid} runs without its rights"),
        Event::TracesOthers { pid, .. } => format!("{pid} traces others"),
        Event::Emulates { pid, .. } => format!("{pid} runs programs without a vDSO"),
        other => format!("{other:?}"),
    }
}
