//! The programs that fill the slots.
//!
//! Those on tracepoints run with preemption disabled (`__DO_TRACE` in include/linux/tracepoint.h),
//! so the kernel never skips one because the same program was interrupted on that CPU. That is not so for
//! programs on functions, which `migrate_disable` alone protects: with kernel preemption a task that
//! is preempted inside one makes other tasks' runs on the CPU be skipped. So no fact of a slot
//! depends on one. In particular there are no user and group ids, which only `commit_creds` would
//! keep up to date.

/// An offset in a head or slot, all of which are small.
macro_rules! at {
    ($of:ident . $field:ident) => {
        offset_of!($of, $field) as i16
    };
}

mod writer;

use super::fields::Fields;
use crate::Error;
use crate::asm::{Assembler, Operation, Register, When, Width};
use std::mem::offset_of;
use vdsokit_current::{Head, LIVE, RETIRED, Slot};

use Register::{R1, R2, R6, R9};
use writer::Writer;

/// `PF_EXITING` in include/linux/sched.h; its bit's number.
const EXITING: i32 = 2;
/// `PF_KTHREAD` in include/linux/sched.h; the idle tasks have it too.
const KERNEL_THREAD: i32 = 0x0020_0000;
/// `CLONE_THREAD` in include/uapi/linux/sched.h.
const CLONE_THREAD: i32 = 0x0001_0000;

/// How many links a publisher has, at most.
pub(super) const LINKS: usize = 8;

/// The control map: the links' numbers, then for each CPU one more than the user whose slot was
/// written last there, 0 for none.
pub(super) const fn control_size(cpus: usize) -> usize {
    8 * (LINKS + cpus)
}

/// Where slots are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slots<'m> {
    /// In one map for everybody.
    World(i32),
    /// In a map for each user.
    Users(Users<'m>),
}

/// How the map of a user is found, by real user id.
#[derive(Debug, Clone, Copy)]
pub(super) enum Users<'m> {
    /// The programs compare with each of these.
    Few(&'m [(u32, i32)]),
    /// In this map of maps.
    Many(i32),
}

impl Users<'_> {
    /// For how many users programs compare: as many comparisons take fewer instructions than the two
    /// lookups in a map of maps and in that map, which are some 200 on Linux 6.1.
    pub(super) const FEW: usize = 8;
}

/// What the programs store to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps<'m> {
    pub(super) head: i32,
    pub(super) slots: Slots<'m>,
    pub(super) control: i32,
    /// An upper bound of the CPUs' numbers.
    pub(super) cpus: i32,
}

type Code = Result<Vec<[u8; 8]>, Error>;

/// Offsets from the frame's end.
mod frame {
    pub(super) const KEY: i16 = -8;
    /// The thread's `struct pid`.
    pub(super) const OWN: i16 = -16;
    pub(super) const OTHER: i16 = -24;
    pub(super) const NUMBER: i16 = -32;
    pub(super) const NAMESPACE: i16 = -40;
}

/// On `sched_switch`: the task that comes in (argument 2). `one_clock`: the run queues' `clock` and
/// `clock_task` are the same, so that `exec_start` of that task is the present value of both.
pub(super) fn switch(maps: Maps<'_>, fields: &Fields, one_clock: bool) -> Code {
    let mut writer = Writer::new(maps, fields);
    let end = writer.asm.label();
    writer.asm.load(Width::W8, R6, R1, 16);
    writer.cpu(end);
    match maps.slots {
        Slots::World(slots) => writer.switch_in_world(slots, end),
        Slots::Users(users) => writer.switch_between_users(users, end),
    }
    writer.raise_sequence();
    writer.ids();
    writer.parent();
    writer.cpu_time();
    writer.counts(one_clock);
    writer.finish(end)
}

/// On `sched_process_exec` (argument 0 is the task): a thread that was not the leader has taken over the
/// leader's id, and is alone now.
pub(super) fn exec(maps: Maps<'_>, fields: &Fields) -> Code {
    let mut writer = Writer::new(maps, fields);
    let end = writer.asm.label();
    writer.asm.load(Width::W8, R6, R1, 0);
    writer.cpu(end);
    writer.current_slot(end);
    // Unknown stays unknown until the next switch.
    writer.asm.load(Width::W4, R1, R9, at!(Slot.tid));
    writer.asm.jump_if(R1, When::Equal, 0, end);
    writer.raise_sequence();
    writer.ids();
    writer.group_sum();
    writer.finish(end)
}

/// On `task_newtask` (argument 1 has the flags of clone): the running process is no longer one thread.
pub(super) fn new_task(maps: Maps<'_>, fields: &Fields) -> Code {
    let mut writer = Writer::new(maps, fields);
    let end = writer.asm.label();
    writer.asm.load(Width::W8, R1, R1, 8);
    writer.asm.immediate(Operation::And, R1, CLONE_THREAD);
    writer.asm.jump_if(R1, When::Equal, 0, end);
    writer.cpu(end);
    writer.current_slot(end);
    writer.asm.immediate(Operation::Move, R1, -1);
    writer.asm.store(Width::W8, R9, at!(Slot.group_sum), R1);
    writer.finish(end)
}

/// On `sched_process_exit`, which comes when the task has PF_EXITING and before its children have another parent
/// (`do_exit` in kernel/exit.c).
pub(super) fn exit(maps: Maps<'_>) -> Code {
    let mut asm = Assembler::default();
    asm.map_value(R1, maps.head, offset_of!(Head, relations) as u32);
    asm.immediate(Operation::Move, R2, 1);
    asm.atomic_add(R1, R2);
    asm.exit();
    asm.finish()
}

/// On the functions that release links (argument 0 is the link), before anything is detached: retires the pages
/// if the link is one of the publisher's.
pub(super) fn watch(maps: Maps<'_>, fields: &Fields) -> Code {
    let mut asm = Assembler::default();
    let (retire, end) = (asm.label(), asm.label());
    asm.load(Width::W8, R6, R1, 0);
    asm.load(Width::W4, R6, R6, fields.link_id);
    for number in 0..LINKS {
        asm.map_value(R1, maps.control, 8 * number as u32);
        asm.load(Width::W8, R1, R1, 0);
        asm.jump_if_register(R1, When::Equal, R6, retire);
    }
    asm.jump(end);
    asm.place(retire);
    store_state(&mut asm, maps.head, RETIRED);
    asm.place(end);
    asm.exit();
    asm.finish()
}

/// Run by hand when everything is attached. Pages that are retired already stay so.
pub(super) fn go_live(head: i32) -> Code {
    let mut asm = Assembler::default();
    let end = asm.label();
    asm.map_value(R1, head, offset_of!(Head, state) as u32);
    asm.load(Width::W4, R1, R1, 0);
    asm.jump_if(R1, When::NotEqual, 0, end);
    store_state(&mut asm, head, LIVE);
    asm.place(end);
    asm.exit();
    asm.finish()
}

/// Run by hand before anything is detached.
pub(super) fn retire(head: i32) -> Code {
    let mut asm = Assembler::default();
    store_state(&mut asm, head, RETIRED);
    asm.exit();
    asm.finish()
}

fn store_state(asm: &mut Assembler, head: i32, state: u32) {
    asm.map_value(R1, head, offset_of!(Head, state) as u32);
    asm.immediate(Operation::Move, R2, state.cast_signed());
    asm.store(Width::W4, R1, 0, R2);
}
