//! Putting an object into a live process, and taking it out again.
//!
//! The change is made by single calls and writes after each of which the process can run on by
//! itself ([`crate::guest`]), because the tracer may die at any moment. First a record is mapped, and
//! behind it is noted what is mapped next: the object. How the program's calls are then led to the
//! object differs: the module [`change`] is one of
//!
//! | module | architecture | |
//! | --- | --- | --- |
//! | `exchange` | x86-64 | a front takes the place of the kernel's image, which is mapped anew elsewhere |
//! | `patch` | AArch64, RISC-V | an instruction of each function becomes a branch |

mod record;

#[cfg(target_arch = "x86_64")]
#[path = "attach/exchange.rs"]
mod change;
#[cfg(not(target_arch = "x86_64"))]
#[path = "attach/patch.rs"]
mod change;
#[cfg(target_arch = "x86_64")]
mod front;
#[cfg(any(not(target_arch = "x86_64"), test))]
mod slot;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::iter;
use std::ops::Range;
use std::thread;

use self::record::AttachRecord;
use crate::arch::{guest as code, number};
use crate::error::{Error, Event, Unserved};
use crate::group::Group;
use crate::guest::{self, Guest};
use crate::inject::Injector;
use crate::kernel::{self, KernelVdso};
use crate::memory::Memory;
use crate::object::{Object, ObjectRange, PAGE, Role, memfd};
use crate::proc;
use crate::program;
use crate::sys::Pid;
use crate::threads::Threads;
use crate::tracer::{FOLLOW, Tracer};
use crate::visit::{Caller, Failure, StubError};

/// The name of the file that a front is mapped from, as `/proc/PID/maps` shows it.
const FRONT: &str = "vdso-front";
/// The name of the file that a record is mapped from.
const RECORD: &str = "vdso-record";

/// The mappings of the kernel's vDSO, as `/proc/PID/maps` names them, from the lowest on.
const NAMES: [&str; 3] = ["[vvar]", "[vvar_vclock]", IMAGE];
const IMAGE: &str = "[vdso]";

/// Puts `object` into the live process `pid`: from now on its vDSO functions are those of the
/// object. Processes that it forks later have them as well; programs that it executes don't, see
/// [`attach_and_follow`].
///
/// Functions that the image doesn't have stay the kernel's, because the program's libc has looked
/// them up already. On an error the process is as it was. If this process dies on the way, the
/// other one runs on, with the kernel's functions or those of the object, and [`detach`] restores
/// it.
///
/// # Errors
/// [`Error::NoProcess`], [`Error::HiddenProcess`], [`Error::NoProc`], [`Error::OtherPidNamespace`], [`Error::Trace`],
/// [`Error::Traced`]; [`Error::Unserved`] with the reason when the process is in a state in which it can't be
/// changed.
pub fn attach(pid: u32, object: &Object) -> Result<(), Error> {
    on_own_thread(|| {
        let pid = proc::id(pid)?;
        let mut threads = Threads::stop(pid)?;
        put(pid, &mut threads, object)
    })
}

/// As [`attach`]; then follows the process and all that it starts, so that what they execute
/// gets the object too, until the last of them has ended. When this process ends first, they
/// continue to run. `report` is called from another thread.
///
/// # Errors
/// As [`attach`], and [`Error::System`] when waiting fails.
pub fn attach_and_follow(
    pid: u32,
    object: Object,
    mut report: impl FnMut(Event) + Send,
) -> Result<(), Error> {
    on_own_thread(move || {
        let pid = proc::id(pid)?;
        let mut threads = Threads::stop(pid)?;
        put(pid, &mut threads, &object)?;
        let system = || Error::system("follow the process");
        threads.follow(FOLLOW).map_err(system())?;
        Tracer::new(Injector::new(object).with_filters(0), FOLLOW, &mut report)
            .run(|_| {})
            .map_err(system())
    })
}

/// As [`attach`], to all processes of `group`, which are all stopped before the first of them is
/// changed; with `follow` as [`attach_and_follow`]. Processes that can't be changed are reported and
/// left as they are. Returns how many those are, and how many were changed or had an object already.
///
/// # Errors
/// [`Error::System`] when the group can't be read, or waiting fails.
pub fn attach_all(
    group: &Group,
    object: Object,
    follow: bool,
    mut report: impl FnMut(Event) + Send,
) -> Result<(usize, usize), Error> {
    on_own_thread(move || {
        let (mut stopped, mut left) = stop_all(group, &mut report)?;
        let mut changed = 0;
        let mut followed = Vec::new();
        for (pid, mut threads) in stopped.drain(..) {
            match put(pid, &mut threads, &object) {
                Ok(()) => changed += 1,
                // A child of one of them.
                Err(Error::Unserved {
                    reason: Unserved::AlreadyAttached,
                    ..
                }) => changed += 1,
                Err(error) => {
                    left += 1;
                    report_left(pid, error, &mut report);
                    continue;
                }
            }
            followed.push(threads);
        }
        if !follow || followed.is_empty() {
            return Ok((left, changed));
        }
        let system = || Error::system("follow the processes");
        for threads in followed {
            threads.follow(FOLLOW).map_err(system())?;
        }
        Tracer::new(Injector::new(object), FOLLOW, &mut report)
            .run(|_| {})
            .map_err(system())?;
        Ok((left, changed))
    })
}

/// As [`detach`], of all processes of `group` that have been attached to. Returns how many of them
/// were left as they are, and how many were restored.
///
/// # Errors
/// [`Error::System`] when the group can't be read.
pub fn detach_all(
    group: &Group,
    mut report: impl FnMut(Event) + Send,
) -> Result<(usize, usize), Error> {
    on_own_thread(move || {
        let (stopped, mut left) = stop_all(group, &mut report)?;
        let mut restored = 0;
        for (pid, mut threads) in stopped {
            match revert(pid, &mut threads) {
                Ok(()) => restored += 1,
                Err(Error::Unserved {
                    reason: Unserved::NotAttached,
                    ..
                }) => {}
                Err(error) => {
                    left += 1;
                    report_left(pid, error, &mut report);
                }
            }
        }
        Ok((left, restored))
    })
}

/// Stops all processes of a group. Returns them, and how many could not be stopped.
fn stop_all(
    group: &Group,
    report: &mut dyn FnMut(Event),
) -> Result<(Vec<(Pid, Threads)>, usize), Error> {
    let (mut stopped, mut left) = (Vec::new(), 0);
    let mut seen = HashSet::new();
    // One that still runs may start another: repeat until no new one appears.
    loop {
        let processes = group
            .processes()
            .map_err(Error::system("find the processes"))?;
        let new: Vec<Pid> = processes
            .into_iter()
            // This process may be one of them: `vdso attach --tree` of the shell that starts it.
            .filter(|&pid| pid as u32 != std::process::id() && seen.insert(pid))
            .collect();
        if new.is_empty() {
            return Ok((stopped, left));
        }
        for pid in new {
            match Threads::stop(pid) {
                Ok(threads) => stopped.push((pid, threads)),
                // It has ended.
                Err(Error::NoProcess { .. }) if !stopped.is_empty() || seen.len() > 1 => {}
                Err(error @ Error::NoProcess { .. }) => return Err(error),
                Err(error) => {
                    left += 1;
                    report_left(pid, error, report);
                }
            }
        }
    }
}

/// Reports that a process was left as it is.
fn report_left(pid: Pid, error: Error, report: &mut dyn FnMut(Event)) {
    let reason = match error {
        Error::Unserved { reason, .. } => reason,
        Error::Traced { .. } => Unserved::Traced,
        other => Unserved::Access(io::Error::other(other.to_string())),
    };
    let (program, pid) = (program::path(pid), pid as u32);
    report(Event::Unserved {
        pid,
        program,
        reason,
    });
}

/// Reverts what [`attach`] did: the kernel's vDSO is back where it was, byte for byte. Children
/// forked in between keep the object until they are detached themselves.
///
/// # Errors
/// As [`attach`]; [`Unserved::NotAttached`] when there is nothing to revert.
pub fn detach(pid: u32) -> Result<(), Error> {
    on_own_thread(|| {
        let pid = proc::id(pid)?;
        let mut threads = Threads::stop(pid)?;
        revert(pid, &mut threads)
    })
}

/// Runs `work` in a thread that then ends. A tracee belongs to the thread that seized it, and the
/// kernel releases those that had not stopped, which ptrace(2) can't, when that thread ends.
fn on_own_thread<R: Send>(work: impl FnOnce() -> Result<R, Error> + Send) -> Result<R, Error> {
    thread::scope(|scope| {
        let worker = thread::Builder::new().spawn_scoped(scope, work);
        let worker = worker.map_err(Error::system("start a thread"))?;
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn revert(pid: Pid, threads: &mut Threads) -> Result<(), Error> {
    let outcome = (|| {
        let memory = Memory::open(pid)?;
        let maps = maps(pid)?;
        let Some((at, record)) = record(&maps, &memory)? else {
            return tidy(pid, threads, memory, &maps);
        };
        let own = pieces(&maps).into_iter().map(|(_, piece)| piece);
        let used = own.chain([record.text(), record.image.clone()]);
        let used: Vec<_> = used.chain(fronts(&maps)).collect();
        threads.leave(&memory, &used)?;
        let mut guest = Guest::enter(threads.first(), memory, record.spare)?;
        let undone = change::undo(pid, &mut guest, at, &record);
        guest.leave(record.spare)?;
        undone.map_err(Failure::from)
    })();
    outcome.map_err(|failure| explain(threads, failure))
}

/// Removes what a tracer left behind which died when it had restored the process.
fn tidy(pid: Pid, threads: &mut Threads, memory: Memory, maps: &str) -> Result<(), Failure> {
    let mappings = kernel::mappings(maps).ok_or(Unserved::NotAttached)?;
    let text = mappings.last().cloned().unwrap_or_default();
    threads.leave(&memory, &mappings)?;
    if !erase_code(&memory, &text)? && guest::remnant(pid)?.is_none() {
        return Err(Unserved::NotAttached.into());
    }
    let kernel = KernelVdso::read(pid, &memory, text.start)?;
    let spare = text.start + spare(&kernel)?;
    Guest::enter(threads.first(), memory, spare)?.leave(spare)
}

/// Where in the kernel's vDSO there is room for the code of a guest.
fn spare(kernel: &KernelVdso) -> Result<u64, Unserved> {
    code::spare(kernel).ok_or(Unserved::NoRoom)
}

fn explain(threads: &Threads, failure: Failure) -> Error {
    match failure {
        Failure::Ended => threads.refuse(Unserved::Busy),
        Failure::Unserved(reason) => threads.refuse(reason),
    }
}

fn put(pid: Pid, threads: &mut Threads, object: &Object) -> Result<(), Error> {
    let outcome = (|| {
        let memory = Memory::open(pid)?;
        let maps = maps(pid)?;
        // That of a change which was not completed is of a tracer that died on the way.
        let remnant = record(&maps, &memory)?;
        if let Some((_, record)) = &remnant
            && change::is_in_force(&maps, &memory, record)?
        {
            return Err(Unserved::AlreadyAttached.into());
        }
        let is_ours = |line: &str| line.contains(" r-xp ") && line.contains("/memfd:vdso ");
        if remnant.is_none() && maps.lines().any(is_ours) {
            return Err(Unserved::Delivered.into());
        }
        let mappings = kernel::mappings(&maps).ok_or(Unserved::NoVdso)?;
        let text = mappings.last().cloned().unwrap_or_default();
        threads.leave(&memory, change::taken(&mappings))?;
        erase_code(&memory, &text)?;
        let mut kernel = KernelVdso::read(pid, &memory, text.start)?;
        kernel.resolve(&object.links);
        let spare = text.start + spare(&kernel)?;
        let mut guest = Guest::enter(threads.first(), memory, spare)?;
        let outcome = (|| {
            if let Some((at, record)) = &remnant {
                change::undo(pid, &mut guest, *at, record)?;
            }
            let record = AttachRecord {
                image: 0..0,
                spare,
                mappings,
                links: Vec::new(),
                patches: Vec::new(),
            };
            change::redirect(pid, &mut guest, object, &kernel, record)
        })();
        guest.leave(spare)?;
        outcome.map_err(Failure::from)
    })();
    outcome.map_err(|failure| explain(threads, failure))
}

/// Removes code that a tracer left behind which died. Returns whether there was any.
fn erase_code(memory: &Memory, text: &Range<u64>) -> io::Result<bool> {
    let mut bytes = vec![0; (text.end - text.start) as usize];
    memory.read_exact(text.start, &mut bytes)?;
    let own = code::code();
    let found = bytes.windows(own.len()).position(|found| found == own);
    if let Some(at) = found {
        let length = code::length().min(bytes.len() - at);
        let at = text.start + at as u64;
        memory.write(at, &code::before(memory, at)?[..length])?;
    }
    Ok(found.is_some())
}

/// Maps a record, with room for all that one may have. Returns its address.
fn map_record(guest: &mut Guest, record: &AttachRecord) -> Result<u64, StubError> {
    let mut bytes = record.bytes().ok_or_else(no_room)?;
    bytes.resize(AttachRecord::LENGTH, 0);
    let file = memfd(RECORD, &bytes)?;
    let length = (AttachRecord::LENGTH as u64).next_multiple_of(PAGE);
    guest.map(&[ObjectRange::new(file, 0, 0, length, Role::Record)?.place(0)])
}

/// Writes a record to its place.
fn write_record(guest: &Guest, at: u64, record: &AttachRecord) -> Result<(), StubError> {
    let bytes = record.bytes().ok_or_else(no_room)?;
    Ok(guest.memory.write(at, &bytes)?)
}

fn no_room() -> StubError {
    Failure::Unserved(Unserved::NoRoom).into()
}

/// The arguments of mmap(2) for addresses that nothing may access.
fn reservation(address: u64, length: u64, flags: i32) -> [u64; 6] {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let none = libc::PROT_NONE as u64;
    [address, length, none, flags as u64, u64::MAX, 0]
}

/// Maps the object at the address `image`, which is reserved for it. Words of it that hold addresses
/// in the kernel's vDSO are 0.
fn map_object(guest: &mut Guest, object: &Object, image: u64) -> Result<(), StubError> {
    let mut places = object.places();
    if let Some(first) = places.first_mut() {
        (first.distance, first.flags) = (image, libc::MAP_PRIVATE | libc::MAP_FIXED);
    }
    guest.map(&places)?;
    for (word, value) in object.linked(image, iter::repeat(0)) {
        guest.memory.write_word(word, value)?;
    }
    Ok(())
}

/// Unmaps fronts, the object, and the record at the address `at`.
fn unmap(pid: Pid, guest: &mut Guest, at: u64, record: &AttachRecord) -> Result<(), StubError> {
    for front in fronts(&maps(pid)?) {
        let length = front.end - front.start;
        guest.call(number::MUNMAP, [front.start, length, 0, 0, 0, 0])?;
    }
    let image = &record.image;
    if !image.is_empty() {
        let length = image.end - image.start;
        guest.call(number::MUNMAP, [image.start, length, 0, 0, 0, 0])?;
    }
    let length = (AttachRecord::LENGTH as u64).next_multiple_of(PAGE);
    guest.call(number::MUNMAP, [at, length, 0, 0, 0, 0])?;
    Ok(())
}

fn maps(pid: Pid) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/maps"))
}

/// The mappings of the kernel's vDSO in `maps`, wherever they are, in the order of [`NAMES`].
fn pieces(maps: &str) -> Vec<(&'static str, Range<u64>)> {
    let of = |name: &'static str| {
        let line = maps.lines().find(|line| line.ends_with(name))?;
        Some((name, range(line)?))
    };
    NAMES.into_iter().filter_map(of).collect()
}

/// The address ranges of mappings of a front.
fn fronts(maps: &str) -> Vec<Range<u64>> {
    let lines = maps.lines().filter(|line| line.contains(FRONT));
    lines.filter_map(range).collect()
}

/// The addresses in a line of `/proc/PID/maps`.
fn range(line: &str) -> Option<Range<u64>> {
    proc::ranges(line).next()
}

/// The record of an earlier attach, with its address.
fn record(maps: &str, memory: &Memory) -> io::Result<Option<(u64, AttachRecord)>> {
    let line = maps.lines().find(|line| line.contains(RECORD));
    let Some(at) = line.and_then(range) else {
        return Ok(None);
    };
    let mut bytes = [0; AttachRecord::LENGTH];
    let got = memory.read(at.start, &mut bytes)?;
    Ok(AttachRecord::read(&bytes[..got]).map(|record| (at.start, record)))
}
