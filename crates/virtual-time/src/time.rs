//! The time of a tree of processes.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use vdsokit_clock::{Clock, Clocks, Course, KernelTime, Moment, VirtualTime};

use crate::clock_pages::ClockPages;
use crate::error::Error;
use crate::kernel;
use crate::name::{self, Name};
use crate::pages::{self, State, Store};

/// How long before it happens a change of course is announced, in nanoseconds: no clock runs
/// backwards unless the publisher is delayed for longer than that. Publishing takes
/// microseconds; the rest is for a machine under load.
const LEAD: u64 = 50_000_000;

/// The time of a tree of processes: its pages, and the right to publish them.
#[derive(Debug)]
pub struct Time {
    pub(crate) store: Store,
    /// For messages.
    name: String,
}

/// A change of time. [`Clocks`] has a table of the clocks that each change applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Moves clocks by nanoseconds, at once; monotonic clocks only forward.
    Step(i128),
    /// Sets the wall clocks, at once.
    Set(Moment),
    /// Clocks advance at a multiple of real time: numerator and denominator, both above 0.
    Rate(u32, u32),
    /// Clocks stand still.
    Freeze,
    /// Clocks advance again at the rate from before the freeze.
    Resume,
    /// Clocks stand still, and each read of one moves all of them by this many nanoseconds.
    /// For new pages only: each program counts its reads from its own start, and a publisher
    /// does not know these numbers.
    EachRead(u64),
}

/// Reads the pages as the clock image does. It holds no descriptor, and works in a child of
/// fork(2) too.
#[derive(Debug)]
pub struct Reader(ClockPages);

impl Reader {
    /// The virtual time of a clock; `None` where it is the kernel's own.
    pub fn read(&self, clock: Clock) -> Option<Moment> {
        pages::read(&self.0, clock)
    }
}

/// What could not be served at a tree's time, each kind and program once: `vdso clock NAME show`
/// prints it. There is room for 14 reports of at most 248 bytes.
///
/// This holds no descriptor, and works in a child of fork(2) too.
#[derive(Debug)]
pub struct Reports {
    mapping: ClockPages,
    behind: usize,
}

impl Reports {
    /// Adds a report, unless there is one like it.
    pub fn add(&self, text: &str) {
        pages::board(&self.mapping, self.behind).report(text);
    }

    /// All reports.
    pub fn list(&self) -> Vec<String> {
        pages::board(&self.mapping, self.behind).reports().collect()
    }
}

/// A reading of all clocks of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    time: VirtualTime,
    kernel: KernelTime,
}

impl Reading {
    /// The kernel's own time.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel's clocks can't be read.
    pub fn of_kernel() -> Result<Reading, Error> {
        Ok(Reading {
            time: VirtualTime::default(),
            kernel: kernel::now().map_err(clocks_unread())?,
        })
    }

    /// The time of `clock`.
    pub fn at(&self, clock: Clock) -> Moment {
        self.time.at(clock, &self.kernel)
    }

    /// The time of the kernel's own clock at the same moment.
    pub fn kernel(&self, clock: Clock) -> Moment {
        VirtualTime::default().at(clock, &self.kernel)
    }

    /// How time advances.
    pub fn course(&self) -> Course {
        self.time.course()
    }

    /// Which clocks changes apply to.
    pub fn clocks(&self) -> Clocks {
        self.time.clocks()
    }
}

impl Time {
    /// [`Time::create_for`] with [`Clocks::Usual`].
    ///
    /// # Errors
    /// As there.
    pub fn create(name: Option<&Name>, changes: &[Change]) -> Result<Time, Error> {
        Time::create_for(name, Clocks::default(), changes)
    }

    /// New pages, in which the clocks are the kernel's but for `changes`, made in this order
    /// at one moment. These and all later changes apply to `clocks`: this is what
    /// `vdso run --clocks wall|monotonic|all` sets.
    ///
    /// With a name they can be found by [`Time::find`] as long as a process has a descriptor of
    /// them that came from [`Time::vvar`].
    ///
    /// # Errors
    /// [`Error::Taken`], [`Error::Already`] and [`Error::Clocks`] for changes that can't be
    /// made, and [`Error::System`].
    pub fn create_for(
        name: Option<&Name>,
        clocks: Clocks,
        changes: &[Change],
    ) -> Result<Time, Error> {
        let system = || Error::system("make the pages of the clock");
        let mut store = Store::new(&Name::of_memfd(name)).map_err(system())?;
        if let Some(name) = name {
            let inode = store.inode().map_err(system())?;
            name::check_free(name, inode)?;
        }
        let now = kernel::now().map_err(clocks_unread())?;
        let mut state = State {
            time: VirtualTime::new(clocks),
            rate: (1, 1),
        };
        // There is no reader yet: changes need no lead.
        for change in changes {
            apply(&mut state, &now, 0, *change)?;
        }
        state.time.settle(&now);
        let published = store.locked(|pages| pages.publish(&state));
        let published = published.map_err(system())?.transpose().map_err(system())?;
        published.ok_or_else(|| system()(std::io::ErrorKind::InvalidData.into()))?;
        let name = name.map(Name::to_string).unwrap_or_default();
        Ok(Time { store, name })
    }

    /// The time of the tree called `name`.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::System`].
    pub fn find(name: &Name) -> Result<Time, Error> {
        let found = name::find(name)?;
        let store = found
            .open()
            .and_then(Store::of)
            .map_err(|error| match error.kind() {
                // Those of an earlier version are shorter.
                std::io::ErrorKind::UnexpectedEof => Error::Version {
                    name: name.to_string(),
                },
                // Its tracer ended between the two.
                std::io::ErrorKind::NotFound => Error::Unknown {
                    name: name.to_string(),
                },
                _ => Error::system("open the pages of the clock")(error),
            })?;
        Ok(Time {
            store,
            name: name.to_string(),
        })
    }

    /// A read-only descriptor of the pages, for delivery: they begin at offset 0.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn vvar(&self) -> Result<OwnedFd, Error> {
        self.store
            .descriptor()
            .map_err(Error::system("open the pages of the clock"))
    }

    /// A reader, for answering system calls of programs.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn reader(&self) -> Result<Reader, Error> {
        let mapping = self.store.map();
        Ok(Reader(
            mapping.map_err(Error::system("map the pages of the clock"))?,
        ))
    }

    /// Reads all clocks.
    ///
    /// # Errors
    /// [`Error::Version`], [`Error::System`].
    pub fn read(&mut self) -> Result<Reading, Error> {
        let state = self.store.locked(|pages| pages.state());
        let state = state.map_err(lock())?.flatten();
        Ok(Reading {
            time: state.ok_or_else(|| self.version())?.time,
            kernel: kernel::now().map_err(clocks_unread())?,
        })
    }

    /// Makes a change, and returns when it applies in every process of the tree. `change` is
    /// called while the pages are locked against other publishers.
    ///
    /// Returns whether it was published in time: false after a change of course during which
    /// this process was delayed, so that programs may have seen a clock run backwards.
    ///
    /// # Errors
    /// Those of `change`; [`Error::Already`], [`Error::Version`], [`Error::System`].
    pub fn change(
        &mut self,
        change: impl FnOnce(&Reading) -> Result<Change, Error>,
    ) -> Result<bool, Error> {
        let done = self.store.locked(|pages| {
            let Some(mut state) = pages.state() else {
                return Ok(None);
            };
            // A publisher that was killed may have announced a change.
            wait_until(state.time.happens_at())?;
            let now = kernel::now().map_err(clocks_unread())?;
            state.time.settle(&now);
            let change = change(&Reading {
                time: state.time,
                kernel: now,
            })?;
            apply(&mut state, &now, LEAD, change)?;
            let publish = |state: &State| {
                let published = pages.publish(state);
                published.map_err(Error::system("publish the change"))
            };
            publish(&state)?;
            let is_course = !matches!(change, Change::Step(_) | Change::Set(_));
            let happens_at = state.time.happens_at().filter(|_| is_course);
            let published_at = kernel::monotonic().map_err(clocks_unread())?;
            wait_until(happens_at)?;
            if state.time.settle(&kernel::now().map_err(clocks_unread())?) {
                publish(&state)?;
            }
            Ok(Some(happens_at.is_none_or(|at| published_at < at)))
        });
        self.signal_servers();
        match done.map_err(lock())? {
            Some(Ok(Some(in_time))) => Ok(in_time),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => Err(self.version()),
        }
    }

    /// Whether time in which nothing runs is skipped ([`Time::set_skips_idle`]).
    pub fn skips_idle(&self) -> bool {
        self.store.board().skips_idle()
    }

    /// Notes that the server of the tree skips time in which nothing runs, which is all that this
    /// does: [`Time::hold`] then stops it, and no other tree can join.
    pub fn set_skips_idle(&self) {
        self.store.board().set_skips_idle();
    }

    /// Keeps time in which nothing runs from being skipped until [`Time::release`], also when this
    /// process ends.
    pub fn hold(&self) {
        self.store.board().hold(true);
    }

    /// Lets such time be skipped again.
    pub fn release(&self) {
        self.store.board().hold(false);
    }

    /// Whether such time is not to be skipped.
    pub fn is_held(&self) -> bool {
        self.store.board().is_held()
    }

    /// What could not be served at this time, for processes of the tree to add to.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn reports(&self) -> Result<Reports, Error> {
        let mapping = self.store.map();
        Ok(Reports {
            mapping: mapping.map_err(Error::system("map the pages of the clock"))?,
            behind: self.store.behind(),
        })
    }

    /// Tells the processes that serve trees with this time that it was changed, so that they make
    /// waits end when they are to. By default nothing happens to a process that gets this signal.
    fn signal_servers(&self) {
        let servers = self.store.board().servers();
        let servers = servers.filter_map(|pid| i32::try_from(pid).ok());
        for server in servers.filter_map(Pid::from_raw) {
            // One that has ended has no waits.
            let _ = kill_process(server, Signal::URG);
        }
    }

    fn version(&self) -> Error {
        Error::Version {
            name: self.name.clone(),
        }
    }
}

impl Store {
    fn inode(&self) -> std::io::Result<u64> {
        let file = std::fs::File::from(self.descriptor()?);
        Ok(file.metadata()?.ino())
    }
}

fn clocks_unread() -> impl FnOnce(std::io::Error) -> Error {
    Error::system("read the kernel's clocks")
}

fn lock() -> impl FnOnce(std::io::Error) -> Error {
    Error::system("lock the pages of the clock")
}

/// Waits until the kernel's monotonic clock is at `at`.
fn wait_until(at: Option<u64>) -> Result<(), Error> {
    let Some(at) = at else {
        return Ok(());
    };
    loop {
        let now = kernel::monotonic().map_err(clocks_unread())?;
        if now >= at {
            return Ok(());
        }
        thread::sleep(Duration::from_nanos(at - now));
    }
}

fn apply(state: &mut State, now: &KernelTime, lead: u64, change: Change) -> Result<(), Error> {
    let clocks = state.time.clocks();
    let course = match change {
        Change::Step(nanoseconds) => {
            if clocks.moves_monotonic() {
                let forward = u64::try_from(nanoseconds).map_err(|_| {
                    Error::Clocks("monotonic clocks are among those to move, and never go back")
                })?;
                state.time.advance(now, forward);
            }
            if clocks.moves_wall() {
                state.time.step(nanoseconds);
            }
            return Ok(());
        }
        Change::Set(wall) => {
            if !clocks.moves_wall() {
                return Err(Error::Clocks(
                    "a date sets the wall clocks, which are not among those to move",
                ));
            }
            state.time.set(now, wall);
            return Ok(());
        }
        Change::Rate(numerator, denominator) => {
            state.rate = (numerator, denominator);
            Course::Rate(numerator, denominator)
        }
        Change::Freeze => Course::Frozen,
        Change::Resume => Course::Rate(state.rate.0, state.rate.1),
        Change::EachRead(nanoseconds) => Course::EachRead(nanoseconds),
    };
    match (change, state.time.course()) {
        (Change::Freeze, Course::Frozen) => {
            return Err(Error::Already("time stands still already"));
        }
        (Change::Resume, Course::Rate(..)) => {
            return Err(Error::Already("time does not stand still"));
        }
        (_, Course::EachRead(_)) => {
            return Err(Error::Already(
                "time advances at each read, which each program counts for itself; it can be stepped and set",
            ));
        }
        (Change::EachRead(_), _) if lead > 0 => {
            return Err(Error::Already("time does not advance at each read"));
        }
        _ => {}
    }
    let refuse = |error: vdsokit_clock::Error| {
        Error::system("change the course of time")(std::io::Error::other(error.to_string()))
    };
    state.time.run(now, lead, course).map_err(refuse)
}
