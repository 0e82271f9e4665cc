//! Variables that one process publishes and every process on the machine reads, in any
//! language, at the cost of a load.
//!
//! A vDSO is a small shared object with read-only data pages beside it, which its
//! publisher keeps up to date. Linux has one for the time; this crate makes others.
//!
//! # Reading
//!
//! ```
//! # use vdsokit::Vvars;
//! # #[derive(Clone, Copy, Vvars)]
//! # #[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
//! # struct Weather { #[vvar(init = 1.5)] temperature: f64 }
//! # let directory = tempfile::tempdir_in(vdsokit::place::base().unwrap()).unwrap();
//! # let path = directory.path().join("libweather.so.1");
//! # let _publisher = Weather::create(&path)?;
//! use vdsokit::{Condition, Vdso};
//!
//! let weather = Vdso::open(&path)?;
//! let temperature = weather.var::<f64>("temperature")?;
//! if weather.status().condition == Condition::Live {
//!     println!("{} degC", temperature.get()); // one load
//! }
//! # Ok::<(), vdsokit::Error>(())
//! ```
//!
//! A handle ([`Var`], [`Latched`]) is checked against the vDSO once, when it is made;
//! from then on a read can't fail. [`Vdso::status`] says whether a publisher keeps the
//! values up to date.
//!
//! # Publishing
//!
//! With the feature `declare`, `#[derive(Vvars)]` on a struct declares variables in Rust: see
//! [`Vvars`]. A vDSO that `vdso build` made is published with [`Publisher::open`], feature
//! `publish`.
//!
//! # Other languages
//!
//! The published file is an ordinary shared library: a C program links with it, Python
//! loads it with ctypes. [`Vvars::declaration`] gives what `vdso build` makes the C
//! header from.
//!
//! # The machine's clock
//!
//! [`Clock`] and [`Instant`] replace `std::time::Instant` by a page that one process keeps for
//! the whole machine (`vdso serve clock`): a read is no system call on machines where the
//! kernel's is one, and the kernel's clock where no such page is published.
//!
//! # The running task
//!
//! On x86-64 `current()` returns the running task's ids, CPU times and context switches, by a page that the
//! kernel fills (`vdso serve current`), and by system calls where there is none.
//!
//! # What it does not do
//!
//! * It notifies no one. A reader sees the current values and misses values between two
//!   reads. For a stream use a queue.
//! * It works within one machine.
//! * A vDSO has one publisher. Readers can't write, so a variable can't be a counter that
//!   several processes increment.
//! * It can't be published just anywhere: not on overlayfs (a container's root), NFS, or
//!   a `noexec` mount. [`place`] says where and why, and finds a place.
//! * It doesn't protect readers from a publisher that lies. Who may publish is a matter
//!   of file permissions.
//!
//! # Memory ordering
//!
//! A read acquires and a write releases: a reader that sees a value sees everything that
//! its publisher did before it wrote it. Two variables are read together only as fields
//! of one record.
//!
//! Handles are `Send` and `Sync`, keep the vDSO mapped, work in a child after fork(2)
//! and in a signal handler.

#![cfg(target_os = "linux")]

#[cfg(feature = "read")]
mod clock;
#[cfg(all(feature = "read", target_arch = "x86_64"))]
mod current;
#[cfg(feature = "derive")]
pub mod declare;
#[cfg(feature = "read")]
mod instant;

#[cfg(feature = "read")]
pub use clock::Clock;
#[cfg(all(feature = "read", target_arch = "x86_64"))]
pub use current::{Current, Switches, current};
#[cfg(feature = "derive")]
pub use declare::Vvars;
#[cfg(feature = "read")]
pub use instant::Instant;
/// The numbers of clocks, for [`Clock::bounds`].
#[cfg(feature = "read")]
pub use vdsokit_clock::Clock as ClockId;
#[cfg(feature = "derive")]
pub use vdsokit_macros::{Record, Vvars};
#[cfg(feature = "read")]
pub use vdsokit_publish::{
    Condition, Dynamic, Error, Latched, Number, Status, Var, Vdso, place, type_of,
};
#[cfg(feature = "publish")]
pub use vdsokit_publish::{LatchedWriter, Publisher, VarWriter};
#[cfg(feature = "read")]
pub use vdsokit_sources::clock::Unbounded;
/// The data page itself: layout, latch, directory.
pub use vdsokit_vvar as vvar;
pub use vdsokit_vvar::value::{Text, Value};

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Tests the examples of the page about the clock.
#[cfg(all(doctest, feature = "read"))]
#[doc = include_str!("../../../docs/clock.md")]
struct ClockPage;
