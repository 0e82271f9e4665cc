//! Publishing a vDSO on Linux, and reading one that is published.
//!
//! A published vDSO is one file: an ELF shared object whose last segment is the vvar
//! pages. Its [`Publisher`] maps those pages shared and writes them; readers load the
//! file as any library, in any language, or open it as a [`Vdso`]. A loader maps the
//! pages privately, and a private page that nobody writes is the page cache's own
//! (mmap(2)), so each reader sees each new value with no call to anybody.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`place`] | where publishing works, and why not elsewhere |
//! | [`assign`] | assignments in text, `wind.speed=3` |
//! | [`serve`] | a publisher's main loop, over any [`Source`](serve::Source) of values |
//!
//! # What it promises
//!
//! 1. **One publisher.** A second one is refused and told who the first is; however the
//!    first ends, its place is free at once.
//! 2. **No reader is hurt.** A file in use is never cut short or written over, only
//!    replaced by rename(2); all of its pages are allocated before it is published, so a
//!    full disk can't take one away.
//! 3. **Nothing is lost by a crash.** The next publisher goes on with the last values.
//! 4. **Readers know.** [`Status`] tells a live publisher from a silent one, and from
//!    one that has ended.
//!
//! # What it does not do
//!
//! It sends nothing: a reader sees the values of now, not each that there has been. It
//! works within one machine. It protects readers from a publisher that crashes, not from
//! one that lies; who may publish is a matter of file permissions.

#![cfg(target_os = "linux")]
#![cfg_attr(
    not(feature = "write"),
    allow(
        dead_code,
        reason = "the modules that both halves share have parts for the writing one"
    )
)]

#[cfg(feature = "write")]
mod change;
mod dynamic;
mod error;
mod file;
mod find;
#[cfg(feature = "write")]
mod install;
#[cfg(feature = "write")]
mod lock;
mod mapping;
#[cfg(feature = "write")]
mod publisher;
mod raw;
mod reader;
#[cfg(feature = "write")]
mod replace;
mod time;

#[cfg(feature = "write")]
pub mod assign;
pub mod place;
#[cfg(feature = "write")]
pub mod serve;

pub use dynamic::{Dynamic, Number, type_of};
pub use error::Error;
#[cfg(feature = "write")]
pub use file::image_parts;
#[cfg(feature = "write")]
pub use install::install;
#[cfg(feature = "write")]
pub use publisher::{LatchedWriter, Publisher, VarWriter};
pub use reader::{Latched, Status, Var, Vdso};
pub use vdsokit_vvar::header::Condition;
