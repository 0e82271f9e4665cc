//! The machines, each with what the doctor finds.

use super::*;

/// A healthy machine: an x86 on bare metal whose vDSO serves everything.
pub(super) fn healthy() -> Facts {
    Facts {
        release: "6.12.57".into(),
        architecture: Some("x86-64"),
        command_line: Some("root=/dev/vda quiet".into()),
        log: Some(vec!["clocksource: Switched to clocksource tsc".into()]),
        clocksource: Some(sources("tsc", &["tsc", "hpet", "acpi_pm"])),
        tsc: Some(Tsc {
            invariant: true,
            constant: true,
            nonstop: true,
            reliable: false,
            readable: true,
        }),
        time_namespace: Some(TimeNamespace {
            initial: true,
            ..TimeNamespace::default()
        }),
        seccomp: Some(Seccomp {
            mode: 0,
            filters: Some(0),
        }),
        vdso: Some(Vdso {
            soname: Some("linux-vdso.so.1".into()),
            build_id: None,
            is_the_kernels: true,
            sealed: false,
            unknown: Vec::new(),
        }),
        calls: Function::ALL
            .iter()
            .map(|&function| {
                let served = if function.is_servable() {
                    Served::Directly
                } else {
                    Served::BySystemCall
                };
                Call {
                    function,
                    vdso: served,
                    libc: served,
                    vdso_ns: Some(30.0),
                    libc_ns: Some(31.0),
                    system_call_ns: Some(300.0),
                }
            })
            .collect(),
        ..Facts::default()
    }
}

pub(super) fn sources(current: &str, available: &[&str]) -> Clocksource {
    Clocksource {
        current: current.into(),
        available: available.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// The same, but whatever needs a counter makes a system call.
pub(super) fn without_counter(current: &str, available: &[&str]) -> Facts {
    let mut facts = healthy();
    facts.clocksource = Some(sources(current, available));
    serve(&mut facts, Served::BySystemCall, Function::needs_counter);
    facts
}

pub(super) fn serve(facts: &mut Facts, served: Served, which: impl Fn(Function) -> bool) {
    for call in &mut facts.calls {
        if which(call.function) {
            (call.vdso, call.libc) = (served, served);
        }
    }
}

pub(super) fn is_tick(function: Function) -> bool {
    matches!(function, Function::ClockGettime(clock) if clock.make() == Make::Tick)
}

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) facts: Facts,
    pub(super) verdict: Verdict,
    /// The causes in order, each with words that the finding must have.
    pub(super) findings: &'static [(Cause, &'static [&'static str])],
}

pub(super) fn with(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Facts {
    change(&mut facts);
    facts
}

pub(super) fn clocksources() -> Vec<Case> {
    vec![
        Case {
            name: "tsc",
            facts: healthy(),
            verdict: Verdict::Fast,
            findings: &[],
        },
        Case {
            name: "kvm-clock that the host declares stable",
            facts: with(healthy(), |facts| {
                facts.clocksource = Some(sources("kvm-clock", &["kvm-clock", "tsc"]));
            }),
            verdict: Verdict::Fast,
            findings: &[],
        },
        Case {
            name: "kvm-clock that the host does not declare stable",
            facts: with(without_counter("kvm-clock", &["kvm-clock"]), |facts| {
                facts.hypervisor = Some("KVM".into());
                facts.tsc.as_mut().unwrap().constant = false;
            }),
            verdict: Verdict::Slow,
            findings: &[
                (Cause::Clocksource, &["PVCLOCK_TSC_STABLE_BIT", "host"]),
                (Cause::TscNotInvariant, &["constant_tsc", "+invtsc"]),
            ],
        },
        Case {
            name: "hpet by the command line",
            facts: with(
                without_counter("hpet", &["tsc", "hpet", "acpi_pm"]),
                |facts| facts.command_line = Some("quiet clocksource=hpet".into()),
            ),
            verdict: Verdict::Slow,
            findings: &[(
                Cause::Clocksource,
                &[
                    "hpet",
                    "command line",
                    "echo tsc >",
                    "remove `clocksource=hpet`",
                ],
            )],
        },
        Case {
            name: "hpet by hand",
            facts: without_counter("hpet", &["tsc", "hpet"]),
            verdict: Verdict::Slow,
            findings: &[(
                Cause::Clocksource,
                &["echo tsc >", "boot with `clocksource=tsc`"],
            )],
        },
        Case {
            name: "acpi_pm because the watchdog found the TSC wrong",
            facts: with(without_counter("acpi_pm", &["acpi_pm"]), |facts| {
                facts.log = Some(vec![
                    "clocksource: timekeeping watchdog on CPU3: Marking clocksource 'tsc' as \
                     unstable because the skew is too large:"
                        .into(),
                ]);
            }),
            verdict: Verdict::Slow,
            findings: &[
                (Cause::Clocksource, &["acpi_pm", "slowest"]),
                (Cause::TscUnstable, &["skew is too large", "firmware"]),
            ],
        },
        Case {
            name: "hpet by the command line on a machine whose TSCs disagree",
            facts: with(without_counter("hpet", &["hpet", "acpi_pm"]), |facts| {
                facts.command_line = Some("clocksource=hpet".into());
                facts.log = Some(vec![
                    "tsc: Marking TSC unstable due to TSCs unsynchronized".into(),
                ]);
                facts.hypervisor = Some("QEMU without acceleration".into());
            }),
            verdict: Verdict::Slow,
            findings: &[
                (Cause::Clocksource, &["Remove `clocksource=hpet`"]),
                (Cause::TscUnstable, &["TSCs unsynchronized", "+invtsc"]),
            ],
        },
        Case {
            name: "notsc",
            facts: with(without_counter("hpet", &["hpet"]), |facts| {
                facts.command_line = Some("notsc".into());
            }),
            verdict: Verdict::Slow,
            findings: &[
                (Cause::Clocksource, &["hpet"]),
                (Cause::TscDisabled, &["`notsc`"]),
            ],
        },
        Case {
            name: "a log that may not be read",
            facts: with(without_counter("hpet", &["hpet"]), |facts| facts.log = None),
            verdict: Verdict::Slow,
            findings: &[
                (Cause::Clocksource, &["hpet"]),
                (Cause::TscMissing, &["dmesg"]),
            ],
        },
        Case {
            name: "xen",
            facts: with(without_counter("xen", &["xen", "tsc"]), |facts| {
                facts.hypervisor = Some("Xen".into());
            }),
            verdict: Verdict::Slow,
            findings: &[(
                Cause::Clocksource,
                &["Xen declares it stable", "echo tsc >"],
            )],
        },
        Case {
            name: "a register of Hyper-V where its page is to be had",
            facts: without_counter(
                "hyperv_clocksource_msr",
                &["hyperv_clocksource_msr", "hyperv_clocksource_tsc_page"],
            ),
            verdict: Verdict::Slow,
            findings: &[
                (Cause::Clocksource, &["echo hyperv_clocksource_tsc_page >"]),
                (Cause::TscMissing, &[]),
            ],
        },
        Case {
            name: "an arm64 with an erratum",
            facts: with(
                without_counter("arch_sys_counter", &["arch_sys_counter"]),
                |facts| {
                    facts.tsc = None;
                    facts.architecture = Some("aarch64");
                },
            ),
            verdict: Verdict::Slow,
            findings: &[(Cause::Clocksource, &["erratum"])],
        },
    ]
}

pub(super) fn surroundings() -> Vec<Case> {
    vec![
        Case {
            name: "a time namespace",
            facts: with(healthy(), |facts| {
                facts.time_namespace = Some(TimeNamespace {
                    initial: false,
                    monotonic: 86_400_000_000_000,
                    boottime: -5_000_000_000,
                });
            }),
            verdict: Verdict::Fast,
            findings: &[(
                Cause::TimeNamespace,
                &["+86400 s", "-5 s", "no system call"],
            )],
        },
        Case {
            name: "gVisor",
            facts: with(healthy(), |facts| facts.sandbox = Some(Sandbox::Gvisor)),
            verdict: Verdict::Fast,
            findings: &[(Cause::Sandbox, &["gVisor", "Sentry"])],
        },
        Case {
            name: "vdso=0",
            facts: with(healthy(), |facts| {
                facts.vdso = None;
                facts.command_line = Some("vdso=0".into());
                serve(facts, Served::Absent, |_| true);
            }),
            verdict: Verdict::Slow,
            findings: &[(Cause::NoVdso, &["`vdso=0`"])],
        },
        Case {
            name: "a tracer that takes the vDSO away",
            facts: with(healthy(), |facts| {
                facts.vdso = None;
                serve(facts, Served::Absent, |_| true);
            }),
            verdict: Verdict::Slow,
            findings: &[(Cause::NoVdso, &["AT_SYSINFO_EHDR", "tracers"])],
        },
        Case {
            name: "a tracer that patches the vDSO",
            facts: with(healthy(), |facts| {
                serve(facts, Served::BySystemCall, |function| {
                    function.needs_counter() || is_tick(function)
                });
            }),
            verdict: Verdict::Slow,
            findings: &[(Cause::VdsoAlwaysFallsBack, &["REALTIME_COARSE", "tracer"])],
        },
        Case {
            name: "a TSC that may not be read",
            facts: with(healthy(), |facts| {
                facts.tsc.as_mut().unwrap().readable = false;
                serve(facts, Served::Killed(11), Function::needs_counter);
            }),
            verdict: Verdict::Slow,
            findings: &[(Cause::TscForbidden, &["PR_SET_TSC", "signal 11"])],
        },
        Case {
            name: "a broken image",
            facts: with(healthy(), |facts| {
                serve(facts, Served::Killed(7), |function| {
                    function == Function::Time
                });
            }),
            verdict: Verdict::Slow,
            findings: &[(Cause::Killed, &["time", "signal 7"])],
        },
        Case {
            name: "a TSC whose reads the hypervisor intercepts",
            facts: with(healthy(), |facts| {
                facts.hypervisor = Some("VMware".into());
                for call in &mut facts.calls {
                    if call.function == Function::ClockGettime(ClockId::Monotonic) {
                        call.vdso_ns = Some(1800.0);
                    }
                }
            }),
            verdict: Verdict::Slow,
            findings: &[(Cause::TscIntercepted, &["1800 ns", "30 ns", "VMware"])],
        },
        Case {
            name: "an older kernel and an older C library",
            facts: with(healthy(), |facts| {
                for call in &mut facts.calls {
                    match call.function {
                        Function::Getrandom => call.vdso = Served::Absent,
                        Function::Getcpu => call.libc = Served::BySystemCall,
                        _ => {}
                    }
                }
            }),
            verdict: Verdict::Fast,
            findings: &[
                (Cause::FunctionMissing, &["getrandom (since Linux"]),
                (Cause::LibcBypasses, &["getcpu"]),
            ],
        },
        Case {
            name: "filters of system calls",
            facts: with(healthy(), |facts| {
                facts.seccomp = Some(Seccomp {
                    mode: 2,
                    filters: Some(2),
                });
            }),
            verdict: Verdict::Fast,
            findings: &[(Cause::Seccomp, &["2 filters"])],
        },
        Case {
            name: "no filter to be had, but costs that speak for themselves",
            facts: with(healthy(), |facts| {
                serve(facts, Served::Unknown(1), Function::is_servable);
            }),
            verdict: Verdict::Fast,
            findings: &[],
        },
        Case {
            name: "no filter to be had, and costs that don't tell",
            facts: with(healthy(), |facts| {
                serve(facts, Served::Unknown(1), |function| {
                    function == Function::Time
                });
                for call in &mut facts.calls {
                    call.vdso_ns = Some(290.0);
                }
            }),
            verdict: Verdict::Unknown,
            findings: &[(Cause::Undetermined, &["time", "seccomp(2)"])],
        },
        Case {
            name: "another image in the vDSO's place",
            facts: with(healthy(), |facts| {
                let vdso = facts.vdso.as_mut().unwrap();
                vdso.is_the_kernels = false;
                vdso.soname = Some("libclock.so.1".into());
            }),
            verdict: Verdict::Fast,
            findings: &[(Cause::Replaced, &["libclock.so.1"])],
        },
        Case {
            name: "a vDSO that the kernel sealed",
            facts: with(healthy(), |facts| {
                facts.vdso.as_mut().unwrap().sealed = true;
            }),
            verdict: Verdict::Fast,
            findings: &[(
                Cause::Sealed,
                &["CONFIG_MSEAL_SYSTEM_MAPPINGS", "vdso attach"],
            )],
        },
        Case {
            name: "memory that only a tracer may write",
            facts: with(healthy(), |facts| {
                facts.command_line = Some("quiet proc_mem.force_override=never".into());
            }),
            verdict: Verdict::Fast,
            findings: &[(
                Cause::MemoryForce,
                &["`proc_mem.force_override=never`", "ptrace(2)"],
            )],
        },
    ]
}

/// A running process that has this machine's own image.
pub(super) fn running() -> Facts {
    with(healthy(), |facts| {
        facts.process = Some(Process {
            pid: 42,
            program: "/bin/sleep".into(),
            linkage: Some(Linkage::Dynamic),
            same_image: true,
            patched: Some(0),
        });
    })
}

pub(super) fn processes() -> Vec<Case> {
    let with = |change: fn(&mut Facts, &mut Process)| {
        let mut facts = running();
        let mut process = facts.process.take().unwrap();
        change(&mut facts, &mut process);
        facts.process = Some(process);
        facts
    };
    vec![
        Case {
            name: "a process like any other",
            facts: running(),
            verdict: Verdict::Fast,
            findings: &[],
        },
        Case {
            name: "a static program",
            facts: with(|_, process| process.linkage = Some(Linkage::Static)),
            verdict: Verdict::Fast,
            findings: &[(Cause::Static, &["linked statically"])],
        },
        Case {
            name: "a process that a recorder has patched",
            facts: with(|_, process| process.patched = Some(12)),
            verdict: Verdict::Slow,
            findings: &[(Cause::Patched, &["12 bytes", "vdso dump"])],
        },
        Case {
            name: "a process of another width",
            facts: with(|facts, process| {
                process.same_image = false;
                process.patched = None;
                facts.calls.clear();
            }),
            verdict: Verdict::Unknown,
            findings: &[(Cause::OtherImage, &["Process 42"])],
        },
        Case {
            name: "a C library of this program's is no business of another's",
            facts: with(|facts, _| {
                serve(facts, Served::Directly, |_| true);
                facts.calls[0].libc = Served::BySystemCall;
            }),
            verdict: Verdict::Fast,
            findings: &[],
        },
    ]
}

pub(super) fn all() -> impl Iterator<Item = Case> {
    clocksources()
        .into_iter()
        .chain(surroundings())
        .chain(processes())
}
