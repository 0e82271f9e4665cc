//! The page of a kernel's own variables.

use vdsokit_vvar::header::{FORMAT, MAGIC, SIZE, State};

use crate::Image;
use crate::page::{Page, WORDS};

/// Keeps the page with the variables of a kernel's own crate, whose functions the image has besides
/// Linux's.
///
/// Such a crate is written with `vdsokit-rt`, as for `vdso build`: `vvars!` and `#[virtual_syscall]`.
/// The kernel's build names its directory in the environment variable `VDSOKIT_GUEST_CRATE` (in
/// `.cargo/config.toml`: `[env]`). Its variables are words of 8 bytes: `u64`, `i64` or `f64`.
///
/// The kernel maps the page, read-only and the same frame for all processes, at
/// [`Plan::variables`](crate::Plan::variables).
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use vdsokit_guest::{Image, Variables, WORDS};
///
/// let page = [const { AtomicU64::new(0) }; WORDS];
/// let image = Image::native().expect("an image for this architecture");
/// let variables = Variables::new(&page, image);
/// // This image has no crate of a kernel's own.
/// assert!(!variables.set("number", 616));
/// ```
#[derive(Debug)]
pub struct Variables<P> {
    page: P,
    all: &'static [(&'static str, usize, u64)],
}

impl<P: Page> Variables<P> {
    /// Initialises the page, before it is mapped: every variable has the value of its declaration.
    pub fn new(page: P, image: &'static Image) -> Self {
        for index in 0..WORDS {
            page.store(index, 0);
        }
        let all = image.variables;
        let end = all.last().map_or(SIZE, |(_, offset, _)| offset + 8);
        page.store(0, MAGIC);
        page.store(2, image.layout);
        page.store(3, all.len() as u64 | (end as u64) << 32);
        for (_, offset, value) in all {
            page.store(offset / 8, *value);
        }
        page.fence();
        page.store(1, u64::from(FORMAT) | (State::Live as u64) << 32);
        Self { page, all }
    }

    /// Publishes a value, by its bits: one store, after all that were made before. Whether there is a
    /// variable of that name.
    pub fn set(&self, name: &str, bits: u64) -> bool {
        let found = self.all.iter().find(|(variable, ..)| *variable == name);
        if let Some((_, offset, _)) = found {
            self.page.fence();
            self.page.store(offset / 8, bits);
        }
        found.is_some()
    }
}
