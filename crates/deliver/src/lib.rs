//! Puts a vDSO into processes that were never told of it: into a program that this process
//! becomes and all that it starts ([`Delivery`]), or into one that runs already ([`attach`]).
//!
//! ```no_run
//! use std::path::Path;
//! use vdsokit_deliver::{Delivery, Object};
//!
//! # fn main() -> Result<(), vdsokit_deliver::Error> {
//! let object = Object::open(Path::new("libbeast.so.1"))?;
//! let error = Delivery::new(object).exec("make".as_ref(), &["-j2".into()], |event| {
//!     eprintln!("{event:?}");
//! });
//! // Still here: `make` was not executed.
//! std::process::exit(error.exit_status().into());
//! # }
//! ```
//!
//! # How it is made
//!
//! | module | what it does |
//! | --- | --- |
//! | `object` | checks an image and holds it ready: memfd, vvar pages, links |
//! | `join` | one object of several |
//! | `exec` | becomes a program, with a supervisor or a tracer beside it |
//! | `supervisor` | serves calls of the tree, and traces a thread only while it changes that |
//! | `attach`, `threads`, `front` | putting an object into a live process, and taking it out |
//! | `stop` | why a tracee stopped and what to answer: the whole state machine |
//! | `tracer` | the loop that waits and answers |
//! | `strict`, `seccomp` | reads of the clock that are made by system call |
//! | `program` | which programs trace others themselves, or are setuid |
//! | `inject` | maps an object into a process at its first instruction |
//! | `visit` | runs the stub in one stopped thread |
//! | `pass` | hands descriptors to a process that can't open ours |
//! | `kernel`, `link` | the kernel's own vDSO, and functions of it that images call |
//! | `stack`, `memory` | the target's stack at its start; its memory |
//! | `arch` | registers, system call numbers and the code that runs in the target |
//! | `sys` | ptrace and its kin: the foreign functions |
//!
//! # What it promises
//! 1. **All or nothing.** A program begins with our vDSO whole, or as the kernel made it; a live
//!    process is changed whole, or is as it was. Should the tracer be killed within such a
//!    change (well below a millisecond), that one process may end too, by the kernel
//!    (PTRACE_O_EXITKILL) or by SIGTRAP: half-changed it would crash.
//! 2. **The program is not touched**: its text, its stack above the stack pointer but for the
//!    one word AT_SYSINFO_EHDR, its descriptors and its signals are as without us.
//! 3. **Nothing shared is writable.** Text is mapped private and executable, vvar pages shared
//!    and read-only from a descriptor that can't write; [`Object::with_word`]'s memory is the
//!    process's own.
//! 4. **Nothing stays behind.** When the tracer dies, whatever kills it, the programs run on
//!    with what they have; what they start from then on has the kernel's vDSO. No file is on
//!    disk.
//!
//! # What it does not do
//! - It does not stop a program from making the system call itself unless asked to
//!   ([`Delivery::strict`]), nor from using the page of the older `vsyscall` mechanism where a
//!   kernel still emulates that.
//! - `/proc/PID/auxv` keeps the address of the kernel's vDSO, and `TracerPid` in
//!   `/proc/PID/status` is not 0 while a program is followed.
//! - A program whose sandbox, inherited through exec, kills it for `openat`, `fstat`, `mmap`,
//!   `mprotect`, `close` or `munmap` is killed at its start: these are made in its name.
//! - What traces others has to be known by `ptrace` among what it imports, or by the note that
//!   this crate gives to all that use it; a debugger that is linked statically and makes the
//!   system call itself, as those in Go do, can't trace in what is followed.
//! - A signal handler that interrupted a vDSO function keeps `attach` and `detach` from their
//!   work while it runs, if its frame can be seen on the thread's own stack. One on a stack
//!   that the thread switched away from is not seen.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod arch;
mod attach;
mod error;
mod exec;
mod front;
mod inject;
mod join;
mod kernel;
mod link;
mod memory;
mod object;
mod pass;
mod program;
mod seccomp;
mod stack;
mod stop;
mod strict;
mod supervisor;
mod sys;
mod threads;
mod tracer;
mod visit;

pub use attach::{attach, attach_and_follow, detach};
pub use error::{Error, Event, ImageError, Unserved};
pub use exec::Delivery;
pub use object::Object;
pub use strict::Timestamp;
