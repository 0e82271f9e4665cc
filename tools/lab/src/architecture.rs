//! The architectures of guests, and what each of them needs on the host.

/// An architecture that the lab can boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Architecture {
    /// Debian's name for it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The release of Debian whose packages its guests have. `None`: the machine's own.
    pub(crate) fn release(self) -> Option<&'static str> {
        match self {
            Self::X86_64 | Self::Aarch64 => None,
            // The first release with this architecture.
            Self::Riscv64 => Some("trixie"),
        }
    }

    /// Rust's target. It is glibc's, linked statically: that needs nothing that a machine with
    /// Rust and a C compiler for the architecture lacks, where musl's would have to be fetched.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
            Self::Riscv64 => "riscv64gc-unknown-linux-gnu",
        }
    }

    /// The C compiler, which also links programs in Rust.
    pub(crate) fn compiler(self) -> &'static str {
        match self {
            Self::X86_64 => "cc",
            Self::Aarch64 => "aarch64-linux-gnu-gcc",
            Self::Riscv64 => "riscv64-linux-gnu-gcc",
        }
    }

    /// The emulator, and Debian's package of it.
    pub(crate) fn emulator(self) -> (&'static str, &'static str) {
        match self {
            Self::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
            Self::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
            Self::Riscv64 => ("qemu-system-riscv64", "qemu-system-misc"),
        }
    }

    /// The emulator's arguments for the board and its second serial port.
    pub(crate) fn board(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["-machine", "q35,accel=tcg"],
            Self::Aarch64 => &["-machine", "virt,accel=tcg,gic-version=3,mte=on"],
            Self::Riscv64 => &["-machine", "virt,accel=tcg"],
        }
    }

    /// The arguments that lead the kernel's console to a file and messages to standard output.
    pub(crate) fn ports(self, console: &str) -> Vec<String> {
        let console = format!("file:{console}");
        let arguments: &[&str] = match self {
            Self::X86_64 => &["-serial", &console, "-serial", "stdio"],
            // The board has one port of its own.
            Self::Aarch64 | Self::Riscv64 => &[
                "-serial",
                &console,
                "-chardev",
                "stdio,id=messages",
                "-device",
                "pci-serial,chardev=messages",
            ],
        };
        arguments.iter().map(ToString::to_string).collect()
    }

    /// What the kernel calls the port of its console.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::X86_64 | Self::Riscv64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }
}
