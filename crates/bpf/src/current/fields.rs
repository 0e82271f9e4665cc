//! Where the running kernel has what a slot is filled with.

use crate::btf::TypeId;
use crate::{Error, Kernel};

/// Offsets in the kernel's structures.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) task: Task,
    pub(super) pid: Pid,
    pub(super) signal: Signal,
    /// `cred.uid`.
    pub(super) uid: i16,
    /// `rq.clock`.
    pub(super) rq_clock: i16,
    /// The run queues.
    pub(super) runqueues: TypeId,
    /// `bpf_link.id`.
    pub(super) link_id: i16,
}

/// `struct task_struct`.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) flags: i16,
    pub(super) pid: i16,
    pub(super) tgid: i16,
    pub(super) thread_pid: i16,
    pub(super) signal: i16,
    pub(super) real_parent: i16,
    pub(super) real_cred: i16,
    pub(super) sum: i16,
    pub(super) start: i16,
    pub(super) voluntary: i16,
    pub(super) involuntary: i16,
    pub(super) run_delay: i16,
    pub(super) last_queued: i16,
}

/// `struct pid`, and `struct upid` within.
#[derive(Debug)]
pub(super) struct Pid {
    pub(super) level: i16,
    /// The first of the ids, one for each level of namespaces.
    pub(super) numbers: i16,
    /// Bytes of an id with its namespace.
    pub(super) stride: i16,
    /// The namespace within.
    pub(super) namespace: i16,
}

/// `struct signal_struct`.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) threads: i16,
    pub(super) sum: i16,
    /// The process's `struct pid`.
    pub(super) process: i16,
}

impl Fields {
    pub(super) fn of(kernel: &Kernel) -> Result<Self, Error> {
        let task = |path| kernel.member_offset("task_struct", path);
        let signal = |path| kernel.member_offset("signal_struct", path);
        let process = kernel.enumerator("PIDTYPE_TGID")?;
        Ok(Self {
            task: Task {
                flags: task("flags")?,
                pid: task("pid")?,
                tgid: task("tgid")?,
                thread_pid: task("thread_pid")?,
                signal: task("signal")?,
                real_parent: task("real_parent")?,
                real_cred: task("real_cred")?,
                sum: task("se.sum_exec_runtime")?,
                start: task("se.exec_start")?,
                voluntary: task("nvcsw")?,
                involuntary: task("nivcsw")?,
                run_delay: task("sched_info.run_delay")?,
                last_queued: task("sched_info.last_queued")?,
            },
            pid: Pid {
                level: kernel.member_offset("pid", "level")?,
                numbers: kernel.member_offset("pid", "numbers")?,
                stride: i16::try_from(kernel.structure_size("upid")?)
                    .map_err(|_| Error::TooMuch)?,
                namespace: kernel.member_offset("upid", "ns")?,
            },
            signal: Signal {
                threads: signal("nr_threads")?,
                sum: signal("sum_sched_runtime")?,
                process: signal(&format!("pids[{process}]"))?,
            },
            uid: kernel.member_offset("cred", "uid")?,
            rq_clock: kernel.member_offset("rq", "clock")?,
            runqueues: kernel.variable_of_each_cpu("runqueues")?,
            link_id: kernel.member_offset("bpf_link", "id")?,
        })
    }
}
