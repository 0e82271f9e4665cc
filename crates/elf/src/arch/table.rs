//! The rows of the table of architectures.
//!
//! Names, versions, sonames and page sizes were read in the linker scripts (`*.lds.S`),
//! `asm/vdso.h`, Makefiles and Kconfigs of Linux 6.12, and compared with those of 6.1, unless a
//! row says otherwise. A test compares the rows with the images of Debian's 6.1 kernels in both
//! directions.
//!
//! `since` is given only with a source; `None` means unknown. The sources, beside the
//! two trees (what is in 6.12 and not in 6.1 is newer than 6.1):
//!
//! * vdso(7) of man-pages 6.03: arm 4.1, mips 4.4, i386 3.15, Blackfin's end in 4.17.
//! * The version's own name: PowerPC 2.6.15, s390x 2.6.29, RISC-V 4.15, PA-RISC 5.18 and 6.11.
//! * Linux commit 2aae950b21e4 (July 2007, after 2.6.22): x86-64's first functions.
//! * Linux 3.4's announcements of the x32 ABI: x32.
//! * glibc commit 461cab1de747: `getrandom`, 6.11 on x86-64, 6.12 elsewhere.
//! * glibc's commit that uses s390x's `__kernel_getcpu`: 4.5.
//! * Linux's merge `riscv-for-linus-6.4-mw1`: `riscv_hwprobe`.
//! * The ports' first releases: Linux 3.7, with `arch/arm64`, whose vDSO is of commit 9031fefde6f2;
//!   Linux 5.19, with `arch/loongarch`, whose vDSO is of commit c6b99bed6b8f. ia64's last one: Linux
//!   6.6; commit cf8e8658100d removed it.
//! * Linux commits 7ac870747988, 22ca962288c0 and f66501dc53e7 (June 2019, for 5.3): the generic
//!   functions on x86, with i386's `clock_gettime64` and `clock_getres` on all three of its ABIs.
//! * Linux commit 84664369520a (November 2020, for 5.11): SGX's function.
//! * Linux commit 92d33063c081 and merge `x86_vdso_for_v6.3_rc1`: i386's `getcpu`.
//! * Linux commit ee0d03053e70, merged for 6.16: `getrandom` on RISC-V.
//! * Linux's merge `timers-vdso-2026-02-09`, for 7.0: `clock_getres_time64` on arm, i386, mips and
//!   ppc32.
//! * Linux `arch/x86/entry/vdso/common/vfutex.c` and the linker scripts beside it, with
//!   CONFIG_FUTEX_ROBUST_UNLOCK: the functions that unlock robust futexes, 7.2.
//!
//! What was not confirmed by any of these is marked so in the row's `source`.

use super::Abi;
use super::functions::*;
use crate::constants::*;
use crate::data::{Class, Order};

const KIB_4: u64 = 4096;
const KIB_8: u64 = 8192;
const KIB_64: u64 = 65536;
const KIB_256: u64 = 262_144;

const MIPS_NAMES: &str = "vdso(7) says __kernel_; the kernel's names begin with __vdso_";
const MIPS_SOURCE: &str = "Linux 6.12 arch/mips/vdso/vdso.lds.S, Makefile; vdso(7); since 7.0: \
    merge timers-vdso-2026-02-09";
const PARISC_GATE: &str = "the gateway page, found through space register 2, executes with the \
    kernel's privileges: 00b0 compare-and-swap, 00e0 set_thread_pointer, 0100 system call (vdso(7))";
const PARISC_VERSION: &str = "the version's name changed from LINUX_5.18 to LINUX_6.11: a look-up of the old one finds \
    nothing (asm/vdso.h of 6.1 and 6.12)";
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
        source: "Linux 6.12 arch/arm64/kernel/vdso/vdso.lds.S, Makefile; vdso(7); since 3.7: commit 9031fefde6f2",
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
            "kernel user helpers lie at fixed addresses, outside any image, where the kernel has \
             CONFIG_KUSER_HELPERS: ffff0f60 cmpxchg64 (3.1), ffff0fa0 memory_barrier (2.6.15), \
             ffff0fc0 cmpxchg (2.6.12), ffff0fe0 get_tls (2.6.12); the word at ffff0ffc is how many \
             there are (Documentation/arch/arm/kernel_user_helpers.rst)",
            "a kernel whose counter user space can't read hides the clock functions by renaming \
             them (arch/arm/kernel/vdso.c)",
        ],
        source: "Linux 6.12 arch/arm/vdso/vdso.lds.S, arch/arm64/kernel/vdso32; vdso(7); since 7.0: merge \
            timers-vdso-2026-02-09",
    },
    Abi {
        name: "bfin",
        machine: EM_BLACKFIN,
        class: Class::Elf32,
        order: Some(Order::Little),
        soname: None,
        max_page: KIB_4,
        functions: &[],
        quirks: &[
            "no image: functions at fixed addresses (fixed code): 0400 sigreturn_stub, 0410 \
             atomic_xchg32, 0420 atomic_cas32, 0430 atomic_add32, 0440 atomic_sub32, 0450 \
             atomic_ior32, 0460 atomic_and32, 0470 atomic_xor32, 0480 safe_user_instruction",
            "the port was removed in Linux 4.17",
        ],
        source: "vdso(7); arch/blackfin/include/uapi/asm/fixed_code.h of Linux 4.16",
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
        source: "Linux 6.12 arch/x86/entry/vdso/vdso32/vdso32.lds.S, Makefile; vdso(7); since 5.3: \
            commits 22ca962288c0 and f66501dc53e7; since 6.3: commit 92d33063c081; since 7.0: merge \
            timers-vdso-2026-02-09; since 7.2: arch/x86/entry/vdso/vdso32/vdso32.lds.S",
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
        source: "Linux 6.1 arch/ia64/kernel/gate.lds.S; vdso(7); until 6.7: commit cf8e8658100d",
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
        source: "Linux 6.12 arch/loongarch/vdso/vdso.lds.S, Makefile; since 5.19: commit c6b99bed6b8f",
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
        quirks: &[PARISC_GATE, PARISC_VERSION],
        source: "Linux 6.12 and 6.1 arch/parisc/kernel/vdso32/vdso32.lds.S, Makefile, asm/vdso.h; \
            vdso(7)",
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
            PARISC_VERSION,
            "a function pointer is the address of a descriptor",
        ],
        source: "Linux 6.12 and 6.1 arch/parisc/kernel/vdso64/vdso64.lds.S, Makefile, asm/vdso.h; \
            vdso(7)",
    },
    Abi {
        name: "ppc32",
        machine: EM_PPC,
        class: Class::Elf32,
        order: None,
        soname: Some("linux-vdso32.so.1"),
        max_page: KIB_256,
        functions: PPC32,
        quirks: &[
            PPC_RETURN,
            "before 5.6 the coarse clocks take the system call (vdso(7))",
            "only the 44x has pages of 256 KiB; others have at most 64 KiB (Kconfig)",
            "__kernel_getcpu only on a 64-bit kernel or one for a single processor",
            "vdso(7) gives __kernel_clock_gettime64 the version LINUX_5.11; the kernel LINUX_2.6.15",
            PPC_SINCE,
        ],
        source: "Linux 6.12 arch/powerpc/kernel/vdso/vdso32.lds.S, Makefile; vdso(7); since 7.0: merge \
            timers-vdso-2026-02-09",
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
        source: "Linux 6.12 arch/riscv/kernel/vdso/vdso.lds.S, Makefile; vdso(7); since 6.16: commit \
            ee0d03053e70",
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
        source: "Linux 6.12 arch/x86/entry/vdso/vdsox32.lds.S, Makefile; vdso(7); since 5.3: commit \
            f66501dc53e7",
    },
    Abi {
        name: "x86-64",
        machine: EM_X86_64,
        class: Class::Elf64,
        order: Some(Order::Little),
        soname: Some("linux-vdso.so.1"),
        max_page: KIB_4,
        functions: X86_64,
        quirks: &[
            "each function is also exported weakly without __vdso_, except SGX's and those of futexes",
        ],
        source: "Linux 6.12 arch/x86/entry/vdso/vdso.lds.S, Makefile; vdso(7); since 5.3: commit \
            f66501dc53e7; since 5.11: commit 84664369520a; since 7.2: arch/x86/entry/vdso/vdso64/vdso64.lds.S",
    },
];
