//! A kernel, a thread that asks, and what it should be told.

use chacha20::ChaCha20Legacy;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use std::cell::{Cell, RefCell};
use std::sync::atomic::AtomicU64;
use vdsokit_random::{Request, Reseeds, State, getrandom};

pub(crate) const SIZE: usize = size_of::<State>();

/// Seed number `n` of the simulated kernel.
pub(crate) fn seed(n: u8) -> [u8; 32] {
    std::array::from_fn(|at| (at as u8).wrapping_mul(17) ^ n.wrapping_add(1))
}

/// A kernel: its page's word, and a system call that is counted.
pub(crate) struct Kernel {
    pub(crate) word: AtomicU64,
    /// Length and flags of each call.
    pub(crate) calls: RefCell<Vec<(usize, u32)>>,
    pub(crate) answer: Cell<Option<isize>>,
}

impl Kernel {
    pub(crate) fn ready() -> Self {
        let kernel = Self {
            word: AtomicU64::new(0),
            calls: RefCell::default(),
            answer: Cell::new(None),
        };
        kernel.reseed();
        kernel
    }

    pub(crate) fn reseed(&self) {
        Reseeds::new(&self.word).reseeded();
    }

    pub(crate) fn system_call(&self, buffer: *mut u8, length: usize, flags: u32) -> isize {
        let number = self.calls.borrow().len() as u8;
        self.calls.borrow_mut().push((length, flags));
        if let Some(answer) = self.answer.get() {
            return answer;
        }
        let bytes = seed(number);
        for at in 0..length {
            // SAFETY: the caller of `getrandom` vouched for the buffer.
            unsafe { buffer.add(at).write(bytes[at % bytes.len()]) };
        }
        length as isize
    }

    pub(crate) fn count(&self) -> usize {
        self.calls.borrow().len()
    }
}

/// A thread with its state, within a page.
#[repr(C, align(4096))]
pub(crate) struct Thread {
    pub(crate) state: State,
    pub(crate) rest: [u8; 4096 - SIZE],
}

impl Thread {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            state: State::NEW,
            rest: [0; 4096 - SIZE],
        })
    }

    pub(crate) fn request(&mut self, buffer: &mut [u8]) -> Request {
        Request {
            buffer: buffer.as_mut_ptr(),
            length: buffer.len(),
            flags: 0,
            state: &raw mut self.state,
            state_length: SIZE,
        }
    }

    pub(crate) fn fill(&mut self, kernel: &Kernel, buffer: &mut [u8]) -> isize {
        let request = self.request(buffer);
        call(kernel, request)
    }

    pub(crate) fn bytes(&mut self, kernel: &Kernel, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        assert_eq!(self.fill(kernel, &mut bytes), length as isize);
        bytes
    }

    pub(crate) fn wipe(&mut self) {
        self.state = State::NEW;
    }

    /// What lies in memory.
    pub(crate) fn memory(&self) -> &[u8] {
        // SAFETY: a state has no padding.
        unsafe { std::slice::from_raw_parts((&raw const self.state).cast(), SIZE) }
    }
}

pub(crate) fn call(kernel: &Kernel, request: Request) -> isize {
    // SAFETY: pointers to this test's own memory, or such as the kernel is said to refuse.
    unsafe {
        getrandom(
            &kernel.word,
            |buffer, length, flags| kernel.system_call(buffer, length, flags),
            request,
        )
    }
}

/// What a state should give, by another implementation of the cipher.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) key: [u8; 32],
    pub(crate) batch: Vec<u8>,
}

impl Model {
    pub(crate) fn seeded(key: [u8; 32]) -> Self {
        Self { key, batch: vec![] }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![];
        loop {
            let some = self.batch.len().min(length - bytes.len());
            bytes.extend(self.batch.drain(..some));
            let left = length - bytes.len();
            if left == 0 {
                return bytes;
            }
            let mut stream = ChaCha20Legacy::new(&self.key.into(), &[0; 8].into());
            if left > 160 {
                let mut blocks = vec![0; left / 64 * 64];
                stream.apply_keystream(&mut blocks);
                bytes.extend(blocks);
            }
            let mut fresh = vec![0; 192];
            stream.apply_keystream(&mut fresh);
            self.key.copy_from_slice(&fresh[160..]);
            fresh.truncate(160);
            self.batch = fresh;
        }
    }
}
