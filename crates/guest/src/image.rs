//! The image: what a kernel maps into its processes.

use core::ops::Range;

/// The vDSO's image for one architecture: Linux's functions, reading time and random bytes from the
/// page that a [`Publisher`](crate::Publisher) keeps.
///
/// In memory, from the *base*, the address that `AT_SYSINFO_EHDR` tells programs:
///
/// | from | contents | rights |
/// | --- | --- | --- |
/// | 0 | [`text`](Self::text): ELF header, tables and code | read, execute |
/// | [`vvar`](Self::vvar) | the page of the publisher | read |
///
/// Nothing is to be relocated, and the base is any multiple of the page size. C libraries and
/// debuggers read the tables, so the first pages must be readable. From [`code`](Self::code) on
/// there are functions only, whose pages may be execute-only.
///
/// # Variants
/// A process that may not call a function need not have it: [`definition`](Self::definition) tells
/// which bytes of a copy of the text a kernel clears for the function to be absent from the vDSO of
/// that process. C libraries then make the system call, which the kernel refuses.
#[derive(Debug)]
pub struct Image {
    architecture: &'static str,
    text: &'static [u8],
    code: usize,
    vvar: usize,
    largest_page: usize,
    /// Name, place of the function, and the bytes of the text that define it.
    symbols: &'static [(&'static str, usize, Range<usize>)],
    /// The layout hash of the page with `variables`.
    pub(crate) layout: u64,
    /// Name, place in their page, and first value.
    pub(crate) variables: &'static [(&'static str, usize, u64)],
}

impl Image {
    /// The images in this build: that of the target; with the feature `images`, those of all
    /// architectures. A target for which there is no image has none.
    pub const ALL: &'static [Self] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

    /// The image for `architecture`, a name as in Rust's `target_arch`: `"x86_64"`, `"x86"`,
    /// `"aarch64"`, `"riscv64"`, `"loongarch64"`.
    #[must_use]
    pub fn of(architecture: &str) -> Option<&'static Self> {
        Self::ALL
            .iter()
            .find(|image| image.architecture == architecture)
    }

    /// The image for the architecture that this was compiled for.
    #[must_use]
    pub fn native() -> Option<&'static Self> {
        const NAME: &str = if cfg!(target_arch = "x86_64") {
            "x86_64"
        } else if cfg!(target_arch = "x86") {
            "x86"
        } else if cfg!(target_arch = "aarch64") {
            "aarch64"
        } else if cfg!(target_arch = "riscv64") {
            "riscv64"
        } else if cfg!(target_arch = "loongarch64") {
            "loongarch64"
        } else {
            ""
        };
        Self::of(NAME)
    }

    /// The name of the architecture, as in Rust's `target_arch`.
    #[must_use]
    pub const fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// The bytes from the base on. Up to the end of their last page in memory there are zeroes.
    #[must_use]
    pub const fn text(&self) -> &'static [u8] {
        self.text
    }

    /// Where the pages with functions alone begin: a distance from the base in bytes, a multiple of
    /// 4,096. What is before it (tables, and the code that signal handlers return to, which
    /// unwinders recognise by its instructions) has to be readable.
    #[must_use]
    pub const fn code(&self) -> usize {
        self.code
    }

    /// Where the publisher's page lies: its distance from the base in bytes.
    #[must_use]
    pub const fn vvar(&self) -> usize {
        self.vvar
    }

    /// The largest page size that the image can be mapped with, in bytes: the largest of the
    /// architecture.
    #[must_use]
    pub const fn largest_page(&self) -> usize {
        self.largest_page
    }

    /// The distance of a function from the base in bytes, by its name in the image's symbol table,
    /// such as `__vdso_clock_gettime`.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<usize> {
        self.symbols()
            .find_map(|(symbol, offset)| (symbol == name).then_some(offset))
    }

    /// The bytes of the text that define a function. In a copy of the text that has zeroes there,
    /// the function's symbol is undefined: nothing that looks it up finds it.
    ///
    /// The function's code stays. What it reads is the vvar page: a process that may not read the
    /// clock gets a page that was never published beside the variant of the text.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Range<usize>> {
        let found = self.symbols.iter().find(|(symbol, ..)| *symbol == name);
        found.map(|(_, _, definition)| definition.clone())
    }

    /// All functions of the image: names, and distances from the base in bytes.
    pub fn symbols(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.symbols
            .iter()
            .map(|(name, offset, _)| (*name, *offset))
    }

    /// The variables of the crate whose functions this image has besides: see
    /// [`Variables`](crate::Variables).
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.variables.iter().map(|(name, ..)| *name)
    }

    /// Where i386's programs enter the kernel, as a distance from the base: the value of AT_SYSINFO (32)
    /// in their auxiliary vector is its address. `None` on the others, whose programs have an
    /// instruction for it.
    #[must_use]
    pub fn entry(&self) -> Option<usize> {
        self.symbol("__kernel_vsyscall")
    }

    /// Where a signal handler returns to, as a distance from the base: `__kernel_rt_sigreturn` on
    /// AArch64 and i386, `__vdso_rt_sigreturn` on RISC-V and LoongArch. `None` on x86-64, where programs bring their own
    /// code (`SA_RESTORER`).
    #[must_use]
    pub fn rt_sigreturn(&self) -> Option<usize> {
        self.symbol("__kernel_rt_sigreturn")
            .or_else(|| self.symbol("__vdso_rt_sigreturn"))
    }
}
