//! Puts a vDSO into unmodified programs: into one that this process executes and all that it
//! starts ([`Delivery`]), or into one that runs already ([`attach`]).
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
//! | module | contents |
//! | --- | --- |
//! | `object` | an image that was checked, in a memfd, with its vvar pages and links |
//! | `traced` | an object that counts the calls of others |
//! | `join`, `unwind` | the image in front of several objects, or of one that lacks a function |
//! | `exec` | becomes a program, with a supervisor or a tracer beside it |
//! | `supervisor` | serves calls of the tree, and traces a thread only while it changes that |
//! | `attach`, `threads` | putting an object into a live process, and taking it out |
//! | `stop` | the reasons of a tracee's stop, and the answer to each |
//! | `tracer` | the loop that waits and answers |
//! | `strict`, `seccomp` | reads of the clock that are made by system call |
//! | `program` | which programs trace others themselves, or are setuid |
//! | `proc`, `rseq` | facts in `/proc`; restartable sequences |
//! | `inject` | maps an object into a process at its first instruction |
//! | `i386` | the same for a 32-bit program on an x86-64 kernel |
//! | `visit` | runs the stub in one stopped thread |
//! | `guest` | a thread of a process that makes system calls, whether or not its tracer lives |
//! | `pass` | passes descriptors to a process that can't open the tracer's |
//! | `kernel`, `link` | the kernel's own vDSO, and functions of it that images call |
//! | `stack`, `memory` | the stack of a program at its start; the memory of a process |
//! | `arch` | registers, system call numbers and the code that runs in the process |
//! | `sys` | ptrace(2) and other foreign functions |
//!
//! # What it promises
//! 1. **All or nothing.** A program begins with the complete object, or as the kernel made it; a
//!    live process is changed completely, or is as it was. If the tracer is killed while it attaches
//!    or detaches, the process runs on in a state that [`detach`] restores. If it is killed while
//!    it delivers to a program that has not begun, that begins. Exceptions are kernels whose vDSO
//!    has no room for the code: the program ends (PTRACE_O_EXITKILL).
//! 2. **The program is not touched**: its text, its stack above the stack pointer except the word
//!    AT_SYSINFO_EHDR, its descriptors and its signals are unchanged. Signals that arrive during
//!    a change are delivered after it.
//! 3. **Nothing is lost.** A function of the kernel's vDSO that the object lacks leads to the
//!    kernel's own, which stays mapped.
//! 4. **Nothing shared is writable** but the counts of [`Object::traced`]. Text is mapped private and
//!    executable, vvar pages shared and read-only from a descriptor that can't write;
//!    [`Object::with_word`]'s memory is the process's own.
//! 5. **Nothing stays behind.** When the tracer dies, the programs continue with the vDSO that
//!    they have; programs that they start later have the kernel's. No file is on disk.
//! 6. **Sandboxes hold.** No system call is made in a process with a seccomp filter that the
//!    process which started the delivery does not have, unless the kernel permits to suspend it
//!    (CAP_SYS_ADMIN). Otherwise the process is left alone and this is reported.
//!
//! # What it does not do
//! - It does not stop a program from making the system call itself unless asked to
//!   ([`Delivery::strict`]), nor from calling the page of the older `vsyscall` mechanism. Where a
//!   kernel still emulates that, it does so by system calls that filters see, so that
//!   [`Delivery::strict`] answers those too.
//! - `TracerPid` in `/proc/PID/status` is not 0 while a program is followed.
//! - `/proc/PID/auxv` keeps the address of the kernel's vDSO where the kernel has no
//!   CONFIG_CHECKPOINT_RESTORE.
//! - Programs that trace others are recognised by an imported `ptrace`, or by the note that this
//!   crate gives to all programs that use it. A statically linked debugger that makes the system
//!   call itself, as debuggers in Go do, can't trace programs that are followed.
//! - `attach` and `detach` fail while a signal handler runs that interrupted a vDSO function, if
//!   its frame is on the thread's current stack or on one that a signal left for an alternate
//!   stack. Frames on stacks that the program itself switched away from are not found.
#![cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]

mod arch;
mod attach;
mod channel;
mod error;
mod exec;
mod fork;
mod group;
mod guest;
#[cfg(target_arch = "x86_64")]
mod i386;
mod inject;
mod join;
mod kernel;
mod link;
mod memory;
mod object;
mod pass;
mod proc;
mod program;
mod rseq;
mod seccomp;
mod stack;
mod stop;
mod strict;
mod supervisor;
mod sys;
mod threads;
#[cfg(target_arch = "x86_64")]
mod traced;
mod tracer;
mod unwind;
mod visit;

pub use attach::{attach, attach_all, attach_and_follow, detach, detach_all};
pub use error::{Error, Event, ImageError, Unserved, UnservedFileTimes, UnservedWait};
pub use exec::Delivery;
pub use group::Group;
pub use object::Object;
pub use strict::Timestamp;

/// Reads `bytes` as each text of `/proc` that is about a process.
#[cfg(fuzzing)]
pub fn exercise(bytes: &[u8]) {
    proc::exercise(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = kernel::mappings(&text);
    group::exercise(&text);
    supervisor::exercise(&text);
}
