//! A user of `getrandom`, as a C library is one.

use super::image::Loaded;
use std::ffi::c_void;
use std::ptr::null_mut;
use vdsokit_random::{Parameters, State};

pub(crate) type Call = unsafe extern "C" fn(*mut c_void, usize, u32, *mut c_void, usize) -> isize;

/// Asks what states are like.
pub(crate) fn query(call: Call, parameters: &mut Parameters) -> isize {
    // SAFETY: the query writes the parameters there.
    unsafe { call(null_mut(), 0, 0, (&raw mut *parameters).cast(), usize::MAX) }
}

/// One thread, with its state.
pub(crate) struct User {
    pub(crate) function: Call,
    pub(crate) state: *mut State,
    size: usize,
}

impl User {
    /// As a C library begins.
    pub(crate) fn new(loaded: &Loaded) -> Self {
        let function = loaded.calls.getrandom;
        let mut parameters = Parameters::default();
        assert_eq!(query(function, &mut parameters), 0);
        let (protection, flags) = (parameters.protection as i32, parameters.flags as i32);
        // SAFETY: a new mapping; it stays as long as the process.
        let state = unsafe {
            let mut state = libc::mmap(null_mut(), 4096, protection, flags, -1, 0);
            if state == libc::MAP_FAILED {
                // Before Linux 6.11: what a fork does is the same.
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                state = libc::mmap(null_mut(), 4096, protection, flags, -1, 0);
                assert_ne!(state, libc::MAP_FAILED);
                assert_eq!(libc::madvise(state, 4096, libc::MADV_WIPEONFORK), 0);
            }
            state.cast()
        };
        Self {
            function,
            state,
            size: parameters.size as usize,
        }
    }

    pub(crate) fn call(&mut self, buffer: &mut [u8], flags: u32) -> isize {
        // SAFETY: the buffer and the state are as long as is said.
        unsafe {
            (self.function)(
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                flags,
                self.state.cast(),
                self.size,
            )
        }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        assert_eq!(self.call(&mut bytes, 0), length as isize);
        bytes
    }

    /// Eight bytes, with a state that may not be one.
    pub(crate) fn with(&self, state: *mut State, size: usize) -> isize {
        let mut bytes = [0u8; 8];
        // SAFETY: the buffer is as long as is said; the state is not to be touched.
        unsafe { (self.function)(bytes.as_mut_ptr().cast(), 8, 0, state.cast(), size) }
    }

    /// What lies in the state.
    pub(crate) fn memory(&self) -> [u8; size_of::<State>()] {
        // SAFETY: the state is mapped for as long as `self`, and no other thread writes it.
        unsafe {
            self.state
                .cast::<[u8; size_of::<State>()]>()
                .read_volatile()
        }
    }
}
