//! Sets of files to wait for: `epoll`. Every entry is level-triggered, `EPOLLET` or not: a program
//! that wants edges gets a report again for what it has not read.

use super::Open;
use crate::errno::Errno;
use crate::lock::Guarded;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use linux_raw_sys::general::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT};

struct Entry {
    open: Weak<Open>,
    events: u32,
    data: u64,
}

/// A set of files, by descriptor.
#[derive(Default)]
pub struct Epoll(BTreeMap<usize, Entry>);

/// An epoll's set as an open file has it.
pub type Set = Guarded<Epoll>;

impl Epoll {
    /// Adds, changes or removes a file.
    pub fn control(
        &mut self,
        operation: u32,
        descriptor: usize,
        open: &Arc<Open>,
        (events, data): (u32, u64),
    ) -> Result<(), Errno> {
        // An entry ends with its file; the descriptor may lead to another one by now.
        self.0.retain(|_, entry| entry.open.strong_count() > 0);
        let entry = Entry {
            open: Arc::downgrade(open),
            events,
            data,
        };
        let is_there = self.0.contains_key(&descriptor);
        match operation {
            EPOLL_CTL_ADD if is_there => return Err(Errno::EXISTS),
            EPOLL_CTL_MOD | EPOLL_CTL_DEL if !is_there => return Err(Errno::NOT_FOUND),
            EPOLL_CTL_ADD | EPOLL_CTL_MOD => drop(self.0.insert(descriptor, entry)),
            EPOLL_CTL_DEL => drop(self.0.remove(&descriptor)),
            _ => return Err(Errno::INVALID),
        }
        Ok(())
    }

    /// What is ready now, at most `most`: events and data.
    pub fn ready(&self, most: usize) -> Vec<(u32, u64)> {
        let ready = self.0.values().filter_map(|entry| {
            let (readable, writable) = entry.open.upgrade()?.is_ready();
            let bit = |is_ready: bool, event: u32| if is_ready { event } else { 0 };
            let events = entry.events & (bit(readable, EPOLLIN) | bit(writable, EPOLLOUT));
            (events != 0).then_some((events, entry.data))
        });
        ready.take(most).collect()
    }
}
