//! The plan: which pages to map into a process.

use core::fmt;
use core::ops::Range;

use crate::Image;

/// `AT_SYSINFO_EHDR` (include/uapi/linux/auxvec.h): the entry of the auxiliary vector by which C
/// libraries find the vDSO.
pub const AT_SYSINFO_EHDR: u64 = 33;

/// Which pages to map where, with which rights, into every process.
///
/// ```
/// use vdsokit_guest::{Contents, Image, Plan, Rights};
///
/// let image = Image::native().expect("an image for this architecture");
/// let plan = Plan::new(image, 4096)?;
/// // At execve: a place in the new address space, by 64 random bits.
/// let base = plan.place(0x7000_0000_0000..0x7fff_0000_0000, 0x9e37_79b9_7f4a_7c15);
/// let base = base.expect("the window is large enough");
/// for page in plan.pages() {
///     let address = base + page.offset as u64;
///     match page.contents {
///         // One frame for all processes, filled at boot; zeroes behind the bytes.
///         Contents::Text(bytes) => assert!(bytes.len() <= 4096),
///         // The frame that the publisher writes, read-only.
///         Contents::Vvar => assert_eq!(page.rights, Rights::Read),
///     }
///     # let _ = address;
/// }
/// // On the new stack, among the other entries of the auxiliary vector.
/// let (tag, value) = plan.auxv(base);
/// assert_eq!((tag, value), (33, base));
/// # Ok::<(), vdsokit_guest::PageSizeError>(())
/// ```
///
/// # What becomes of the mapping
/// | event | what the kernel does |
/// | --- | --- |
/// | `execve` | maps the plan into the new address space, at a new place |
/// | `fork`, `clone` | keeps the mapping: same place, same frames, no copy on write |
/// | `setns`, `unshare` of a time namespace | maps the frame of that namespace's publisher at the place of [`Contents::Vvar`] |
/// | `mprotect`, `mmap` over it by the program | as for any mapping; but the vvar page never becomes writable |
/// | a signal handler without `SA_RESTORER` | returns to [`rt_sigreturn`](Self::rt_sigreturn) |
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    image: &'static Image,
    page_size: usize,
    execute_only: bool,
    /// The bytes of head and slots; 0 for a plan without them.
    current: usize,
}

impl Plan {
    /// The plan for pages of `page_size` bytes.
    ///
    /// # Errors
    /// [`PageSizeError`] unless it is a power of two from 4,096 to the image's
    /// [`largest_page`](Image::largest_page).
    pub const fn new(image: &'static Image, page_size: usize) -> Result<Self, PageSizeError> {
        let largest = image.largest_page();
        if !page_size.is_power_of_two() || page_size < SMALLEST_PAGE || page_size > largest {
            return Err(PageSizeError {
                asked: page_size,
                largest,
            });
        }
        Ok(Self {
            image,
            page_size,
            execute_only: false,
            current: 0,
        })
    }

    /// The same plan with [`Rights::Execute`] for the pages that have functions alone, where the
    /// machine has such pages: those from [`Image::code`] on.
    ///
    /// | architecture | pages that can be executed and not read |
    /// | --- | --- |
    /// | RISC-V | page table entries with X and without R, while `sstatus.MXR` is 0 |
    /// | AArch64 | AP\[1\] and UXN both 0; a kernel that uses PAN needs FEAT_PAN3 (EPAN) to be stopped at them too |
    /// | x86-64 | a protection key whose access-disable bit is set in PKRU: by default only, as programs can write PKRU |
    #[must_use]
    pub const fn execute_only(self) -> Self {
        Self {
            execute_only: true,
            ..self
        }
    }

    /// The same plan with room for the [`Slot`](crate::Slot)s of so many CPUs at
    /// [`current`](Self::current).
    #[must_use]
    pub const fn with_slots(self, cpus: usize) -> Self {
        Self {
            current: SMALLEST_PAGE + vdsokit_current::slots_size(cpus),
            ..self
        }
    }

    /// The image.
    #[must_use]
    pub const fn image(&self) -> &'static Image {
        self.image
    }

    /// The size of a page in bytes.
    #[must_use]
    pub const fn page_size(&self) -> usize {
        self.page_size
    }

    /// The address space to reserve, in bytes: up to the end of the last page, that of the process
    /// included. The holes before that page, and on AArch64 before the vvar page, stay reserved and
    /// unmapped.
    #[must_use]
    pub const fn size(&self) -> usize {
        if self.current != 0 {
            let end = self.current().saturating_add(self.current);
            // A power of two: no division, which could panic.
            let mask = self.page_size - 1;
            return end.saturating_add(mask) & !mask;
        }
        let last = match self.variables() {
            Some(variables) => variables,
            None => self.process(),
        };
        last + self.page_size
    }

    /// Where a [`Head`](crate::Head) is mapped, read-only: its distance from the base in bytes. The
    /// pages of the slots follow it. The frames are the same for all processes.
    #[must_use]
    pub const fn current(&self) -> usize {
        self.image.vvar() + vdsokit_vvar::process::CURRENT
    }

    /// Where the page of the kernel's own [`Variables`](crate::Variables) is mapped, read-only: its
    /// distance from the base in bytes. `None` for an image without any.
    #[must_use]
    pub const fn variables(&self) -> Option<usize> {
        match self.image.variables.is_empty() {
            true => None,
            false => Some(self.image.vvar() + vdsokit_vvar::process::OWN),
        }
    }

    /// Where the page of a [`Process`](crate::Process) is mapped, read-only: its distance from the
    /// base in bytes. It is not among the [`pages`](Self::pages), since each address space has one
    /// of its own, and a kernel may do without.
    #[must_use]
    pub const fn process(&self) -> usize {
        self.image.vvar() + vdsokit_vvar::process::DISTANCE
    }

    /// The pages in ascending order.
    #[must_use]
    pub const fn pages(&self) -> PlannedPages {
        PlannedPages {
            plan: *self,
            next: 0,
        }
    }

    /// A base within `window`, chosen by `random`: the whole vDSO lies in the window. `None` if
    /// the window is too small.
    ///
    /// All multiples of the page size in the window are about equally probable. Where the
    /// processes' addresses are not random, any `random` is right.
    #[must_use]
    pub const fn place(&self, window: Range<u64>, random: u64) -> Option<u64> {
        let page = self.page_size as u64;
        let Some(first) = window.start.checked_next_multiple_of(page) else {
            return None;
        };
        let Some(last) = window.end.checked_sub(self.size() as u64) else {
            return None;
        };
        if last < first {
            return None;
        }
        let places = (last - first) / page + 1;
        // The upper half of the product: a fraction of the places, without a division.
        let nth = ((random as u128 * places as u128) >> 64) as u64;
        Some(first + nth * page)
    }

    /// The entry of the auxiliary vector, tag and value, for a process that has the vDSO at
    /// `base`.
    #[must_use]
    pub const fn auxv(&self, base: u64) -> (u64, u64) {
        (AT_SYSINFO_EHDR, base)
    }

    /// The address that signal handlers return to in a process that has the vDSO at `base`: see
    /// [`Image::rt_sigreturn`].
    #[must_use]
    pub fn rt_sigreturn(&self, base: u64) -> Option<u64> {
        let offset = self.image.rt_sigreturn()?;
        Some(base.wrapping_add(offset as u64))
    }
}

/// The smallest page of all architectures, in bytes: what the publisher writes fits into it.
pub(crate) const SMALLEST_PAGE: usize = vdsokit_vvar::PAGE_SIZE;

/// A page to map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedPage {
    /// Its distance from the base in bytes, a multiple of the page size.
    pub offset: usize,
    /// What programs may do with it.
    pub rights: Rights,
    /// What is in it.
    pub contents: Contents,
}

/// What programs may do with a page. None is ever writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rights {
    /// Read.
    Read,
    /// Execute, and not read: in a plan that is [`execute_only`](Plan::execute_only).
    Execute,
    /// Read and execute.
    ReadExecute,
}

/// What is in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// These bytes, and zeroes up to the end of the page. They never change: one frame serves all
    /// processes.
    Text(&'static [u8]),
    /// What a [`Publisher`](crate::Publisher) writes: one frame for all processes of a time
    /// namespace, and always that very frame.
    Vvar,
}

/// The pages of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedPages {
    plan: Plan,
    next: usize,
}

impl Iterator for PlannedPages {
    type Item = PlannedPage;

    fn next(&mut self) -> Option<PlannedPage> {
        let offset = self.next;
        let size = self.plan.page_size;
        let vvar = self.plan.image.vvar();
        if offset > vvar {
            return None;
        }
        if let Some(bytes) = self.plan.image.text().get(offset..)
            && !bytes.is_empty()
        {
            self.next += size;
            let is_code = offset >= self.plan.image.code();
            return Some(PlannedPage {
                offset,
                rights: match self.plan.execute_only && is_code {
                    true => Rights::Execute,
                    false => Rights::ReadExecute,
                },
                contents: Contents::Text(bytes.get(..size).unwrap_or(bytes)),
            });
        }
        self.next = vvar + size;
        Some(PlannedPage {
            offset: vvar,
            rights: Rights::Read,
            contents: Contents::Vvar,
        })
    }
}

/// A page size that the image was not linked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSizeError {
    /// The size.
    pub asked: usize,
    /// The largest that the image can be mapped with.
    pub largest: usize,
}

impl fmt::Display for PageSizeError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, largest } = self;
        write!(
            to,
            "page size {asked}: the image is linked for powers of two from {SMALLEST_PAGE} to {largest}"
        )
    }
}

impl core::error::Error for PageSizeError {}
