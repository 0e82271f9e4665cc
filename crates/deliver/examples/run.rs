//! Runs a program on the vDSO in an image file:
//! `run [--alone] [--report] [--strict] [--vvar FILE] IMAGE PROGRAM [ARGUMENT…]`.
//!
//! The vvar pages are those of the image file itself, which a publisher may keep up to date,
//! or those at the start of FILE. `--report` says on standard error what became of each
//! program. With `--strict`, system calls say that the wall clock stands at the start of 2000.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use vdsokit_deliver::{Delivery, Error, Event, Object, Timestamp};

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut take = |flag: &str| {
        let is_there = arguments.first().is_some_and(|first| first == flag);
        is_there.then(|| arguments.remove(0)).is_some()
    };
    let (alone, report) = (take("--alone"), take("--report"));
    let (strict, vvar) = (take("--strict"), take("--vvar"));
    let vvar = (vvar && !arguments.is_empty()).then(|| arguments.remove(0));
    let [image, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("run [--alone] [--report] [--strict] [--vvar FILE] IMAGE PROGRAM [ARGUMENT...]");
        return ExitCode::from(125);
    };
    let error = match object(Path::new(image), vvar.as_deref().map(Path::new)) {
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
            delivery.exec(program, rest, |event| {
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

fn object(image: &Path, vvar: Option<&Path>) -> Result<Object, Error> {
    let Some(vvar) = vvar else {
        return Object::open(image);
    };
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    let file = File::options().read(true).write(true).open(vvar);
    let file = file.expect("the file given with --vvar");
    Object::new(&read(image))?.with_vvar(file.into(), 0)
}

fn describe(event: &Event) -> String {
    match event {
        Event::Delivered { pid, .. } => format!("delivered to {pid}"),
        Event::Unserved { pid, reason, .. } => format!("{pid} runs without: {reason}"),
        Event::RightsWithheld { pid, .. } => format!("{pid} runs without its rights"),
        Event::TracesOthers { pid, .. } => format!("{pid} traces others"),
        other => format!("{other:?}"),
    }
}
