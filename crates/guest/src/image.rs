//! The image: what a kernel maps into its processes.

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
/// debuggers read the tables, so the text must not be execute-only.
#[derive(Debug)]
pub struct Image {
    architecture: &'static str,
    text: &'static [u8],
    vvar: usize,
    largest_page: usize,
    symbols: &'static [(&'static str, usize)],
}

impl Image {
    /// The images in this build: that of the target; with the feature `images`, those of all
    /// architectures. A target for which there is no image has none.
    pub const ALL: &'static [Self] = include!(concat!(env!("OUT_DIR"), "/images.rs"));

    /// The image for `architecture`, a name as in Rust's `target_arch`: `"x86_64"`, `"aarch64"`,
    /// `"riscv64"`.
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
        } else if cfg!(target_arch = "aarch64") {
            "aarch64"
        } else if cfg!(target_arch = "riscv64") {
            "riscv64"
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

    /// All functions of the image: names, and distances from the base in bytes.
    pub fn symbols(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.symbols.iter().copied()
    }

    /// Where a signal handler returns to, as a distance from the base: `__kernel_rt_sigreturn` on
    /// AArch64, `__vdso_rt_sigreturn` on RISC-V. `None` on x86-64, where programs bring their own
    /// code (`SA_RESTORER`).
    #[must_use]
    pub fn rt_sigreturn(&self) -> Option<usize> {
        self.symbol("__kernel_rt_sigreturn")
            .or_else(|| self.symbol("__vdso_rt_sigreturn"))
    }
}
