//! Publishing a vDSO on Linux, and reading one that is published.
//!
//! A published vDSO is one file: an ELF shared object whose last segment is the vvar
//! pages. Its [`Publisher`] maps those pages shared and writes them; readers load the
//! file as any library, in any language, or open it as a [`Vdso`]. A loader maps the
//! pages privately, and a private page that is never written is the page cache's own
//! (mmap(2)), so every reader sees new values without a system call.
//!
//! | module | contents |
//! | --- | --- |
//! | [`place`] | where publishing works, and why not elsewhere |
//! | [`assign`] | assignments in text, `wind.speed=3` |
//! | [`serve`] | a publisher's main loop, over any [`Source`](serve::Source) of values |
//!
//! # Guarantees
//!
//! 1. **One publisher.** A second one is refused with the name of the first. However the first
//!    ends, the next can start at once.
//! 2. **Readers are unharmed.** A publisher never truncates or overwrites a file in use, it
//!    only replaces one by rename(2). All pages are allocated before they are published, so
//!    that a full disk cannot take one away.
//! 3. **A crash loses nothing.** The next publisher resumes with the last values.
//! 4. **Readers know the [`Condition`].** It distinguishes a live publisher from one that
//!    crashed, one that ended, and a file that was replaced.
//! 5. **A call that is refused changes nothing.** Every check comes before the first store.
//!
//! # A replaced file and dlopen(3)
//!
//! A program that loaded the library keeps the old file when another takes its name, and
//! glibc returns the loaded library for the same path, because it compares the name that was
//! given before it opens anything (`_dl_map_object`). On [`Condition::Replaced`], open the
//! path and load `/proc/self/fd/N` of the descriptor, which must stay open so that its
//! number stays unique:
//!
//! ```python
//! fd = os.open("libflags.so.1", os.O_RDONLY)
//! flags = ctypes.CDLL(f"/proc/self/fd/{fd}")
//! ```
//!
//! A symbolic link in front of a file with the layout in its name would not change that: the
//! program gives the same path. It would leave a file behind for each layout, and a
//! second name to check and to lock.
//!
//! # Limits
//!
//! It sends nothing: a reader sees the current values, not every value that there was. It
//! works within one machine. It protects readers from a publisher that crashes, not from one
//! that publishes wrong values; file permissions decide who may publish.
//!
//! A process that may write the file can truncate it while it is mapped. The next access of its publisher
//! or of a reader is then a SIGBUS (mmap(2)), because the length of a file that has a name
//! can't be sealed. This crate installs no signal handler: that is for the program to decide.

#![cfg(target_os = "linux")]
#![cfg_attr(
    not(feature = "write"),
    allow(
        dead_code,
        reason = "the modules that both halves share have parts for the writing one"
    )
)]

#[cfg(feature = "write")]
mod beside;
#[cfg(feature = "write")]
mod change;
mod dir;
mod dynamic;
mod error;
mod file;
mod find;
#[cfg(feature = "write")]
mod heartbeat;
#[cfg(feature = "write")]
mod identity;
#[cfg(feature = "write")]
mod install;
#[cfg(feature = "write")]
mod lock;
mod mapped_vvar;
#[cfg(feature = "write")]
mod open;
#[cfg(feature = "write")]
mod publisher;
mod raw;
mod reader;
#[cfg(feature = "write")]
mod replace;
#[cfg(feature = "write")]
mod scalar_assigner;
mod time;

#[cfg(feature = "write")]
pub mod assign;
pub mod place;
#[cfg(feature = "write")]
pub mod serve;

#[cfg(feature = "write")]
pub use beside::Beside;
pub use dynamic::{Dynamic, Number, type_of};
pub use error::Error;
#[cfg(feature = "write")]
pub use file::image_parts;
#[cfg(feature = "write")]
pub use install::install;
#[cfg(feature = "write")]
pub use open::{Options, set};
#[cfg(feature = "write")]
pub use publisher::{Assigner, LatchedWriter, Publisher, VarWriter};
pub use reader::{Latched, Status, Var, Vdso};
#[cfg(feature = "write")]
pub use scalar_assigner::ScalarAssigner;
pub use vdsokit_vvar::header::Condition;

/// Reads `bytes` as the text of `/proc` by which a publisher is known.
#[cfg(all(fuzzing, feature = "write"))]
pub fn exercise(bytes: &[u8]) {
    identity::exercise(&String::from_utf8_lossy(bytes));
}

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
