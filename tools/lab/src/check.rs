//! What a check is, and the kernels and processors that checks run on.

use crate::{Architecture, Error, Workshop, debian};
use std::path::PathBuf;

/// One check: a command that succeeds inside a guest.
#[derive(Debug)]
pub struct Check {
    /// Its name, unique in the table: words parted by dashes.
    pub name: &'static str,
    /// What it shows, for the list.
    pub why: &'static str,
    /// Program and arguments. Programs of [`needs`](Self::needs) and busybox's
    /// applets are in the guest's path; the working directory is an empty tmpfs.
    pub command: &'static [&'static str],
    /// What has to be in the guest.
    pub needs: &'static [Need],
    /// The kernels that it is for in each run.
    pub kernels: &'static [Kernel],
    /// Words of the kernel's command line beside the lab's own.
    pub command_line: &'static str,
    /// The emulated processor: [`PROCESSOR`], unless it has to be another.
    pub processor: Processor,
    /// When it has taken too long, in seconds of emulated time.
    pub seconds: u64,
    /// The kernels that it is for with `cargo xtask test --all` and when it is named only: to emulate
    /// four CPUs or another architecture takes minutes a boot.
    pub rare: &'static [Kernel],
}

/// Which of the kernels of a check are meant.
#[derive(Debug, Clone, Copy)]
pub enum Which<'name> {
    /// Those of each run.
    Ordinary,
    /// All.
    All,
    /// The one of this name.
    Named(&'name str),
}

impl Check {
    /// The kernels that it is for.
    pub fn kernels(&self, which: Which<'_>) -> impl Iterator<Item = Kernel> {
        let rare = match which {
            Which::Ordinary => &[],
            Which::All | Which::Named(_) => self.rare,
        };
        let kernels = self.kernels.iter().chain(rare).copied();
        kernels.filter(move |kernel| match which {
            Which::Named(name) => kernel.name == name,
            Which::Ordinary | Which::All => true,
        })
    }
}

/// Something that the host puts into the guest.
#[derive(Debug)]
pub enum Need {
    /// A program of the workspace, as `/bin/NAME`.
    Program {
        /// Its package.
        package: &'static str,
        /// The program's name.
        name: &'static str,
    },
    /// An integration test of the workspace, as `/bin/NAME`. Mark its tests
    /// `#[ignore = "runs in the lab"]` and name one in the command:
    /// `&["NAME", "--ignored", "--exact", "the_test"]`. A run that did not
    /// execute exactly one test counts as failed, so a test that was renamed
    /// can't pass by not being there.
    Test {
        /// Its package.
        package: &'static str,
        /// The test's name, which is its file's.
        name: &'static str,
    },
    /// Any other file.
    File {
        /// Its absolute path in the guest.
        at: &'static str,
        /// Makes it, or finds it, on the host.
        make: fn(&Workshop) -> Result<PathBuf, Error>,
    },
    /// A directory with all that is below it, as a program with its own files has; links are
    /// followed.
    Tree {
        /// Its absolute path in the guest.
        at: &'static str,
        /// Makes it, or finds it, on the host.
        make: fn(&Workshop) -> Result<PathBuf, Error>,
    },
}

impl Need {
    /// Its place in the guest.
    #[must_use]
    pub fn at(&self) -> String {
        match *self {
            Self::Program { name, .. } | Self::Test { name, .. } => format!("/bin/{name}"),
            Self::File { at, .. } | Self::Tree { at, .. } => at.to_owned(),
        }
    }
}

/// A kernel that the lab can boot.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// What reports call it. What `uname -r` begins with in the guest is the last word of it.
    pub name: &'static str,
    /// Its architecture.
    pub architecture: Architecture,
    /// Finds or makes its bootable image.
    pub image: fn(&Workshop) -> Result<PathBuf, Error>,
}

/// An emulated processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// What the emulator calls it.
    pub model: &'static str,
    /// When every instruction takes 2 to this power nanoseconds: the emulator counts them, and
    /// that is the guest's time, whatever the host does meanwhile. It has a single CPU then:
    /// several would take turns, and 6.1 never starts a second one so. Checks have the
    /// nanoseconds in [`PACE`](crate::plan::PACE).
    pub pace: Option<u32>,
    /// How many CPUs it has.
    pub cpus: u32,
}

/// The processor that the emulator has when it has all that it can do.
pub const PROCESSOR: Processor = Processor {
    model: "max",
    pace: None,
    cpus: 2,
};

/// The same with four CPUs.
pub(crate) const FOUR_CPUS: Processor = Processor {
    cpus: 4,
    ..PROCESSOR
};

/// The same, and it says that its TSC is invariant: it is the host's, so that is true, but
/// the emulator has to be forced to say so (qemu target/i386/cpu.c, `TCG_APM_FEATURES`,
/// `x-force-features`).
pub(crate) const INVARIANT_TSC: Processor = Processor {
    model: "max,+invtsc,x-force-features=on",
    ..PROCESSOR
};

/// One whose time is the number of instructions, some 8 ns each: about what the emulator needs.
pub(crate) const COUNTING: Processor = Processor {
    pace: Some(3),
    cpus: 1,
    ..PROCESSOR
};

/// The stock kernel of Debian 12.
pub const DEBIAN_6_1: Kernel = Kernel {
    name: "6.1",
    architecture: Architecture::X86_64,
    image: |workshop| debian::kernel(workshop, "6.1"),
};

/// The stock kernel of Debian 13, which Debian 12 has among its updates.
pub const DEBIAN_6_12: Kernel = Kernel {
    name: "6.12",
    architecture: Architecture::X86_64,
    image: |workshop| debian::kernel(workshop, "6.12"),
};

/// The same kernels for 64-bit Arm.
pub const ARM_6_1: Kernel = Kernel {
    name: "arm64 6.1",
    architecture: Architecture::Aarch64,
    image: |workshop| debian::kernel_of(workshop, Architecture::Aarch64, "6.1", "cloud-arm64"),
};

/// See [`ARM_6_1`].
pub const ARM_6_12: Kernel = Kernel {
    name: "arm64 6.12",
    architecture: Architecture::Aarch64,
    image: |workshop| debian::kernel_of(workshop, Architecture::Aarch64, "6.12", "cloud-arm64"),
};

/// The same with pages of 16 KiB.
pub const ARM_16K: Kernel = Kernel {
    name: "arm64-16k 6.12",
    architecture: Architecture::Aarch64,
    image: |workshop| debian::kernel_of(workshop, Architecture::Aarch64, "6.12", "arm64-16k"),
};

/// The stock kernel of Debian 13 for 64-bit RISC-V.
pub const RISCV_6_12: Kernel = Kernel {
    name: "riscv64 6.12",
    architecture: Architecture::Riscv64,
    image: |workshop| debian::kept_kernel(workshop, "riscv64", "trixie"),
};

/// Both stock kernels.
pub const STOCK: &[Kernel] = &[DEBIAN_6_1, DEBIAN_6_12];

/// A processor of 64-bit Arm with all that the emulator can do: landing pads (BTI), pointer
/// authentication and tagged memory among it. Its own algorithm for pointer authentication takes
/// less time than the architecture's.
pub(crate) const ARM: Processor = Processor {
    model: "max,pauth-impdef=on",
    ..PROCESSOR
};

/// A processor of 64-bit RISC-V with vectors.
pub(crate) const RISCV: Processor = Processor {
    model: "rv64,v=true",
    ..PROCESSOR
};
