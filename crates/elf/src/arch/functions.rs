//! The functions of each ABI's vDSO; [`super::table`] says where they were learned.

use super::Call::*;
use super::Function;

const fn f(name: &'static str, version: &'static str, call: super::Call) -> Function {
    Function::new(name, version, call)
}

pub(super) const ARM: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("4.1"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("4.1"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres),
    f("__vdso_clock_gettime64", "LINUX_2.6", ClockGettime64),
    f("__vdso_clock_getres_time64", "LINUX_2.6", Other).since("7.0"),
];

pub(super) const AARCH64: &[Function] = &[
    f("__kernel_clock_gettime", "LINUX_2.6.39", ClockGettime).since("3.7"),
    f("__kernel_clock_getres", "LINUX_2.6.39", ClockGetres).since("3.7"),
    f("__kernel_gettimeofday", "LINUX_2.6.39", Gettimeofday).since("3.7"),
    f("__kernel_rt_sigreturn", "LINUX_2.6.39", Signal).since("3.7"),
    f("__kernel_getrandom", "LINUX_2.6.39", Getrandom).since("6.12"),
];

pub(super) const CSKY: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_5.10", ClockGettime),
    f("__vdso_clock_gettime64", "LINUX_5.10", ClockGettime64),
    f("__vdso_clock_getres", "LINUX_5.10", ClockGetres),
    f("__vdso_gettimeofday", "LINUX_5.10", Gettimeofday),
    f("__vdso_rt_sigreturn", "LINUX_5.10", Signal),
];

pub(super) const I386: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("3.15"),
    f("__vdso_clock_gettime64", "LINUX_2.6", ClockGettime64).since("5.3"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres).since("5.3"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("3.15"),
    f("__vdso_time", "LINUX_2.6", Time).since("3.15"),
    f("__vdso_getcpu", "LINUX_2.6", Getcpu).since("6.3"),
    f("__kernel_vsyscall", "LINUX_2.5", Other),
    f("__kernel_sigreturn", "LINUX_2.5", Signal),
    f("__kernel_rt_sigreturn", "LINUX_2.5", Signal),
    f("__vdso_clock_getres_time64", "LINUX_2.6", Other).since("7.0"),
    f("__vdso_futex_robust_list32_try_unlock", "LINUX_2.6", Other).since("7.2"),
];

pub(super) const IA64: &[Function] = &[
    f("__kernel_sigtramp", "LINUX_2.5", Signal).until("6.7"),
    f("__kernel_syscall_via_break", "LINUX_2.5", Other).until("6.7"),
    f("__kernel_syscall_via_epc", "LINUX_2.5", Other).until("6.7"),
];

pub(super) const LOONGARCH: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_5.10", ClockGettime).since("5.19"),
    f("__vdso_clock_getres", "LINUX_5.10", ClockGetres).since("5.19"),
    f("__vdso_gettimeofday", "LINUX_5.10", Gettimeofday).since("5.19"),
    f("__vdso_getcpu", "LINUX_5.10", Getcpu).since("5.19"),
    f("__vdso_getrandom", "LINUX_5.10", Getrandom).since("6.12"),
    f("__vdso_rt_sigreturn", "LINUX_5.10", Signal).since("5.19"),
];

pub(super) const MIPS_32: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("4.4"),
    f("__vdso_clock_gettime64", "LINUX_2.6", ClockGettime64),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("4.4"),
    f("__vdso_clock_getres_time64", "LINUX_2.6", Other).since("7.0"),
];

pub(super) const MIPS_64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("4.4"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("4.4"),
];

pub(super) const PARISC_32: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_6.11", ClockGettime).since("6.11"),
    f("__vdso_clock_gettime64", "LINUX_6.11", ClockGettime64).since("6.11"),
    f("__vdso_gettimeofday", "LINUX_6.11", Gettimeofday).since("6.11"),
    f("__kernel_sigtramp_rt32", "LINUX_6.11", Signal).since("6.11"),
    f("__kernel_restart_syscall32", "LINUX_6.11", Other).since("6.11"),
    f("__kernel_sigtramp_rt32", "LINUX_5.18", Signal)
        .since("5.18")
        .until("6.11"),
    f("__kernel_restart_syscall32", "LINUX_5.18", Other)
        .since("5.18")
        .until("6.11"),
];

pub(super) const PARISC_64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_6.11", ClockGettime).since("6.11"),
    f("__vdso_gettimeofday", "LINUX_6.11", Gettimeofday).since("6.11"),
    f("__kernel_sigtramp_rt64", "LINUX_6.11", Signal).since("6.11"),
    f("__kernel_restart_syscall64", "LINUX_6.11", Other).since("6.11"),
    f("__kernel_sigtramp_rt64", "LINUX_5.18", Signal)
        .since("5.18")
        .until("6.11"),
    f("__kernel_restart_syscall64", "LINUX_5.18", Other)
        .since("5.18")
        .until("6.11"),
];

pub(super) const PPC32: &[Function] = &[
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
    f("__kernel_clock_getres_time64", "LINUX_2.6.15", Other).since("7.0"),
];

pub(super) const PPC64: &[Function] = &[
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

pub(super) const RISCV32: &[Function] = &[
    f("__vdso_rt_sigreturn", "LINUX_4.15", Signal).since("4.15"),
    f("__vdso_getcpu", "LINUX_4.15", Getcpu).since("4.15"),
    f("__vdso_flush_icache", "LINUX_4.15", Other).since("4.15"),
    f("__vdso_riscv_hwprobe", "LINUX_4.15", Other).since("6.4"),
];

pub(super) const RISCV64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_4.15", ClockGettime).since("4.15"),
    f("__vdso_clock_getres", "LINUX_4.15", ClockGetres).since("4.15"),
    f("__vdso_gettimeofday", "LINUX_4.15", Gettimeofday).since("4.15"),
    f("__vdso_getcpu", "LINUX_4.15", Getcpu).since("4.15"),
    f("__vdso_flush_icache", "LINUX_4.15", Other).since("4.15"),
    f("__vdso_riscv_hwprobe", "LINUX_4.15", Other).since("6.4"),
    f("__vdso_rt_sigreturn", "LINUX_4.15", Signal).since("4.15"),
    f("__vdso_getrandom", "LINUX_4.15", Getrandom).since("6.16"),
];

pub(super) const S390: &[Function] = &[
    f("__kernel_compat_restart_syscall", "LINUX_2.6.29", Other),
    f("__kernel_compat_rt_sigreturn", "LINUX_2.6.29", Signal),
    f("__kernel_compat_sigreturn", "LINUX_2.6.29", Signal),
];

pub(super) const S390X: &[Function] = &[
    f("__kernel_clock_gettime", "LINUX_2.6.29", ClockGettime).since("2.6.29"),
    f("__kernel_clock_getres", "LINUX_2.6.29", ClockGetres).since("2.6.29"),
    f("__kernel_gettimeofday", "LINUX_2.6.29", Gettimeofday).since("2.6.29"),
    f("__kernel_getcpu", "LINUX_2.6.29", Getcpu).since("4.5"),
    f("__kernel_getrandom", "LINUX_2.6.29", Getrandom).since("6.12"),
    f("__kernel_restart_syscall", "LINUX_2.6.29", Other),
    f("__kernel_rt_sigreturn", "LINUX_2.6.29", Signal),
    f("__kernel_sigreturn", "LINUX_2.6.29", Signal),
];

pub(super) const SH: &[Function] = &[
    f("__kernel_vsyscall", "LINUX_2.6", Other),
    f("__kernel_sigreturn", "LINUX_2.6", Signal),
    f("__kernel_rt_sigreturn", "LINUX_2.6", Signal),
];

pub(super) const SPARC: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday),
    f("__vdso_clock_gettime_stick", "LINUX_2.6", Other),
    f("__vdso_gettimeofday_stick", "LINUX_2.6", Other),
];

pub(super) const X86_64: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("2.6.23"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres).since("5.3"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("2.6.23"),
    f("__vdso_time", "LINUX_2.6", Time),
    f("__vdso_getcpu", "LINUX_2.6", Getcpu).since("2.6.23"),
    f("__vdso_getrandom", "LINUX_2.6", Getrandom).since("6.11"),
    f("__vdso_sgx_enter_enclave", "LINUX_2.6", Other).since("5.11"),
    f("__vdso_futex_robust_list64_try_unlock", "LINUX_2.6", Other).since("7.2"),
    f("__vdso_futex_robust_list32_try_unlock", "LINUX_2.6", Other).since("7.2"),
];

pub(super) const X32: &[Function] = &[
    f("__vdso_clock_gettime", "LINUX_2.6", ClockGettime).since("3.4"),
    f("__vdso_clock_getres", "LINUX_2.6", ClockGetres).since("5.3"),
    f("__vdso_gettimeofday", "LINUX_2.6", Gettimeofday).since("3.4"),
    f("__vdso_time", "LINUX_2.6", Time).since("3.4"),
    f("__vdso_getcpu", "LINUX_2.6", Getcpu).since("3.4"),
];
