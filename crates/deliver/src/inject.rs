//! Puts an object into a process that stands at the first instruction of a new program.

use std::ffi::c_int;
use std::fs::File;
use std::io;

use vdsokit_elf::own;

use crate::arch::{self, Block, MemoryMap, Word, number};
use crate::error::Unserved;
use crate::guest::{self, Guest};
#[cfg(target_arch = "x86_64")]
use crate::i386;
use crate::kernel::{KernelVdso, NO_SECTIONS};
use crate::memory::Memory;
use crate::object::{Object, PAGE};
use crate::proc;
use crate::stack::{self, Auxiliary, StackError, Width};
use crate::sys::{self, Pid, Registers, SignalInfo};
use crate::visit::{self, Caller, Failure, Handle, StubError, Visit};

/// The longest stack that is searched for the auxiliary vector: the kernel's own limit on
/// arguments and environment is a quarter of the stack's, and 6 MiB at most (fs/exec.c,
/// `bprm_stack_limits`).
const STACK_LIMIT: usize = 8 << 20;

/// Where valgrind's tools are linked to, below all that other programs use
/// (`valt_load_address_pri_norml` of its configure.ac). Their program headers are in the first page.
const VALGRIND_ADDRESS: u64 = 0x5800_0000;

/// A program at its first instruction, and what is known of it.
#[derive(Debug)]
pub(crate) struct Start {
    registers: Registers,
    /// The address of AT_SYSINFO_EHDR's value in its auxiliary vector.
    slot: u64,
    /// That value: the address of the kernel's vDSO.
    vdso: u64,
    /// What sets the kernel's copy of the auxiliary vector to that of the program's stack.
    saved: MemoryMap,
    /// Whether it has seccomp filters that the first program of the tree did not have.
    is_filtered: bool,
    /// Whether it is a tool of valgrind, which runs programs in its own process and without a vDSO.
    pub(crate) is_valgrind: bool,
    /// Whether it is a 32-bit program of an x86-64 kernel.
    pub(crate) is_i386: bool,
}

impl Start {
    /// Restores the registers of `pid`, and opens its memory.
    fn begin_again(&self, pid: Pid) -> Result<Memory, Failure> {
        let mut registers = self.registers;
        arch::leave_syscall(&mut registers);
        sys::set_registers(pid, &registers)?;
        Ok(Memory::open(pid)?)
    }
}

/// An object and what is the same for all programs that get it.
#[derive(Debug)]
pub(crate) struct Injector {
    object: Object,
    kernel: Option<KernelVdso>,
    /// Whether the object has the functions of `kernel`.
    is_complete: bool,
    /// How many seccomp filters a program may have that is changed with them in force: those of
    /// the process that started the delivery, which is subject to them itself.
    filters: Option<u32>,
    /// What 32-bit programs get.
    #[cfg(target_arch = "x86_64")]
    i386: Option<i386::Target>,
}

impl Injector {
    /// Without [`Injector::with_filters`] those of the program are counted that is looked at first.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(
            unused_mut,
            reason = "there are no 32-bit programs to give something to"
        )
    )]
    pub(crate) fn new(mut object: Object) -> Injector {
        let i386 = object.i386();
        #[cfg(not(target_arch = "x86_64"))]
        drop(i386);
        Injector {
            #[cfg(target_arch = "x86_64")]
            i386: i386.map(i386::Target::new),
            object,
            kernel: None,
            is_complete: false,
            filters: None,
        }
    }

    /// `filters`: how many seccomp filters the first program has.
    pub(crate) fn with_filters(mut self, filters: u32) -> Injector {
        self.filters = Some(filters);
        self
    }

    /// The files that programs map.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        let files = self.object.files();
        #[cfg(target_arch = "x86_64")]
        let files = files.chain(self.i386.iter().flat_map(i386::Target::files));
        files
    }

    /// Reads the kernel's vDSO before it is needed, from this process. Where the vDSO of this
    /// process is not the kernel's, it is read from the first program.
    pub(crate) fn prepare(&mut self) {
        let this = std::process::id() as Pid;
        let own = own::address().map(|address| address.addr() as u64);
        let memory = own.zip(Memory::open(this).ok());
        self.kernel =
            memory.and_then(|(address, memory)| KernelVdso::read(this, &memory, address).ok());
    }

    /// Completes the object by the functions of the kernel's vDSO that it lacks, once that was read.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        if let Some(kernel) = &mut self.kernel
            && !self.is_complete
        {
            let completed = self.object.complete(kernel.exports());
            completed.map_err(io::Error::other)?;
            kernel.resolve(&self.object.links);
            self.is_complete = true;
        }
        Ok(())
    }

    /// Reads the state of `pid`, which is in its exec stop. Fails if it can't be served.
    pub(crate) fn look(&mut self, pid: Pid) -> Result<(Start, Memory), Failure> {
        let is_filtered = self.is_filtered(pid)?;
        let (mut registers, length) = sys::registers(pid)?;
        if !arch::is_native(&registers, length) {
            #[cfg(target_arch = "x86_64")]
            return self.look_i386(pid, registers, is_filtered);
            #[cfg(not(target_arch = "x86_64"))]
            return Err(Unserved::NotNative.into());
        }
        arch::leave_exec(&mut registers);
        let memory = Memory::open(pid)?;
        let stack = arch::stack_pointer(&registers);
        let found = auxiliary(&memory, stack, Width::Eight)?;
        let Some((slot, vdso)) = found.vdso else {
            return Err(Unserved::NoVdso.into());
        };
        let vector = stack + found.vector.start as u64..stack + found.vector.end as u64;
        if found.secure {
            return Err(Unserved::Privileged.into());
        }
        if self.kernel.is_none() {
            self.kernel = Some(KernelVdso::read(pid, &memory, vdso)?);
        }
        self.complete()?;
        let start = Start {
            registers,
            slot: stack + slot as u64,
            vdso,
            saved: proc::memory_map(pid, vector).unwrap_or_default(),
            is_filtered,
            is_valgrind: found.headers & !(PAGE - 1) == VALGRIND_ADDRESS,
            is_i386: false,
        };
        Ok((start, memory))
    }

    /// [`Injector::look`] at a 32-bit program.
    #[cfg(target_arch = "x86_64")]
    fn look_i386(
        &mut self,
        pid: Pid,
        mut registers: Registers,
        is_filtered: bool,
    ) -> Result<(Start, Memory), Failure> {
        let Some(target) = &mut self.i386 else {
            return Err(Unserved::NotNative.into());
        };
        arch::leave_exec(&mut registers);
        let memory = Memory::open(pid)?;
        let found = auxiliary(&memory, arch::stack_pointer(&registers), Width::Four)?;
        if found.secure {
            return Err(Unserved::Privileged.into());
        }
        let (_, vdso) = found.vdso.ok_or(Unserved::NoVdso)?;
        target.read_kernel(pid, &memory, vdso)?;
        let start = Start {
            registers,
            slot: 0,
            vdso,
            saved: MemoryMap::default(),
            is_filtered,
            is_valgrind: found.headers & !(PAGE - 1) == VALGRIND_ADDRESS,
            is_i386: true,
        };
        Ok((start, memory))
    }

    /// Whether `pid` has more filters than the first program had. A child inherits its parent's
    /// filters and can only add to them (seccomp(2)), so equal numbers mean the same filters.
    fn is_filtered(&mut self, pid: Pid) -> io::Result<bool> {
        let known = match self.filters {
            Some(known) => known,
            None => *self.filters.insert(proc::filters(pid)?.count()),
        };
        match sys::has_more_filters(pid, known) {
            Some(more) => Ok(more),
            None => Ok(proc::filters(pid)?.count() > known),
        }
    }

    /// Prepares `pid`, which is in its exec stop, to put the object into itself once it is resumed.
    /// It does not stop again unless that fails. `false`: it takes [`Injector::deliver`], because
    /// the kernel's vDSO has no room for the stub, because a seccomp filter has to be suspended, or
    /// because it is a 32-bit program.
    ///
    /// The registers are the only state of the program that changes, and they change last: if the
    /// tracer dies before that, the program begins without the object. After that the program
    /// needs only the tracer's descriptors. If it can't open them it reports that
    /// ([`Injector::has_failed`], [`Injector::reports_failure`]), and if nothing answers it begins
    /// without the object.
    pub(crate) fn launch(&self, pid: Pid, start: &Start, memory: &Memory) -> Result<bool, Failure> {
        if start.is_filtered || start.is_i386 {
            return Ok(false);
        }
        let (stub, vdso) = (arch::stub(), start.vdso);
        let kernel = self.kernel.as_ref();
        let Some((kernel, (spare, covers_sections))) =
            kernel.and_then(|kernel| Some((kernel, kernel.place(stub.len())?)))
        else {
            return Ok(false);
        };
        let words: Vec<Word> = self.object.words(kernel.functions(vdso)).collect();
        let places = self.object.places();
        let paths = visit::paths(&places);
        let frame = arch::stack_pointer(&start.registers) - arch::FRAME;
        let block = Block {
            count: places.len() as u64,
            slot: start.slot,
            frame,
            saved: start.saved,
            ..Block::default()
        };
        let handle = Handle::Paths(&paths);
        let length = visit::plan_length(&places, handle, words.len());
        let at = (frame - length as u64) & !15;
        let mut below = visit::plan(at, &block, &places, handle, &words);
        below.resize((frame - at) as usize, 0);
        below.extend(arch::frame(&start.registers));
        if covers_sections {
            for (offset, bytes) in NO_SECTIONS {
                memory.write(vdso + offset, bytes)?;
            }
        }
        memory.write(vdso + spare, stub)?;
        memory.write(at, &below)?;
        let mut registers = start.registers;
        arch::enter_stub(&mut registers, vdso + spare, at);
        sys::set_registers(pid, &registers)?;
        Ok(true)
    }

    /// Whether `pid`, which was launched from `start` and is about to get SIGURG, could not put
    /// the object into itself.
    pub(crate) fn has_failed(&self, pid: Pid, start: &Start) -> io::Result<bool> {
        let (registers, _) = sys::registers(pid)?;
        let home = self.home(start);
        Ok(home.is_some_and(|home| arch::has_failed(&registers, home)))
    }

    /// The same of a program that makes the call behind which `pointer` is.
    pub(crate) fn reports_failure(&self, start: &Start, pointer: u64) -> bool {
        let home = self.home(start);
        home.is_some_and(|home| arch::reports_failure(pointer, home))
    }

    /// Where the stub lies in a program that was launched from `start`.
    fn home(&self, start: &Start) -> Option<u64> {
        let (spare, _) = self.kernel.as_ref()?.place(arch::stub().len())?;
        Some(start.vdso + spare)
    }

    /// Puts the object into `pid`, which is in its exec stop, begins from `start` and is traced with
    /// `options`. Returns a signal that came meanwhile and has to be delivered on resuming
    /// (0: none).
    ///
    /// If the tracer dies while this runs, the program begins, with the object or without
    /// ([`crate::guest`]). Where that can't be (`Injector::room`) the kernel kills the process
    /// (PTRACE_O_EXITKILL): the program has not begun, and must not begin half-changed.
    pub(crate) fn deliver(
        &self,
        pid: Pid,
        start: &Start,
        memory: Memory,
        options: c_int,
    ) -> Result<c_int, Failure> {
        if let Some(room) = self.room(start) {
            guest::leave_exec(pid, options)?;
            return self.deliver_by_guest(pid, start, memory, options, room);
        }
        self.deliver_at_once(pid, start, memory, options)
    }

    /// As [`Injector::deliver`], into a program that was launched from `start`, could not put the object
    /// into itself, and is stopped outside of a system call.
    pub(crate) fn deliver_again(
        &self,
        pid: Pid,
        start: &Start,
        options: c_int,
    ) -> Result<c_int, Failure> {
        let memory = start.begin_again(pid)?;
        if let Some(room) = self.room(start) {
            return self.deliver_by_guest(pid, start, memory, options, room);
        }
        self.deliver_at_once(pid, start, memory, options)
    }

    /// Where the kernel's vDSO has room for the code of a guest.
    fn room(&self, start: &Start) -> Option<u64> {
        #[cfg(target_arch = "x86_64")]
        if start.is_i386 {
            return Some(start.vdso + self.i386.as_ref()?.spare()?);
        }
        Some(start.vdso + arch::guest::spare(self.kernel.as_ref()?)?)
    }

    /// Delivers by system calls and writes after each of which the program can begin.
    fn deliver_by_guest(
        &self,
        pid: Pid,
        start: &Start,
        memory: Memory,
        options: c_int,
        spare: u64,
    ) -> Result<c_int, Failure> {
        guest::trace(pid, options, start.is_filtered)?;
        let registers = arch::guest::begun(pid, &start.registers)?;
        let outcome = Guest::settle(pid, memory, spare, registers).and_then(|mut guest| {
            let outcome = self.put_by_guest(&mut guest, start);
            if !matches!(outcome, Err(Failure::Ended)) {
                guest.leave(spare)?;
            }
            outcome
        });
        if !matches!(outcome, Err(Failure::Ended)) {
            sys::set_options(pid, options)?;
        }
        outcome.map(|()| 0)
    }

    /// Puts the object into a program that begins from `start`.
    fn put_by_guest(&self, guest: &mut Guest, start: &Start) -> Result<(), Failure> {
        match &self.kernel {
            #[cfg(target_arch = "x86_64")]
            _ if start.is_i386 => match &self.i386 {
                Some(target) => target.install(guest, start.vdso),
                None => Err(Unserved::NotNative.into()),
            },
            Some(kernel) => {
                let functions = kernel.functions(start.vdso);
                install(guest, &self.object, functions, start).map(drop)
            }
            None => Err(Unserved::NoVdso.into()),
        }
    }

    /// Delivers by the stub, as one change.
    fn deliver_at_once(
        &self,
        pid: Pid,
        start: &Start,
        memory: Memory,
        options: c_int,
    ) -> Result<c_int, Failure> {
        let &Start {
            registers, vdso, ..
        } = start;
        let during = options | libc::PTRACE_O_EXITKILL;
        if start.is_filtered {
            let suspended = sys::set_options(pid, during | sys::SUSPEND_SECCOMP);
            suspended.map_err(|_| Unserved::Filtered)?;
        } else {
            sys::set_options(pid, during)?;
        }
        let blocked = sys::blocked(pid)?;
        // All of them: the trap that ends the stub is forced on the thread all the same, and
        // no signal has a handler yet that the kernel could reset (kernel/signal.c,
        // `force_sig_info_to_task`).
        sys::set_blocked(pid, u64::MAX)?;

        let scratch_end = arch::stack_pointer(&registers) - arch::RED_ZONE;
        let mut visit = Visit {
            pid,
            memory,
            registers,
            home: vdso,
            scratch_end,
            blocked,
            signals: Vec::new(),
        };
        let outcome = match &self.kernel {
            #[cfg(target_arch = "x86_64")]
            _ if start.is_i386 => self.put_i386(&mut visit),
            Some(kernel) => put(&mut visit, &self.object, kernel, start).map(drop),
            None => Err(Unserved::NoVdso.into()),
        };
        if matches!(outcome, Err(Failure::Ended)) {
            return Err(Failure::Ended);
        }
        arch::leave_syscall(&mut visit.registers);
        visit.restore()?;
        sys::set_options(pid, options)?;
        outcome?;
        // All signals but SIGSTOP were blocked.
        let signals = visit.take_signals()?;
        Ok(signals.first().map_or(0, SignalInfo::number))
    }

    /// Puts the object for 32-bit programs into one.
    #[cfg(target_arch = "x86_64")]
    fn put_i386(&self, visit: &mut Visit) -> Result<(), Failure> {
        let Some(target) = &self.i386 else {
            return Err(Unserved::NotNative.into());
        };
        let selector = std::mem::replace(&mut visit.registers.cs, arch::USER_CODE);
        let outcome = target.put(visit);
        visit.registers.cs = selector;
        outcome
    }
}

/// Runs [`install`] by the stub, which lies in the kernel's vDSO meanwhile.
fn put(
    visit: &mut Visit,
    object: &Object,
    kernel: &KernelVdso,
    start: &Start,
) -> Result<u64, Failure> {
    let (stub, vdso) = (arch::stub(), visit.home);
    visit.memory.write(vdso, stub)?;
    let outcome = install(visit, object, kernel.functions(vdso), start);
    let restored = visit.memory.write(vdso, &kernel.bytes()[..stub.len()]);
    restored.or_else(|error| whole(visit.pid, Err(error.into())))?;
    outcome
}

/// Maps `object`, fills its links with the addresses of the kernel's `functions`, and writes its address
/// into the auxiliary vector of the program that begins from `start`.
///
/// On an error the process is as it was. If undoing fails too, the process is ended rather than begun
/// half-changed.
fn install(
    caller: &mut impl Caller,
    object: &Object,
    functions: impl Iterator<Item = u64>,
    start: &Start,
) -> Result<u64, Failure> {
    let &Start {
        slot, vdso, saved, ..
    } = start;
    let address = caller.map(&object.places())?;
    let mut is_said = false;
    let outcome = (|| {
        for (word, value) in object.linked(address, functions) {
            caller.memory().write_word(word, value)?;
        }
        caller.memory().write_word(slot, address)?;
        is_said = true;
        save_auxiliary(caller, &saved)
    })();
    if let Err(error) = outcome {
        // Not before: nothing may name memory that is not mapped.
        if is_said {
            let unsaid = caller.memory().write_word(slot, vdso);
            let unsaid = unsaid.map_err(Failure::from);
            let unsaid = unsaid.and_then(|()| save_auxiliary(caller, &saved));
            whole(caller.pid(), unsaid)?;
        }
        let unmapped = caller.call(number::MUNMAP, [address, object.length(), 0, 0, 0, 0]);
        whole(caller.pid(), unmapped.map(drop).map_err(Failure::from))?;
        return Err(error);
    }
    Ok(address)
}

/// Sets the kernel's copy of the auxiliary vector, which `/proc/PID/auxv`, prctl(PR_GET_AUXV) and
/// core dumps show, to that of the program's stack. Kernels without CONFIG_CHECKPOINT_RESTORE
/// refuse that; the copy then stays as it was.
fn save_auxiliary(caller: &mut impl Caller, saved: &MemoryMap) -> Result<(), Failure> {
    if saved[0] == 0 {
        return Ok(());
    }
    let bytes: Vec<u8> = saved.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let at = caller.scratch(bytes.len());
    caller.memory().write(at, &bytes)?;
    let (request, length) = (libc::PR_SET_MM_MAP as u64, bytes.len() as u64);
    let arguments = [libc::PR_SET_MM as u64, request, at, length, 0, 0];
    match caller.call(number::PRCTL, arguments) {
        Ok(_) | Err(StubError::Refused(_)) => Ok(()),
        Err(StubError::Failure(failure)) => Err(failure),
    }
}

/// Ends the process if `outcome`, that of undoing a change, is an error.
fn whole(pid: Pid, outcome: Result<(), Failure>) -> Result<(), Failure> {
    outcome.map_err(|_| {
        sys::kill(pid);
        Failure::Ended
    })
}

/// Reads as much of the stack as it takes to find the auxiliary vector.
fn auxiliary(memory: &Memory, stack_pointer: u64, width: Width) -> Result<Auxiliary, Failure> {
    let mut stack = vec![0; PAGE as usize];
    loop {
        let got = memory.read(stack_pointer, &mut stack)?;
        match stack::auxiliary(&stack[..got], width) {
            Ok(found) => return Ok(found),
            Err(StackError::NeedMore) if got == stack.len() && got < STACK_LIMIT => {
                stack.resize(got * 4, 0);
            }
            Err(_) => return Err(Unserved::NotNative.into()),
        }
    }
}

#[cfg(test)]
mod tests;
