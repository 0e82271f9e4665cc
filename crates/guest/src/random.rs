//! Random bytes without a system call: the kernel's side.

use vdsokit_random::{Generation, page};

use crate::page::Page;

/// Publishes when the kernel's generator of random numbers got a new seed.
///
/// With it the image's `getrandom` makes bytes in the caller; without one it makes the system
/// call. What the kernel's generator has to do for that is in the documentation of
/// [`vdsokit_random`]. There is one for a page, under the lock of the generator's base key.
#[derive(Debug)]
pub struct Reseeds<P> {
    page: P,
    generation: Generation,
}

impl<P: Page> Reseeds<P> {
    /// Publishes that there will be generations. To be called after
    /// [`Publisher::new`](crate::Publisher::new) and before the first program starts: C libraries
    /// query once, at their start, whether the image has random bytes.
    pub fn new(page: P) -> Self {
        let reseeds = Self {
            page,
            generation: Generation::NOT_READY,
        };
        reseeds.store();
        reseeds
    }

    /// Publishes that the generator has a new base key: every reader gets a new key before it
    /// returns another byte.
    ///
    /// Call it *after* the base key was replaced. The first call makes the generator ready: call
    /// it when there is enough entropy, and never before.
    pub fn reseeded(&mut self) {
        self.generation = self.generation.next();
        self.store();
    }

    /// A reader that sees the generation and then makes the system call gets bytes of the base key
    /// that was stored before, or of a newer one.
    fn store(&self) {
        self.page.fence();
        self.page.store(page::OFFSET / 8, self.generation.to_word());
    }
}
