//! Which frame belongs to which thread.

use std::collections::HashMap;

use vdsokit_waits::gate::FRAMES;

use crate::sys::Pid;

/// The most calls of one thread that are under way: a call in a handler that interrupted a call.
/// One that a handler left by longjmp(3) stays in the list until then.
const NESTED: usize = 8;

/// The frames of a tree, each with what is known of its call.
#[derive(Debug)]
pub(crate) struct Frames<T> {
    free: Vec<usize>,
    used: HashMap<Pid, Vec<(usize, T)>>,
}

impl<T> Default for Frames<T> {
    fn default() -> Self {
        Frames {
            free: (0..FRAMES as usize).rev().collect(),
            used: HashMap::new(),
        }
    }
}

impl<T> Frames<T> {
    /// A frame for a new call of `thread`, known as `call`. `is_under_way` says of a frame whether
    /// its call is. `None`: there is none left.
    pub(crate) fn take(
        &mut self,
        thread: Pid,
        call: T,
        is_under_way: impl Fn(&T, usize) -> bool,
    ) -> Option<usize> {
        let calls = self.used.entry(thread).or_default();
        while let Some((frame, call)) = calls.last() {
            if calls.len() < NESTED && is_under_way(call, *frame) {
                break;
            }
            self.free.push(*frame);
            calls.pop();
        }
        if self.free.is_empty() {
            self.reclaim();
        }
        let frame = self.free.pop()?;
        self.used.entry(thread).or_default().push((frame, call));
        Some(frame)
    }

    /// Takes back the frames of threads that have ended.
    fn reclaim(&mut self) {
        let free = &mut self.free;
        self.used.retain(|thread, calls| {
            let lives = std::path::Path::new(&format!("/proc/{thread}")).exists();
            if !lives {
                free.extend(calls.iter().map(|(frame, _)| frame));
            }
            lives
        });
    }

    /// Replaces what is known of the call that has `frame`.
    pub(crate) fn replace(&mut self, thread: Pid, frame: usize, call: T) {
        let calls = self.used.entry(thread).or_default();
        if let Some((_, known)) = calls.iter_mut().find(|(number, _)| *number == frame) {
            *known = call;
        }
    }

    /// The call of `thread` that has `frame`.
    pub(crate) fn get(&self, thread: Pid, frame: usize) -> Option<&T> {
        let calls = self.used.get(&thread)?;
        let call = calls.iter().find(|(number, _)| *number == frame);
        call.map(|(_, call)| call)
    }

    /// Forgets the calls for which `is_under_way` does not hold.
    pub(crate) fn retain(&mut self, mut is_under_way: impl FnMut(Pid, usize, &T) -> bool) {
        let free = &mut self.free;
        self.used.retain(|&thread, calls| {
            calls.retain(|(frame, call)| {
                let stays = is_under_way(thread, *frame, call);
                if !stays {
                    free.push(*frame);
                }
                stays
            });
            !calls.is_empty()
        });
    }

    /// All calls that may be under way.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Pid, usize, &T)> {
        let threads = self.used.iter();
        threads.flat_map(|(&thread, calls)| {
            let calls = calls.iter();
            calls.map(move |(frame, call)| (thread, *frame, call))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_frame_and_a_nested_call_has_another() {
        let mut frames = Frames::default();
        let first = frames.take(1, "outer", |_, _| true).expect("a frame");
        let nested = frames.take(1, "inner", |_, _| true).expect("a frame");
        assert_ne!(first, nested);
        assert_eq!(frames.get(1, nested), Some(&"inner"));
        let again = frames.take(1, "next", |_, _| false).expect("a frame");
        assert!(again == first || again == nested);
        assert_eq!(frames.iter().count(), 1);
        assert_ne!(frames.take(2, "other", |_, _| true), Some(again));
    }

    #[test]
    fn what_a_handler_left_for_good_is_given_up() {
        let mut frames = Frames::default();
        for _ in 0..FRAMES * 2 {
            assert!(frames.take(1, (), |_, _| true).is_some());
        }
        assert!(frames.iter().count() <= NESTED);
        frames.retain(|_, _, _| false);
        assert_eq!(frames.iter().count(), 0);
    }

    #[test]
    fn frames_of_threads_that_ended_are_used_again() {
        let mut frames = Frames::default();
        // Beyond the largest id.
        let dead = 1 << 23;
        for thread in 0..FRAMES as Pid {
            assert!(frames.take(dead + thread, (), |_, _| true).is_some());
        }
        assert!(frames.take(1, (), |_, _| true).is_some());
    }
}
