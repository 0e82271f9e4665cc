//! The events of a publisher, as text or as JSON, and its main loop.

use super::notify::notify;
use crate::output;
use miette::{Diagnostic, Report, Result};
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use vdsokit_publish::Publisher;
use vdsokit_publish::serve::{End, Serve, Source};

/// Prints the events of a publisher, a line each.
pub(crate) struct Reporter {
    json: bool,
    /// Whether a line of the input was refused, or an event could not be written.
    has_failed: Cell<bool>,
}

impl Reporter {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            has_failed: Cell::new(false),
        }
    }

    /// Prints an event: in JSON with `details`, a JSON object; as text with `text` behind the file.
    pub(crate) fn event(&self, name: &str, file: &Path, details: Value, text: &str) {
        let written = if self.json {
            let mut event = Map::new();
            event.insert("event".into(), name.into());
            event.insert("file".into(), file.to_string_lossy().into());
            if let Value::Object(details) = details {
                event.extend(details);
            }
            output::json(&event)
        } else {
            output::line(format_args!("{name}: {}{text}", output::path(file)))
        };
        self.check(written);
    }

    /// Reports that readers of a clock have the kernel's clock in place of the counter.
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    ))]
    pub(crate) fn untrusted(&self, why: &impl ToString) {
        let why = why.to_string();
        if self.json {
            self.check(output::json(&json!({"event": "untrusted", "why": why})));
        } else {
            output::warn(format_args!(
                "vdso: the source is the kernel, not the counter: {why}"
            ));
        }
    }

    fn refused(&self, line: u64, error: vdsokit_publish::Error) {
        self.has_failed.set(true);
        if self.json {
            let error = error.to_string();
            let event = json!({"event": "refused", "line": line, "error": error});
            self.check(output::json(&event));
        } else {
            output::report(&Report::new(error).wrap_err(format!("line {line} was not written")));
        }
    }

    /// A publisher goes on when its events can't be written; its exit status tells.
    fn check(&self, written: Result<bool>) {
        if let Err(error) = written
            && !self.has_failed.replace(true)
        {
            output::report(&error);
        }
    }

    /// Publishes the values of a source, and of lines where there are any, until the end.
    pub(crate) fn serve<S: Source>(
        &self,
        publisher: Publisher,
        source: S,
        lines: Option<BorrowedFd<'_>>,
        stop: &UnixStream,
    ) -> Result<ExitCode>
    where
        S::Error: Diagnostic + Send + Sync + 'static,
    {
        let path = publisher.path().to_owned();
        let serve = Serve {
            lines,
            stop: stop.as_fd(),
        };
        notify("READY=1");
        let end = serve.run(publisher, source, |line, error| self.refused(line, error))?;
        notify("STOPPING=1");
        let why = end.to_string();
        self.event("retired", &path, json!({"why": why}), &format!(", {why}"));
        let is_orderly = matches!(end, End::Stopped | End::EndOfInput | End::Retired);
        Ok(match is_orderly && !self.has_failed.get() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
