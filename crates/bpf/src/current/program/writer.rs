//! The code that finds a slot and stores the facts of a task in it.

use super::super::fields::Fields;
use super::{Code, EXITING, KERNEL_THREAD, LINKS, Maps, Slots, Users, frame};
use crate::asm::{Assembler, Helper, Label, Operation, Register, When, Width};
use Register::{R0, R1, R2, R3, R6, R7, R8, R9, R10};
use std::mem::offset_of;
use vdsokit_current::{Head, LINE, Slot};

/// R6 is the task, R7 the CPU's place in the slots, R8 the level of the task's PID namespace, R9 the
/// slot.
pub(super) struct Writer<'f> {
    pub(super) asm: Assembler,
    maps: Maps<'f>,
    fields: &'f Fields,
}

impl<'f> Writer<'f> {
    pub(super) fn new(maps: Maps<'f>, fields: &'f Fields) -> Self {
        Self {
            asm: Assembler::default(),
            maps,
            fields,
        }
    }

    pub(super) fn finish(mut self, end: Label) -> Code {
        self.asm.place(end);
        self.asm.exit();
        self.asm.finish()
    }

    /// Leaves the offset of this CPU's slot in R7.
    pub(super) fn cpu(&mut self, end: Label) {
        self.asm.call(Helper::GetSmpProcessorId);
        self.asm.register(Operation::Move, R7, R0);
        // For the verifier, which has to know that slots are inside of their map.
        self.asm.jump_if(R7, When::NotBelow, self.maps.cpus, end);
        self.asm
            .immediate(Operation::ShiftLeft, R7, LINE.ilog2().cast_signed());
    }

    /// Leaves the slot in R9; clears it for a kernel thread and jumps to `end`.
    pub(super) fn switch_in_world(&mut self, slots: i32, end: Label) {
        let user = self.asm.label();
        self.asm.map_value(R9, slots, 0);
        self.asm.register(Operation::Add, R9, R7);
        self.kernel_thread_flag();
        self.asm.jump_if(R1, When::Equal, 0, user);
        self.clear(end);
        self.asm.jump(end);
        self.asm.place(user);
    }

    /// Leaves the slot of the task's user in R9, and clears the slot of the user before on this CPU if that
    /// was another; jumps to `end` for kernel threads, and for users without slots.
    pub(super) fn switch_between_users(&mut self, users: Users<'_>, end: Label) {
        let (known, same, clear_done) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.immediate(Operation::Move, R8, 0);
        self.kernel_thread_flag();
        self.asm.jump_if(R1, When::NotEqual, 0, known);
        self.asm.load(Width::W8, R1, R6, self.fields.task.real_cred);
        self.asm.load(Width::W4, R8, R1, self.fields.uid);
        self.asm.immediate(Operation::Add, R8, 1);
        self.asm.place(known);
        self.last_user();
        self.asm.load(Width::W8, R2, R1, 0);
        self.asm.jump_if_register(R2, When::Equal, R8, same);
        self.asm.store(Width::W8, R1, 0, R8);
        self.asm.jump_if(R2, When::Equal, 0, same);
        // A task that keeps the pages of a user that it no longer is must not find an old slot there.
        self.user_slot(users, R2, clear_done);
        self.clear(clear_done);
        self.asm.place(clear_done);
        self.asm.place(same);
        self.asm.jump_if(R8, When::Equal, 0, end);
        self.user_slot(users, R8, end);
    }

    /// The slot that the running task was switched in with, in R9: not that of the user that it is now.
    pub(super) fn current_slot(&mut self, end: Label) {
        match self.maps.slots {
            Slots::World(slots) => {
                self.asm.map_value(R9, slots, 0);
                self.asm.register(Operation::Add, R9, R7);
            }
            Slots::Users(users) => {
                self.last_user();
                self.asm.load(Width::W8, R2, R1, 0);
                self.asm.jump_if(R2, When::Equal, 0, end);
                self.user_slot(users, R2, end);
            }
        }
    }

    /// Leaves the address of this CPU's word in the control map in R1.
    fn last_user(&mut self) {
        self.asm.map_value(R1, self.maps.control, 8 * LINKS as u32);
        self.asm.register(Operation::Move, R2, R7);
        // From 128 bytes each to 8.
        self.asm.immediate(Operation::ShiftRight, R2, 4);
        self.asm.register(Operation::Add, R1, R2);
    }

    /// Leaves the slot of the user whose number is one less than `user` in R9.
    fn user_slot(&mut self, users: Users<'_>, user: Register, none: Label) {
        match users {
            Users::Few(slots) => {
                let found = self.asm.label();
                for &(id, map) in slots {
                    let next = self.asm.label();
                    self.asm.constant(R1, u64::from(id) + 1);
                    self.asm.jump_if_register(user, When::NotEqual, R1, next);
                    self.asm.map_value(R9, map, 0);
                    self.asm.jump(found);
                    self.asm.place(next);
                }
                self.asm.jump(none);
                self.asm.place(found);
            }
            Users::Many(users) => {
                self.asm.register(Operation::Move, R1, user);
                self.asm.immediate(Operation::Add, R1, -1);
                self.asm.store(Width::W4, R10, frame::KEY, R1);
                self.asm.map(R1, users);
                self.look_up(none);
                self.asm.immediate(Operation::Move, R1, 0);
                self.asm.store(Width::W4, R10, frame::KEY, R1);
                self.asm.register(Operation::Move, R1, R0);
                self.look_up(none);
                self.asm.register(Operation::Move, R9, R0);
            }
        }
        self.asm.register(Operation::Add, R9, R7);
    }

    /// Looks the key in the frame up in the map in R1.
    fn look_up(&mut self, none: Label) {
        self.asm.register(Operation::Move, R2, R10);
        self.asm.immediate(Operation::Add, R2, frame::KEY.into());
        self.asm.call(Helper::MapLookupElem);
        self.asm.jump_if(R0, When::Equal, 0, none);
    }

    /// Leaves something other than 0 in R1 for a kernel thread.
    fn kernel_thread_flag(&mut self) {
        self.asm.load(Width::W4, R1, R6, self.fields.task.flags);
        self.asm.immediate(Operation::And, R1, KERNEL_THREAD);
    }

    /// Raises the number before any fact is stored. Stores of one CPU are seen in order on x86-64.
    pub(super) fn raise_sequence(&mut self) {
        self.asm.load(Width::W8, R1, R9, at!(Slot.sequence));
        self.asm.immediate(Operation::Add, R1, 1);
        self.asm.store(Width::W8, R9, at!(Slot.sequence), R1);
    }

    /// Removes all facts from the slot, unless that was done before.
    fn clear(&mut self, done: Label) {
        self.asm.load(Width::W4, R1, R9, at!(Slot.tid));
        self.asm.jump_if(R1, When::Equal, 0, done);
        self.raise_sequence();
        self.asm.immediate(Operation::Move, R1, 0);
        for (at, width) in [
            (at!(Slot.tid), Width::W4),
            (at!(Slot.pid), Width::W4),
            (at!(Slot.parent), Width::W4),
            (at!(Slot.parent_known), Width::W4),
            (at!(Slot.relations), Width::W8),
            (at!(Slot.sum), Width::W8),
            (at!(Slot.start), Width::W8),
            (at!(Slot.group_sum), Width::W8),
            (at!(Slot.voluntary), Width::W8),
            (at!(Slot.involuntary), Width::W8),
            (at!(Slot.run_delay), Width::W8),
        ] {
            self.asm.store(width, R9, at, R1);
        }
    }

    /// Stores the ids, and leaves the level of the PID namespace in R8: ids at level 0 are
    /// copies in the task itself.
    pub(super) fn ids(&mut self) {
        let (task, pid) = (&self.fields.task, &self.fields.pid);
        let (nested, unknown, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.load(Width::W8, R1, R6, task.thread_pid);
        self.asm.load(Width::W4, R8, R1, pid.level);
        self.asm.jump_if(R8, When::NotEqual, 0, nested);
        self.asm.load(Width::W4, R1, R6, task.pid);
        self.asm.store(Width::W4, R9, at!(Slot.tid), R1);
        self.asm.load(Width::W4, R1, R6, task.tgid);
        self.asm.store(Width::W4, R9, at!(Slot.pid), R1);
        self.asm.jump(done);

        self.asm.place(nested);
        // The place of the level's id in any `struct pid`.
        self.asm.register(Operation::Move, R7, R8);
        self.asm
            .immediate(Operation::Multiply, R7, pid.stride.into());
        self.asm.immediate(Operation::Add, R7, pid.numbers.into());
        self.read(8, frame::OWN, R6, task.thread_pid, unknown);
        self.read_number(4, frame::NUMBER, frame::OWN, 0, unknown);
        self.read(8, frame::OTHER, R6, task.signal, unknown);
        self.follow(frame::OTHER, self.fields.signal.process, unknown);
        self.asm.load(Width::W4, R1, R10, frame::NUMBER);
        self.asm.store(Width::W4, R9, at!(Slot.tid), R1);
        self.read_number(4, frame::NUMBER, frame::OTHER, 0, unknown);
        self.asm.load(Width::W4, R1, R10, frame::NUMBER);
        self.asm.store(Width::W4, R9, at!(Slot.pid), R1);
        self.asm.jump(done);
        self.asm.place(unknown);
        self.asm.immediate(Operation::Move, R1, 0);
        self.asm.store(Width::W4, R9, at!(Slot.tid), R1);
        self.asm.place(done);
    }

    /// Stores the parent's id and the count of exits before it was looked up.
    pub(super) fn parent(&mut self) {
        let task = &self.fields.task;
        let (nested, none, unknown) = (self.asm.label(), self.asm.label(), self.asm.label());
        let (store, done) = (self.asm.label(), self.asm.label());
        let relations = offset_of!(Head, relations) as u32;
        self.asm.map_value(R1, self.maps.head, relations);
        self.asm.load(Width::W8, R1, R1, 0);
        self.asm.store(Width::W8, R9, at!(Slot.relations), R1);
        self.asm.jump_if(R8, When::NotEqual, 0, nested);
        self.asm.load(Width::W8, R1, R6, task.real_parent);
        self.asm.load(Width::W4, R2, R1, task.tgid);
        self.asm.jump(store);

        self.asm.place(nested);
        self.read(8, frame::OTHER, R6, task.real_parent, unknown);
        self.follow(frame::OTHER, task.signal, unknown);
        self.follow(frame::OTHER, self.fields.signal.process, unknown);
        // A parent in an outer namespace has no id in this one, and getppid(2) returns 0.
        self.asm.load(Width::W8, R1, R10, frame::OTHER);
        self.read(4, frame::NUMBER, R1, self.fields.pid.level, unknown);
        self.asm.load(Width::W4, R1, R10, frame::NUMBER);
        self.asm.jump_if_register(R1, When::Below, R8, none);
        let namespace = self.fields.pid.namespace;
        self.read_number(8, frame::NAMESPACE, frame::OWN, namespace, unknown);
        self.read_number(8, frame::KEY, frame::OTHER, namespace, unknown);
        self.asm.load(Width::W8, R1, R10, frame::NAMESPACE);
        self.asm.load(Width::W8, R2, R10, frame::KEY);
        self.asm.jump_if_register(R1, When::NotEqual, R2, none);
        self.read_number(4, frame::NUMBER, frame::OTHER, 0, unknown);
        self.asm.load(Width::W4, R2, R10, frame::NUMBER);
        let own_parent = self.asm.label();
        self.asm.jump(own_parent);
        self.asm.place(none);
        self.asm.immediate(Operation::Move, R2, 0);
        self.asm.place(own_parent);
        self.asm.load(Width::W8, R1, R6, task.real_parent);

        self.asm.place(store);
        self.asm.store(Width::W4, R9, at!(Slot.parent), R2);
        // Loaded after the id: a parent that is not exiting now had its children then.
        self.asm.load(Width::W4, R2, R1, task.flags);
        self.asm.immediate(Operation::ShiftRight, R2, EXITING);
        self.asm.immediate(Operation::And, R2, 1);
        self.asm.immediate(Operation::Move, R1, 1);
        self.asm.register(Operation::Subtract, R1, R2);
        self.asm.store(Width::W4, R9, at!(Slot.parent_known), R1);
        self.asm.jump(done);
        self.asm.place(unknown);
        self.asm.immediate(Operation::Move, R1, 0);
        self.asm.store(Width::W4, R9, at!(Slot.parent_known), R1);
        self.asm.place(done);
    }

    /// Stores the thread's CPU time, and leaves when it came in in R8.
    pub(super) fn cpu_time(&mut self) {
        let task = &self.fields.task;
        for (from, to, register) in [
            (task.sum, at!(Slot.sum), R1),
            (task.start, at!(Slot.start), R8),
        ] {
            self.asm.load(Width::W8, register, R6, from);
            self.asm.store(Width::W8, R9, to, register);
        }
        self.group_sum();
    }

    /// Stores the CPU time of threads that have ended, if one is left.
    pub(super) fn group_sum(&mut self) {
        let (several, store) = (self.asm.label(), self.asm.label());
        self.asm.load(Width::W8, R1, R6, self.fields.task.signal);
        // The count first: a thread that ends adds to the sum before it leaves (`__exit_signal`).
        self.asm.load(Width::W4, R2, R1, self.fields.signal.threads);
        self.asm.jump_if(R2, When::NotEqual, 1, several);
        self.asm.load(Width::W8, R1, R1, self.fields.signal.sum);
        self.asm.jump(store);
        self.asm.place(several);
        self.asm.immediate(Operation::Move, R1, -1);
        self.asm.place(store);
        self.asm.store(Width::W8, R9, at!(Slot.group_sum), R1);
    }

    /// Stores context switches and run delay. Where there is one clock, R8 is its present value.
    pub(super) fn counts(&mut self, one_clock: bool) {
        let task = &self.fields.task;
        for (from, to) in [
            (task.voluntary, at!(Slot.voluntary)),
            (task.involuntary, at!(Slot.involuntary)),
        ] {
            self.asm.load(Width::W8, R1, R6, from);
            self.asm.store(Width::W8, R9, to, R1);
        }
        // The kernel adds the wait that ends now behind the tracepoint (`sched_info_arrive`).
        let settled = self.asm.label();
        self.asm.load(Width::W8, R7, R6, task.run_delay);
        self.asm.load(Width::W8, R1, R6, task.last_queued);
        self.asm.jump_if(R1, When::Equal, 0, settled);
        self.asm.register(Operation::Subtract, R7, R1);
        // Linux 6.1 takes some 25 instructions for the helper and the load.
        if !one_clock {
            self.asm.variable(R1, self.fields.runqueues);
            self.asm.call(Helper::ThisCpuPtr);
            self.asm.load(Width::W8, R8, R0, self.fields.rq_clock);
        }
        self.asm.register(Operation::Add, R7, R8);
        self.asm.place(settled);
        self.asm.store(Width::W8, R9, at!(Slot.run_delay), R7);
    }

    /// Replaces the pointer in the frame by one that lies `offset` bytes behind it.
    fn follow(&mut self, pointer: i16, offset: i16, fail: Label) {
        self.asm.load(Width::W8, R1, R10, pointer);
        self.read(8, pointer, R1, offset, fail);
    }

    /// Reads from the level's id in the `struct pid` to which the pointer in the frame leads.
    fn read_number(&mut self, size: i32, to: i16, pid: i16, offset: i16, fail: Label) {
        self.asm.load(Width::W8, R3, R10, pid);
        self.asm.register(Operation::Add, R3, R7);
        self.read(size, to, R3, offset, fail);
    }

    /// Reads safely from an address to the frame. Changes R0 to R5.
    fn read(&mut self, size: i32, to: i16, from: Register, offset: i16, fail: Label) {
        self.asm.register(Operation::Move, R3, from);
        self.asm.immediate(Operation::Add, R3, offset.into());
        self.asm.register(Operation::Move, R1, R10);
        self.asm.immediate(Operation::Add, R1, to.into());
        self.asm.immediate(Operation::Move, R2, size);
        self.asm.call(Helper::ProbeReadKernel);
        self.asm.jump_if(R0, When::NotEqual, 0, fail);
    }
}
