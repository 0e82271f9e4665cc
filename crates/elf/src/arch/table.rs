//! The rows.
//!
//! Read in Linux 6.12's linker scripts (`*.lds.S`) and Makefiles unless a row says otherwise.
//! `since` is from vdso(7) of man-pages 6.03 where it states one; x86's `time` (2.6.39),
//! `clock_getres` and the 64-bit clocks (5.3) and `getrandom` (6.11 on x86, 6.12 elsewhere) are
//! from the history of the same scripts. Where it is `None` it was not looked up.

use super::Call::*;
use super::{Abi, Function};
use crate::constants::*;
use crate::data::{Class, Order};

const KIB_4: u64 = 4096;
const KIB_8: u64 = 8192;
const KIB_64: u64 = 65536;

const fn f(name: &'static str, version: &'static str, call: super::Call) -> Function {
    Function::new(name, version, call)
}

const ARM: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("4.1"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("4.1"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres),
    f("__vdso_clock_gettime64", "LINUX_2.6", ClockGettime64),
];

const AARCH64: &[Function] = &[
    f("__kernel_clock_gettime", "LINUX_2.6.39", ClockGettime).since("3.7"),
    f("__kernel_clock_getres", "LINUX_2.6.39", ClockGetres).since("3.7"),
    f("__kernel_gettimeofday", "LINUX_2.6.39", Gettimeofday).since("3.7"),
    f("__kernel_rt_sigreturn", "LINUX_2.6.39", Signal).since("3.7"),
    f("__kernel_getrandom", "LINUX_2.6.39", Getrandom).since("6.12"),
];

const CSKY: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_5.10", ClockGettime),
    f("__vdso_clock_gettime64", "LINUX_5.10", ClockGettime64),
    f("__vdso_clock_getres", "LINUX_5.10", ClockGetres),
    f("__vdso_gettimeofday", "LINUX_5.10", Gettimeofday),
    f("__vdso_rt_sigreturn", "LINUX_5.10", Signal),
];

const I386: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("3.15"),
    f("__vdso_clock_gettime64", "LINUX_2.6", ClockGettime64).since("5.3"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres).since("5.3"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("3.15"),
    f("__vdso_time", "LINUX_2.6", Time).since("3.15"),
    f("__vdso_getcpu", "LINUX_2.6", Getcpu),
    f("__kernel_vsyscall", "LINUX_2.5", Other),
    f("__kernel_sigreturn", "LINUX_2.5", Signal),
    f("__kernel_rt_sigreturn", "LINUX_2.5", Signal),
];

const IA64: &[Function] = &[
    f("__kernel_sigtramp", "LINUX_2.5", Signal).until("6.7"),
    f("__kernel_syscall_via_break", "LINUX_2.5", Other).until("6.7"),
    f("__kernel_syscall_via_epc", "LINUX_2.5", Other).until("6.7"),
];

const LOONGARCH: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_5.10", ClockGettime).since("5.19"),
    f("__vdso_clock_getres", "LINUX_5.10", ClockGetres).since("5.19"),
    f("__vdso_gettimeofday", "LINUX_5.10", Gettimeofday).since("5.19"),
    f("__vdso_getcpu", "LINUX_5.10", Getcpu).since("5.19"),
    f("__vdso_getrandom", "LINUX_5.10", Getrandom).since("6.12"),
    f("__vdso_rt_sigreturn", "LINUX_5.10", Signal).since("5.19"),
];

const MIPS_32: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("4.4"),
    f("__vdso_clock_gettime64", "LINUX_2.6", ClockGettime64),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("4.4"),
];

const MIPS_64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("4.4"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("4.4"),
];

const PARISC_32: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_5.18", ClockGettime),
    f("__vdso_clock_gettime64", "LINUX_5.18", ClockGettime64),
    f("__vdso_gettimeofday", "LINUX_5.18", Gettimeofday),
    f("__kernel_sigtramp_rt32", "LINUX_5.18", Signal).since("5.18"),
    f("__kernel_restart_syscall32", "LINUX_5.18", Other).since("5.18"),
];

const PARISC_64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_5.18", ClockGettime),
    f("__vdso_gettimeofday", "LINUX_5.18", Gettimeofday),
    f("__kernel_sigtramp_rt64", "LINUX_5.18", Signal).since("5.18"),
    f("__kernel_restart_syscall64", "LINUX_5.18", Other).since("5.18"),
];

const PPC32: &[Function] = &[
    f("__kernel_clock_gettime", "LINUX_2.6.15", ClockGettime).since("2.6.15"),
    f("__kernel_clock_gettime64", "LINUX_2.6.15", ClockGettime64).since("5.11"),
    f("__kernel_clock_getres", "LINUX_2.6.15", ClockGetres).since("2.6.15"),
    f("__kernel_gettimeofday", "LINUX_2.6.15", Gettimeofday).since("2.6.15"),
    f("__kernel_time", "LINUX_2.6.15", Time),
    f("__kernel_getcpu", "LINUX_2.6.15", Getcpu),
    f("__kernel_getrandom", "LINUX_2.6.15", Getrandom).since("6.12"),
    f("__kernel_get_syscall_map", "LINUX_2.6.15", Other).since("2.6.15"),
    f("__kernel_get_tbfreq", "LINUX_2.6.15", Other).since("2.6.15"),
    f("__kernel_sync_dicache", "LINUX_2.6.15", Other).since("2.6.15"),
    f("__kernel_sigtramp32", "LINUX_2.6.15", Signal).since("2.6.15"),
    f("__kernel_sigtramp_rt32", "LINUX_2.6.15", Signal).since("2.6.15"),
];

const PPC64: &[Function] = &[
    f("__kernel_clock_gettime", "LINUX_2.6.15", ClockGettime).since("2.6.15"),
    f("__kernel_clock_getres", "LINUX_2.6.15", ClockGetres).since("2.6.15"),
    f("__kernel_gettimeofday", "LINUX_2.6.15", Gettimeofday).since("2.6.15"),
    f("__kernel_time", "LINUX_2.6.15", Time),
    f("__kernel_getcpu", "LINUX_2.6.15", Getcpu),
    f("__kernel_getrandom", "LINUX_2.6.15", Getrandom).since("6.12"),
    f("__kernel_get_syscall_map", "LINUX_2.6.15", Other).since("2.6.15"),
    f("__kernel_get_tbfreq", "LINUX_2.6.15", Other).since("2.6.15"),
    f("__kernel_sync_dicache", "LINUX_2.6.15", Other).since("2.6.15"),
    f("__kernel_sigtramp_rt64", "LINUX_2.6.15", Signal).since("2.6.15"),
];

const RISCV32: &[Function] = &[
    f("__vdso_rt_sigreturn", "LINUX_4.15", Signal).since("4.15"),
    f("__vdso_getcpu", "LINUX_4.15", Getcpu).since("4.15"),
    f("__vdso_flush_icache", "LINUX_4.15", Other).since("4.15"),
    f("__vdso_riscv_hwprobe", "LINUX_4.15", Other).since("6.4"),
];

const RISCV64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_4.15", ClockGettime).since("4.15"),
    f("__vdso_clock_getres", "LINUX_4.15", ClockGetres).since("4.15"),
    f("__vdso_gettimeofday", "LINUX_4.15", Gettimeofday).since("4.15"),
    f("__vdso_getcpu", "LINUX_4.15", Getcpu).since("4.15"),
    f("__vdso_flush_icache", "LINUX_4.15", Other).since("4.15"),
    f("__vdso_riscv_hwprobe", "LINUX_4.15", Other).since("6.4"),
    f("__vdso_rt_sigreturn", "LINUX_4.15", Signal).since("4.15"),
];

const S390: &[Function] = &[
    f("__kernel_compat_restart_syscall", "LINUX_2.6.29", Other),
    f("__kernel_compat_rt_sigreturn", "LINUX_2.6.29", Signal),
    f("__kernel_compat_sigreturn", "LINUX_2.6.29", Signal),
];

const S390X: &[Function] = &[
    f("__kernel_clock_gettime", "LINUX_2.6.29", ClockGettime).since("2.6.29"),
    f("__kernel_clock_getres", "LINUX_2.6.29", ClockGetres).since("2.6.29"),
    f("__kernel_gettimeofday", "LINUX_2.6.29", Gettimeofday).since("2.6.29"),
    f("__kernel_getcpu", "LINUX_2.6.29", Getcpu),
    f("__kernel_getrandom", "LINUX_2.6.29", Getrandom).since("6.12"),
    f("__kernel_restart_syscall", "LINUX_2.6.29", Other),
    f("__kernel_rt_sigreturn", "LINUX_2.6.29", Signal),
    f("__kernel_sigreturn", "LINUX_2.6.29", Signal),
];

const SH: &[Function] = &[
    f("__kernel_vsyscall", "LINUX_2.6", Other),
    f("__kernel_sigreturn", "LINUX_2.6", Signal),
    f("__kernel_rt_sigreturn", "LINUX_2.6", Signal),
];

const SPARC: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday),
    f("__vdso_clock_gettime_stick", "LINUX_2.6", Other),
    f("__vdso_gettimeofday_stick", "LINUX_2.6", Other),
];

const X86_64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("2.6.23"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres).since("5.3"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("2.6.23"),
    f("__vdso_time", "LINUX_2.6", Time).since("2.6.39"),
    f("__vdso_getcpu", "LINUX_2.6", Getcpu).since("2.6.23"),
    f("__vdso_getrandom", "LINUX_2.6", Getrandom).since("6.11"),
    f("__vdso_sgx_enter_enclave", "LINUX_2.6", Other).since("5.11"),
];

const X32: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("3.4"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres).since("5.3"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("3.4"),
    f("__vdso_time", "LINUX_2.6", Time).since("3.4"),
    f("__vdso_getcpu", "LINUX_2.6", Getcpu).since("3.4"),
];

const MIPS_NAMES: &str = "vdso(7) says __kernel_; the kernel's names begin with __vdso_";
const MIPS_SOURCE: &str = "Linux 6.12 arch/mips/vdso/vdso.lds.S, Makefile; vdso(7)";
const PARISC_GATE: &str = "the gateway page, found through space register 2, executes with the \
    kernel's privileges: 00b0 compare-and-swap, 00e0 set_thread_pointer, 0100 system call (vdso(7))";
const PPC_RETURN: &str =
    "a function reports an error as the system call does: positive, with CR0.SO set";
const PPC_SINCE: &str = "__kernel_datapage_offset and __kernel_sync_dicache_p5 of vdso(7) are no \
    longer exported in 6.12";
const NO_TYPE: &str = "some kernels export functions without type (NOTYPE)";

/// All ABIs, by name.
pub const ALL: &[Abi] = &[
    Abi {
        name: "aarch64",
        machine: EM_AARCH64,
        class: Class::Elf64,
        order: None,
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_64,
        functions: AARCH64,
        quirks: &["32-bit programs on an aarch64 kernel have arm's functions"],
        source: "Linux 6.12 arch/arm64/kernel/vdso/vdso.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "arm",
        machine: EM_ARM,
        class: Class::Elf32,
        order: None,
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_64,
        functions: ARM,
        quirks: &[
            "kernel user helpers lie at fixed addresses below 0xffff1000, outside any image \
             (Documentation/arch/arm/kernel_user_helpers.rst)",
            "a kernel whose counter user space can't read hides the clock functions by renaming \
             them (arch/arm/kernel/vdso.c)",
        ],
        source: "Linux 6.12 arch/arm/vdso/vdso.lds.S, arch/arm64/kernel/vdso32; vdso(7)",
    },
    Abi {
        name: "bfin",
        machine: EM_BLACKFIN,
        class: Class::Elf32,
        order: Some(Order::Little),
        soname: None,
        max_page: KIB_4,
        functions: &[],
        quirks: &["no image: functions at fixed addresses (fixed code), removed in Linux 4.17"],
        source: "vdso(7)",
    },
    Abi {
        name: "csky",
        machine: EM_CSKY,
        class: Class::Elf32,
        order: Some(Order::Little),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_4,
        functions: CSKY,
        quirks: &[],
        source: "Linux 6.12 arch/csky/kernel/vdso/vdso.lds.S, Makefile",
    },
    Abi {
        name: "i386",
        machine: EM_386,
        class: Class::Elf32,
        order: Some(Order::Little),
        soname: Some("linux-gate.so.1"),
        max_page: KIB_4,
        functions: I386,
        quirks: &[
            "AT_SYSINFO holds the address of __kernel_vsyscall",
            "the image could lie at the fixed address 0xffffe000 and state it (vdso=2, before 3.16)",
        ],
        source: "Linux 6.12 arch/x86/entry/vdso/vdso32/vdso32.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "ia64",
        machine: EM_IA_64,
        class: Class::Elf64,
        order: Some(Order::Little),
        soname: Some("linux-gate.so.1"),
        max_page: KIB_64,
        functions: IA64,
        quirks: &[
            "light-weight system calls (fsys) are entered through __kernel_syscall_via_epc: \
             clock_gettime, getcpu, getpid, getppid, gettimeofday, set_tid_address",
            "a function pointer is the address of a descriptor: code and gp",
            "the port was removed in Linux 6.7",
        ],
        source: "vdso(7)",
    },
    Abi {
        name: "loongarch64",
        machine: EM_LOONGARCH,
        class: Class::Elf64,
        order: Some(Order::Little),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_64,
        functions: LOONGARCH,
        quirks: &[],
        source: "Linux 6.12 arch/loongarch/vdso/vdso.lds.S, Makefile",
    },
    Abi {
        name: "mips o32",
        machine: EM_MIPS,
        class: Class::Elf32,
        order: None,
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_64,
        functions: MIPS_32,
        quirks: &[MIPS_NAMES],
        source: MIPS_SOURCE,
    },
    Abi {
        name: "mips n32",
        machine: EM_MIPS,
        class: Class::Elf32,
        order: None,
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_64,
        functions: MIPS_32,
        quirks: &[MIPS_NAMES],
        source: MIPS_SOURCE,
    },
    Abi {
        name: "mips n64",
        machine: EM_MIPS,
        class: Class::Elf64,
        order: None,
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_64,
        functions: MIPS_64,
        quirks: &[MIPS_NAMES],
        source: MIPS_SOURCE,
    },
    Abi {
        name: "parisc",
        machine: EM_PARISC,
        class: Class::Elf32,
        order: Some(Order::Big),
        soname: Some("linux-vdso32.so.1"),
        max_page: KIB_4,
        functions: PARISC_32,
        quirks: &[PARISC_GATE],
        source: "Linux 6.12 arch/parisc/kernel/vdso32/vdso32.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "parisc64",
        machine: EM_PARISC,
        class: Class::Elf64,
        order: Some(Order::Big),
        soname: Some("linux-vdso64.so.1"),
        max_page: KIB_4,
        functions: PARISC_64,
        quirks: &[
            PARISC_GATE,
            "a function pointer is the address of a descriptor",
        ],
        source: "Linux 6.12 arch/parisc/kernel/vdso64/vdso64.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "ppc32",
        machine: EM_PPC,
        class: Class::Elf32,
        order: None,
        soname: Some("linux-vdso32.so.1"),
        max_page: KIB_64,
        functions: PPC32,
        quirks: &[
            PPC_RETURN,
            "before 5.6 the coarse clocks take the system call (vdso(7))",
            "__kernel_getcpu only on a 64-bit kernel or one for a single processor",
            "vdso(7) gives __kernel_clock_gettime64 the version LINUX_5.11; the kernel LINUX_2.6.15",
            PPC_SINCE,
        ],
        source: "Linux 6.12 arch/powerpc/kernel/vdso/vdso32.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "ppc64",
        machine: EM_PPC64,
        class: Class::Elf64,
        order: Some(Order::Big),
        soname: Some("linux-vdso64.so.1"),
        max_page: KIB_64,
        functions: PPC64,
        quirks: &[
            PPC_RETURN,
            NO_TYPE,
            "a C function pointer is the address of a descriptor, a symbol's value is code",
            "before 4.16 the coarse clocks take the system call (vdso(7))",
            PPC_SINCE,
        ],
        source: "Linux 6.12 arch/powerpc/kernel/vdso/vdso64.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "ppc64le",
        machine: EM_PPC64,
        class: Class::Elf64,
        order: Some(Order::Little),
        soname: Some("linux-vdso64.so.1"),
        max_page: KIB_64,
        functions: PPC64,
        quirks: &[PPC_RETURN, NO_TYPE, PPC_SINCE],
        source: "Linux 6.12 arch/powerpc/kernel/vdso/vdso64.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "riscv32",
        machine: EM_RISCV,
        class: Class::Elf32,
        order: Some(Order::Little),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_4,
        functions: RISCV32,
        quirks: &["no clock functions: they are built for 64-bit kernels only"],
        source: "Linux 6.12 arch/riscv/kernel/vdso/vdso.lds.S, Makefile",
    },
    Abi {
        name: "riscv64",
        machine: EM_RISCV,
        class: Class::Elf64,
        order: Some(Order::Little),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_4,
        functions: RISCV64,
        quirks: &[],
        source: "Linux 6.12 arch/riscv/kernel/vdso/vdso.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "s390",
        machine: EM_S390,
        class: Class::Elf32,
        order: Some(Order::Big),
        soname: Some("linux-vdso32.so.1"),
        max_page: KIB_4,
        functions: S390,
        quirks: &["vdso(7) lists clock functions; in 6.12 only signal and restart are left"],
        source: "Linux 6.12 arch/s390/kernel/vdso32/vdso32.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "s390x",
        machine: EM_S390,
        class: Class::Elf64,
        order: Some(Order::Big),
        soname: Some("linux-vdso64.so.1"),
        max_page: KIB_4,
        functions: S390X,
        quirks: &["the SysV hash table has 8-byte entries"],
        source: "Linux 6.12 arch/s390/kernel/vdso64/vdso64.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "sh",
        machine: EM_SH,
        class: Class::Elf32,
        order: None,
        soname: Some("linux-gate.so.1"),
        max_page: KIB_64,
        functions: SH,
        quirks: &[],
        source: "Linux 6.12 arch/sh/kernel/vsyscall/vsyscall.lds.S; vdso(7)",
    },
    Abi {
        name: "sparc",
        machine: EM_SPARC32PLUS,
        class: Class::Elf32,
        order: Some(Order::Big),
        soname: Some("linux-gate.so.1"),
        max_page: KIB_8,
        functions: SPARC,
        quirks: &["only on a 64-bit kernel"],
        source: "Linux 6.12 arch/sparc/vdso/vdso32/vdso32.lds.S, Makefile",
    },
    Abi {
        name: "sparc64",
        machine: EM_SPARCV9,
        class: Class::Elf64,
        order: Some(Order::Big),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_8,
        functions: SPARC,
        quirks: &["the _stick functions read another counter; the kernel patches in the right one"],
        source: "Linux 6.12 arch/sparc/vdso/vdso.lds.S, Makefile",
    },
    Abi {
        name: "x32",
        machine: EM_X86_64,
        class: Class::Elf32,
        order: Some(Order::Little),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_4,
        functions: X32,
        quirks: &["struct timespec has 64-bit seconds although addresses have 32 bits"],
        source: "Linux 6.12 arch/x86/entry/vdso/vdsox32.lds.S, Makefile; vdso(7)",
    },
    Abi {
        name: "x86-64",
        machine: EM_X86_64,
        class: Class::Elf64,
        order: Some(Order::Little),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_4,
        functions: X86_64,
        quirks: &["each function is also exported weakly without __vdso_, except SGX's"],
        source: "Linux 6.12 arch/x86/entry/vdso/vdso.lds.S, Makefile; vdso(7)",
    },
];
