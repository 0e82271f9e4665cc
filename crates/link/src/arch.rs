//! The architectures that images are built for. To add one, add it to [`Architecture`] and its names
//! to [`Architecture::names`]; [`vdsokit_elf::arch`] has its page size, ELF machine and vDSO.

use vdsokit_elf::Class;
use vdsokit_elf::arch::{Abi, named};

/// An architecture that images can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64, 4 KiB pages.
    X86_64,
    /// AArch64 (little-endian), 64 KiB pages and with them every smaller size.
    Aarch64,
    /// RISC-V, 64 bits (the ABI lp64d), 4 KiB pages.
    Riscv64,
    /// LoongArch, 64 bits (the ABI lp64d), 64 KiB pages and with them every smaller size.
    Loongarch64,
    /// i386, 4 KiB pages: 32-bit programs on x86-64 kernels. Images of declarations only, not of
    /// crates.
    I386,
}

/// What others call an architecture.
struct Names {
    /// vdso(7) and `vdsokit_elf::arch`, and as Linux's distributions write it.
    name: &'static str,
    /// Rust, as `target_arch`.
    target_arch: &'static str,
    /// GNU's tools, in the names of programs.
    gnu: &'static str,
    /// Rust, as a target with GNU's C library.
    target: &'static str,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::X86_64,
        Self::Aarch64,
        Self::Riscv64,
        Self::Loongarch64,
        Self::I386,
    ];

    fn names(self) -> Names {
        let (name, target_arch, gnu, target) = match self {
            Self::X86_64 => ("x86-64", "x86_64", "x86_64", "x86_64-unknown-linux-gnu"),
            Self::Aarch64 => ("aarch64", "aarch64", "aarch64", "aarch64-unknown-linux-gnu"),
            Self::Riscv64 => (
                "riscv64",
                "riscv64",
                "riscv64",
                "riscv64gc-unknown-linux-gnu",
            ),
            Self::Loongarch64 => (
                "loongarch64",
                "loongarch64",
                "loongarch64",
                "loongarch64-unknown-linux-gnu",
            ),
            Self::I386 => ("i386", "x86", "i686", "i686-unknown-linux-gnu"),
        };
        Names {
            name,
            target_arch,
            gnu,
            target,
        }
    }

    /// The architecture that this program was compiled for, if images can be built for it.
    #[must_use]
    pub fn host() -> Option<Self> {
        Self::from_target_arch(std::env::consts::ARCH)
    }

    /// Its name on a command line, as Linux's distributions write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().name
    }

    /// Its name as GNU's tools and Rust's targets begin with it, but for RISC-V's targets, which name
    /// extensions: `riscv64gc`.
    #[must_use]
    pub fn rust_name(self) -> &'static str {
        self.names().gnu
    }

    /// Its name as Rust's `target_arch` and [`std::env::consts::ARCH`].
    #[must_use]
    pub fn target_arch(self) -> &'static str {
        self.names().target_arch
    }

    /// Rust's target for it with GNU's C library.
    #[must_use]
    pub fn target(self) -> &'static str {
        self.names().target
    }

    /// The architecture of that name on a command line, or that [`rust_name`](Self::rust_name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|arch| arch.name() == name || arch.rust_name() == name)
    }

    /// The architecture with that [`target_arch`](Self::target_arch).
    #[must_use]
    pub fn from_target_arch(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|arch| arch.target_arch() == name)
    }

    /// Its ABI: ELF machine and class, and the functions of Linux's vDSO with their versions.
    #[must_use]
    pub fn abi(self) -> &'static Abi {
        named(self.name()).expect("the table of ABIs has every architecture of this enum")
    }

    /// Whether its addresses have 64 bits.
    #[must_use]
    pub fn is_64(self) -> bool {
        self.abi().class == Class::Elf64
    }

    /// The largest page that a machine of this architecture maps: the unit in which an
    /// image is laid out, so that every machine can map it.
    #[must_use]
    pub fn page(self) -> usize {
        self.abi().max_page as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_a_row_in_the_table_of_abis_and_names_of_its_own() {
        for arch in Architecture::ALL {
            assert!(arch.page().is_power_of_two());
            assert_eq!(Architecture::from_name(arch.name()), Some(arch));
            assert_eq!(Architecture::from_name(arch.rust_name()), Some(arch));
            assert_eq!(
                Architecture::from_target_arch(arch.target_arch()),
                Some(arch)
            );
            assert!(arch.target().starts_with(arch.rust_name()));
        }
    }
}
