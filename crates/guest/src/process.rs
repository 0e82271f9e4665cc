//! The page of a process.

use vdsokit_vvar::process::{MAGIC, PID, PPID, VALID};

use crate::page::{Page, WORDS};

/// The facts of a process that its page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The result of getpid(2) in it.
    pub pid: u32,
    /// The result of getppid(2) in it.
    pub ppid: u32,
}

/// Keeps the page of one address space: the facts of the process that it belongs to, which the
/// image's `vdso_getpid` and `vdso_getppid` read without a system call.
///
/// A kernel that has such pages maps one into every address space, read-only, at
/// [`Plan::process`](crate::Plan::process), and says so once at boot with
/// [`Publisher::process_pages`](crate::Publisher::process_pages).
///
/// | event | what the kernel calls |
/// | --- | --- |
/// | `execve` | [`new`](Self::new) with a new frame |
/// | `fork` | `new` with a new frame for the child, mapped at the same place: this page is never shared and never copied |
/// | the parent ends, and the process gets another | [`set_parent`](Self::set_parent), before the end can be noticed |
/// | `vfork`, `clone` with `CLONE_VM` and without `CLONE_THREAD` | [`share`](Self::share), before the child first runs |
/// | that child's `execve` or end | [`unshare`](Self::unshare), when its last thread has left the address space |
///
/// # Why it is right through vfork
/// Between `vfork` and `execve` two processes run in one address space, and other threads of the
/// parent run meanwhile. No page can have the facts of both. So while an address space is shared,
/// its page says that the facts are the system call's. A thread that has read *valid* just before
/// `share` belongs to the process whose facts it reads next; and the child, which first runs after
/// `share`, reads *not valid*. Where the CPU tells its number without a system call, a
/// [`Slot`](crate::Slot) answers both meanwhile.
#[derive(Debug)]
pub struct Process<P> {
    page: P,
    facts: Facts,
    /// How many other processes run in the address space.
    others: u32,
}

impl<P: Page> Process<P> {
    /// Initialises the page of a process, before it is mapped.
    pub fn new(page: P, facts: Facts) -> Self {
        for index in 0..WORDS {
            page.store(index, 0);
        }
        page.store(0, MAGIC);
        let process = Self {
            page,
            facts,
            others: 0,
        };
        process.store();
        process
    }

    /// The page.
    pub fn page(&self) -> &P {
        &self.page
    }

    /// The process has another parent. One store: a reader has the old id or the new one.
    pub fn set_parent(&mut self, ppid: u32) {
        self.facts.ppid = ppid;
        self.page.store(PPID / 8, ppid.into());
    }

    /// Another process is about to run in this address space.
    pub fn share(&mut self) {
        self.others = self.others.saturating_add(1);
        self.page.store(VALID / 8, 0);
        // The child's first instruction comes later by what starts it: the kernel's run queue.
        self.page.fence();
    }

    /// That process runs in this address space no longer.
    pub fn unshare(&mut self) {
        self.others = self.others.saturating_sub(1);
        self.store();
    }

    /// The first process has ended, and another one that shared its address space lives on there:
    /// its facts are the page's from now on.
    pub fn pass_to(&mut self, facts: Facts) {
        self.facts = facts;
        self.unshare();
    }

    fn store(&self) {
        if self.others > 0 {
            return;
        }
        self.page.store(PID / 8, self.facts.pid.into());
        self.page.store(PPID / 8, self.facts.ppid.into());
        self.page.fence();
        self.page.store(VALID / 8, 1);
    }
}
