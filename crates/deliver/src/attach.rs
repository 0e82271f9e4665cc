//! Putting an object into a live process, and taking it out again.

use std::fs;
use std::io;
use std::thread;

use vdsokit_elf::Image;

use crate::arch::{self, number};
use crate::error::{Error, Event, Unserved};
use crate::front::{self, Record};
use crate::inject::Injector;
use crate::kernel::{self, KernelVdso};
use crate::memory::Memory;
use crate::object::{Object, PAGE, Role, Source, memfd};
use crate::proc::{self, Filters};
use crate::rseq;
use crate::sys::{self, Pid};
use crate::threads::Threads;
use crate::tracer::{FOLLOW, Tracer};
use crate::visit::{Failure, StubError, Visit};

/// The name of the file that a front is mapped from, as `/proc/PID/maps` shows it.
const FRONT: &str = "vdso-front";

/// Puts `object` into the live process `pid`: from now on its vDSO functions are those of the
/// object. Processes that it forks later have them as well; programs that it executes don't, see
/// [`attach_and_follow`].
///
/// Functions that the image doesn't have stay the kernel's, because the program's libc has looked
/// them up already. On an error the process is as it was.
///
/// If this process dies within the millisecond that the change takes, the kernel kills the
/// other one too (PTRACE_O_EXITKILL): half-changed it would crash.
///
/// # Errors
/// [`Error::NoProcess`], [`Error::NoProc`], [`Error::Trace`], [`Error::Traced`];
/// [`Error::Unserved`] with the reason when the process is in a state in which it can't be
/// changed.
pub fn attach(pid: u32, object: &Object) -> Result<(), Error> {
    on_own_thread(|| {
        let mut threads = Threads::stop(pid as Pid)?;
        put(pid as Pid, &mut threads, object)
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
        let mut threads = Threads::stop(pid as Pid)?;
        put(pid as Pid, &mut threads, &object)?;
        let system = || Error::system("follow the process");
        threads.follow(FOLLOW).map_err(system())?;
        Tracer::new(Injector::new(object).with_filters(0), FOLLOW, &mut report)
            .run(|_| {})
            .map_err(system())
    })
}

/// Reverts what [`attach`] did: the kernel's vDSO is back where it was, byte for byte. Children
/// forked in between keep the object until they are detached themselves.
///
/// # Errors
/// As [`attach`]; [`Unserved::NotAttached`] when there is nothing to revert.
pub fn detach(pid: u32) -> Result<(), Error> {
    on_own_thread(|| {
        let mut threads = Threads::stop(pid as Pid)?;
        revert(pid as Pid, &mut threads)
    })
}

/// Runs `work` in a thread that then ends. A tracee belongs to the thread that seized it, and the
/// kernel releases those that had not stopped, which ptrace(2) can't, when that thread ends.
fn on_own_thread(work: impl FnOnce() -> Result<(), Error> + Send) -> Result<(), Error> {
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
        let record = record(pid, &memory)?.ok_or(Unserved::NotAttached)?;
        let mut kernel = record.place();
        (kernel.start, kernel.end) = (
            record.moved_to,
            record.moved_to + (kernel.end - kernel.start),
        );
        threads.leave(&memory, &[record.place(), record.image.clone(), kernel])?;
        let front = record.mappings.last().map_or(0, |image| image.start);
        let mut guest = Guest::enter(threads, memory, front)?;
        let undone = undo(&record)
            .into_iter()
            .try_for_each(|(number, arguments)| guest.0.call(number, arguments).map(drop));
        guest.leave(threads)?;
        undone.map_err(Failure::from)
    })();
    outcome.map_err(|failure| explain(threads, failure))
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
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        if record(pid, &memory)?.is_some() {
            return Err(Unserved::AlreadyAttached.into());
        }
        let is_ours = |line: &str| line.contains(" r-xp ") && line.contains("/memfd:vdso ");
        if maps.lines().any(is_ours) {
            return Err(Unserved::Delivered.into());
        }
        let mappings = kernel::mappings(&maps).ok_or(Unserved::NoVdso)?;
        let vdso = mappings.last().map_or(0, |image| image.start);
        threads.leave(&memory, &mappings)?;
        let mut kernel = KernelVdso::read(pid, &memory, vdso)?;
        kernel.resolve(&object.links);
        let mut guest = Guest::enter(threads, memory, vdso)?;
        let mut undo = Vec::new();
        let outcome = redirect(&mut guest.0, object, &kernel, mappings, &mut undo);
        let undone = match outcome {
            Ok(()) => Ok(()),
            Err(_) => undo
                .into_iter()
                .rev()
                .try_for_each(|(number, arguments)| guest.0.call(number, arguments).map(drop)),
        };
        guest.leave(threads)?;
        undone.map_err(Failure::from)?;
        outcome.map_err(Failure::from)
    })();
    outcome.map_err(|failure| explain(threads, failure))
}

/// A system call: its number and arguments.
type Call = (u64, [u64; 6]);

fn unmap(start: u64, length: u64) -> Call {
    (number::MUNMAP, [start, length, 0, 0, 0, 0])
}

/// Moves a mapping to `to`, replacing what is mapped there.
fn move_to(from: u64, length: u64, to: u64) -> Call {
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
    (number::MREMAP, [from, length, length, flags, to, 0])
}

/// The calls that undo everything that `record` describes.
fn undo(record: &Record) -> Vec<Call> {
    let mut calls: Vec<Call> = record
        .mappings
        .iter()
        .map(|mapping| {
            move_to(
                record.moved(mapping),
                mapping.end - mapping.start,
                mapping.start,
            )
        })
        .collect();
    calls.push(unmap(
        record.image.start,
        record.image.end - record.image.start,
    ));
    calls
}

/// Maps the object, moves the kernel's vDSO away and puts the front in its place. `undo` receives
/// the calls that revert what was done, also when this fails.
fn redirect(
    visit: &mut Visit,
    object: &Object,
    kernel: &KernelVdso,
    mappings: Vec<std::ops::Range<u64>>,
    undo: &mut Vec<Call>,
) -> Result<(), StubError> {
    let image = visit.map(&object.places())?;
    undo.push(unmap(image, object.length()));
    let mut record = Record {
        image: image..image + object.length(),
        moved_to: 0,
        mappings,
    };
    let place = record.place();
    let length = place.end - place.start;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u64;
    let none = libc::PROT_NONE as u64;
    record.moved_to = visit.call(number::MMAP, [0, length, none, flags, u64::MAX, 0])?;
    undo.push(unmap(record.moved_to, length));

    let vdso = place.end - kernel.bytes().len() as u64;
    let parsed = Image::parse_memory(kernel.bytes(), vdso);
    let front = parsed
        .ok()
        .and_then(|image| front::compose(&record, &image, object));
    let front = front.ok_or(Failure::Unserved(Unserved::NoRoom))?;
    let file = memfd(FRONT, &front)?;
    // Two mappings: debuggers expect that of a vDSO to begin with its ELF header.
    let before = vdso - place.start;
    let note = Source::new(file.try_clone()?, 0, place.start, before, Role::Record)?;
    let text = Source::new(file, before, vdso, length - before, Role::Text)?;

    for (word, value) in object.linked(image, kernel.functions(record.kernel_image())) {
        visit.memory.write_word(word, value)?;
    }
    for mapping in &record.mappings {
        let (length, to) = (mapping.end - mapping.start, record.moved(mapping));
        let (number, arguments) = move_to(mapping.start, length, to);
        visit.call(number, arguments)?;
        undo.push(move_to(to, length, mapping.start));
    }
    let mut text = text.place(libc::MAP_FIXED_NOREPLACE);
    text.distance = before;
    visit.map(&[note.place(libc::MAP_FIXED_NOREPLACE), text])?;
    undo.push(unmap(place.start, length));
    // A written page makes the kernel dump the front to core files.
    visit.memory.write(vdso, &kernel.bytes()[..8])?;
    Ok(())
}

/// The record of an earlier attach to `pid`.
fn record(pid: Pid, memory: &Memory) -> io::Result<Option<Record>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let front = maps.lines().find(|line| line.contains(FRONT));
    let start = front.and_then(|line| line.split_once('-'));
    let Some(start) = start.and_then(|(start, _)| u64::from_str_radix(start, 16).ok()) else {
        return Ok(None);
    };
    let mut bytes = [0; Record::LENGTH];
    let got = memory.read(start, &mut bytes)?;
    Ok(Record::read(&bytes[..got]))
}

/// One thread of a live process that makes system calls for the tracer, with two pages of its
/// own: the stub, and room for what the calls read and write. The program's stacks can't be used:
/// they may be no larger than what lies on them.
struct Guest(Visit);

impl Guest {
    /// `text` is an executable page that no thread executes, to start from.
    fn enter(threads: &mut Threads, memory: Memory, text: u64) -> Result<Guest, Failure> {
        let pid = threads.first();
        if sys::ignores_trap(pid)? {
            return Err(Unserved::IgnoresTrap.into());
        }
        let stub = arch::stub();
        let mut before = vec![0; stub.len()];
        memory.read_exact(text, &mut before)?;
        let (mut registers, _) = sys::registers(pid)?;
        if let Some(rseq) = sys::rseq(pid) {
            rseq::abort(&mut registers, &memory, rseq)?;
        }
        let blocked = sys::blocked(pid)?;
        threads.set_options(libc::PTRACE_O_EXITKILL)?;
        suspend_filters(pid)?;
        sys::set_blocked(pid, sys::ALL_BUT_TRAPS)?;
        let mut visit = Visit {
            pid,
            memory,
            registers,
            home: text,
            scratch_end: 0,
            blocked,
            signals: Vec::new(),
        };
        let pages = (|| {
            visit.memory.write(text, stub)?;
            let writable = (libc::PROT_READ | libc::PROT_WRITE) as u64;
            let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
            let pages = visit.call(number::MMAP, [0, 2 * PAGE, writable, flags, u64::MAX, 0])?;
            let written = visit.memory.write(pages, stub).map_err(StubError::from);
            let executable = (libc::PROT_READ | libc::PROT_EXEC) as u64;
            let protect = [pages, PAGE, executable, 0, 0, 0];
            let ready = written.and_then(|()| visit.call(number::MPROTECT, protect));
            if ready.is_err() {
                let (number, arguments) = unmap(pages, 2 * PAGE);
                visit.call(number, arguments)?;
            }
            ready.map(|_| pages)
        })();
        if !matches!(pages, Err(StubError::Failure(Failure::Ended))) {
            visit.memory.write(text, &before)?;
        }
        match pages {
            Ok(pages) => {
                visit.home = pages;
                visit.scratch_end = pages + 2 * PAGE;
                Ok(Guest(visit))
            }
            Err(error) => {
                visit.restore()?;
                threads.hold(pid, visit.take_signals()?);
                Err(error.into())
            }
        }
    }

    /// Unmaps the pages and restores registers and signal mask of the thread.
    fn leave(mut self, threads: &mut Threads) -> Result<(), Failure> {
        let (number, arguments) = unmap(self.0.home, 2 * PAGE);
        self.0.call(number, arguments)?;
        self.0.restore()?;
        threads.hold(self.0.pid, self.0.take_signals()?);
        Ok(())
    }
}

/// Suspends the seccomp filters of `thread` until it is released: they may end the process for
/// the calls of the stub. Without the right to do so, only those filters are accepted that this
/// process is subject to as well, by their number: in a container all processes have the
/// container's.
fn suspend_filters(thread: Pid) -> Result<(), Failure> {
    let filters = proc::filters(thread)?;
    if filters == Filters::None {
        return Ok(());
    }
    let options = libc::PTRACE_O_EXITKILL | sys::SUSPEND_SECCOMP;
    if sys::set_options(thread, options).is_ok() || filters == own_filters()? {
        return Ok(());
    }
    Err(Unserved::Filtered.into())
}

/// The filters of this process.
fn own_filters() -> io::Result<Filters> {
    proc::filters(std::process::id() as Pid)
}
