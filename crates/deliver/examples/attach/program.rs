//! The arguments, and what is done for them.

use std::path::Path;
use std::process::ExitCode;

use vdsokit_deliver::{Error, Object, attach, attach_and_follow, detach};

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["--follow", pid, image] => put(pid, image, true),
        [pid, image] => put(pid, image, false),
        [pid] => detach(number(pid)),
        _ => {
            eprintln!("attach [--follow] PID IMAGE, or attach PID");
            return ExitCode::from(125);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let exit = error.exit_status();
            eprintln!("{:?}", miette::Report::new(error));
            ExitCode::from(exit)
        }
    }
}

fn put(pid: &str, image: &str, follow: bool) -> Result<(), Error> {
    let object = Object::open(Path::new(image))?;
    if follow {
        return attach_and_follow(number(pid), object, |event| println!("{event:?}"));
    }
    attach(number(pid), &object)
}

/// No process has the id 0.
fn number(pid: &str) -> u32 {
    pid.parse().unwrap_or(0)
}
