//! The environment of the process: processor, virtual machine, container, sandbox, namespace.
//!
//! Each function takes its text as an argument, so that tests can use texts of other machines.

use super::facts::{Clocksource, Sandbox, Seccomp, TimeNamespace, Tsc};
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Facts from the instruction CPUID, which only x86 processors have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpuid {
    pub(super) invariant_tsc: bool,
    pub(super) hypervisor: Option<String>,
}

/// Reads CPUID. The leaves of hypervisors begin at 0x4000_0000, where ECX bit 31 of leaf 1
/// says that there is one (Linux 6.12 `arch/x86/include/asm/cpuid.h`, `hypervisor_cpuid_base`).
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
pub(super) fn cpuid() -> Cpuid {
    #[cfg(target_arch = "x86")]
    use std::arch::x86::__cpuid;
    #[cfg(target_arch = "x86_64")]
    use std::arch::x86_64::__cpuid;

    let power = 0x8000_0007;
    let has_hypervisor = __cpuid(1).ecx & 1 << 31 != 0;
    Cpuid {
        invariant_tsc: __cpuid(0x8000_0000).eax >= power && __cpuid(power).edx & 1 << 8 != 0,
        hypervisor: has_hypervisor.then(|| {
            let leaf = __cpuid(0x4000_0000);
            let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
            hypervisor_name(&name.concat())
        }),
    }
}

/// Without CPUID, no facts.
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
pub(super) fn cpuid() -> Cpuid {
    Cpuid::default()
}

/// The name of a hypervisor by its signature of twelve bytes. The names are those that
/// `systemd-detect-virt` knows (systemd 252 `src/basic/virt.c`).
#[cfg(any(target_arch = "x86_64", target_arch = "x86", test))]
fn hypervisor_name(signature: &[u8]) -> String {
    match signature {
        b"KVMKVMKVM\0\0\0" | b"Linux KVM Hv" => "KVM".into(),
        b"TCGTCGTCGTCG" => "QEMU without acceleration".into(),
        b"Microsoft Hv" => "Hyper-V".into(),
        b"VMwareVMware" => "VMware".into(),
        b"XenVMMXenVMM" => "Xen".into(),
        b"VBoxVBoxVBox" => "VirtualBox".into(),
        b"bhyve bhyve " => "bhyve".into(),
        b"QNXQVMBSQG\0\0" => "QNX".into(),
        b"ACRNACRNACRN" => "ACRN".into(),
        b" lrpepyh  vr" => "Parallels".into(),
        b"SRESRESRESRE" => "SRE".into(),
        other => other.trim_ascii_end().escape_ascii().to_string(),
    }
}

/// The TSC, from /proc/cpuinfo and CPUID.
pub(super) fn tsc(cpuinfo: &str, cpuid: &Cpuid, readable: bool) -> Option<Tsc> {
    let flags = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags")?.trim_start().strip_prefix(':'))?;
    let has = |flag| flags.split_whitespace().any(|other| other == flag);
    has("tsc").then(|| Tsc {
        invariant: cpuid.invariant_tsc,
        constant: has("constant_tsc"),
        nonstop: has("nonstop_tsc"),
        reliable: has("tsc_reliable"),
        readable,
    })
}

/// The kernel's clocksources under `directory`.
pub(super) fn clocksource(directory: &Path) -> Option<Clocksource> {
    let read = |name| fs::read_to_string(directory.join(name));
    Some(Clocksource {
        current: read("current_clocksource").ok()?.trim().to_owned(),
        available: read("available_clocksource")
            .ok()?
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    })
}

/// The program that implements the kernel's interface in place of Linux. `log` is the kernel's log.
///
/// gVisor calls its kernel `4.19.0-gvisor`, before 2025 `4.4.0` of a date in 2016, and begins
/// its log with its name (google/gvisor `pkg/sentry/syscalls/linux/linux64.go`,
/// `pkg/sentry/kernel/syslog.go`). WSL 1 has `Microsoft` with a capital in its release where
/// WSL 2 has `microsoft` (microsoft/WSL#423).
pub(super) fn sandbox(version: &str, cpuinfo: &str, log: Option<&[String]>) -> Option<Sandbox> {
    let release = version.split_whitespace().nth(2).unwrap_or_default();
    let logged = |what: &str| log.is_some_and(|log| log.iter().any(|line| line.contains(what)));
    if release.ends_with("-gvisor")
        || version.contains("Sun Jan 10 15:06:54 PST 2016")
        || logged("Starting gVisor")
    {
        Some(Sandbox::Gvisor)
    } else if release.ends_with("-Microsoft") {
        Some(Sandbox::Wsl1)
    } else if cpuinfo.contains("User Mode Linux") {
        Some(Sandbox::UserMode)
    } else {
        None
    }
}

/// The container manager's name, by the marks that its manager leaves under `root` and by the names of
/// process 1's control groups (systemd 252 `src/basic/virt.c`, `detect_container`).
pub(super) fn container(root: &Path) -> Option<String> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let marked = read("run/systemd/container")
        .or_else(|| read("run/host/container-manager"))
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    marked
        .or_else(|| {
            let marks = [("run/.containerenv", "podman"), (".dockerenv", "docker")];
            let is_there = |(mark, _): &(&str, &str)| root.join(mark).exists();
            Some(marks.into_iter().find(is_there)?.1.to_owned())
        })
        .or_else(|| {
            let groups = read("proc/1/cgroup")?;
            let names = ["kubepods", "docker", "containerd", "lxc", "libpod"];
            let name = names.into_iter().find(|name| groups.contains(name))?;
            Some(name.to_owned())
        })
}

/// The time namespace, by the link /proc/PID/ns/time and the text of /proc/PID/timens_offsets
/// (time_namespaces(7)). The first namespace has a number of its own (Linux 6.12
/// `include/linux/proc_ns.h`, PROC_TIME_INIT_INO).
///
/// The offsets are those of the namespace that children are born into, which is the process's
/// own unless it has just called unshare: `for_children` is that namespace's link.
pub(super) fn time_namespace(
    link: &str,
    for_children: &str,
    offsets: &str,
) -> Option<TimeNamespace> {
    const INITIAL: &str = "time:[4026531834]";
    let initial = link == INITIAL;
    if initial || for_children != link {
        return Some(TimeNamespace {
            initial,
            ..TimeNamespace::default()
        });
    }
    let offset = |clock: &str| {
        let line = offsets.lines().find_map(|line| line.strip_prefix(clock))?;
        let mut fields = line.split_whitespace().map(str::parse::<i64>);
        let (seconds, nanoseconds) = (fields.next()?.ok()?, fields.next()?.ok()?);
        Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
    };
    Some(TimeNamespace {
        initial,
        monotonic: offset("monotonic")?,
        boottime: offset("boottime")?,
    })
}

/// The filters of system calls, by the text of /proc/PID/status (proc(5)).
pub(super) fn seccomp(status: &str) -> Option<Seccomp> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some(Seccomp {
        mode: field("Seccomp:")?,
        filters: field("Seccomp_filters:"),
    })
}

/// The lines of the kernel's log about timekeeping or a sandbox; `None` where the log may
/// not be read.
pub(super) fn log() -> Option<Vec<String>> {
    let mut device = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")
        .ok()?;
    let mut lines = Vec::new();
    // A read yields one record, of at most 8 KiB (Linux 6.12 `kernel/printk/printk.c`).
    let mut record = [0; 8192];
    loop {
        match device.read(&mut record) {
            Ok(0) => break,
            Ok(length) => lines.extend(log_line(&record[..length])),
            // EPIPE: the record was overwritten before it was read; the next read goes on after.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => break,
            Err(_) => return None,
        }
    }
    Some(lines)
}

/// The text of a record `priority,number,time,flags;text`, if it is wanted.
fn log_line(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let text = record.split_once(';')?.1.lines().next()?;
    let lower = text.to_ascii_lowercase();
    let wanted = ["tsc", "clocksource", "gvisor", "kvm-clock", "hpet"];
    wanted
        .into_iter()
        .any(|word| lower.contains(word))
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hypervisors_are_identified_by_their_signature() {
        assert_eq!(hypervisor_name(b"KVMKVMKVM\0\0\0"), "KVM");
        assert_eq!(hypervisor_name(b"Brand New\x01 \0"), "Brand New\\x01 \\x00");
    }

    #[test]
    fn flags_of_the_tsc_are_whole_words() {
        let cpuinfo = "model name : x\nflags\t\t: fpu tsc nonstop_tsc tsc_deadline_timer\n";
        let found = tsc(cpuinfo, &Cpuid::default(), true).unwrap();
        assert!(found.nonstop && !found.constant && !found.reliable && !found.invariant);
        assert_eq!(tsc("flags : fpu\n", &Cpuid::default(), true), None);
        assert_eq!(tsc("Features : fp asimd\n", &Cpuid::default(), true), None);
    }

    #[test]
    fn sandboxes_are_identified_by_their_kernel() {
        let old = "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016";
        let new = "Linux version 4.19.0-gvisor #1 SMP Sun Jan 10 15:06:54 PST 2016";
        for version in [old, new] {
            assert_eq!(sandbox(version, "", None), Some(Sandbox::Gvisor));
        }
        let log = ["Starting gVisor...".to_owned()];
        assert_eq!(sandbox("", "", Some(&log)), Some(Sandbox::Gvisor));
        let wsl = |release| format!("Linux version {release} (builder@host)");
        let one = wsl("4.4.0-19041-Microsoft");
        assert_eq!(sandbox(&one, "", None), Some(Sandbox::Wsl1));
        let two = wsl("5.15.90.1-microsoft-standard-WSL2");
        assert_eq!(sandbox(&two, "", None), None);
        assert_eq!(
            sandbox("", "vendor_id : User Mode Linux", None),
            Some(Sandbox::UserMode)
        );
    }

    #[test]
    fn containers_are_identified_by_files_and_control_groups() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(container(root.path()), None);
        fs::create_dir_all(root.path().join("proc/1")).unwrap();
        fs::write(root.path().join("proc/1/cgroup"), "0::/kubepods/pod1\n").unwrap();
        assert_eq!(container(root.path()).as_deref(), Some("kubepods"));
        fs::write(root.path().join(".dockerenv"), "").unwrap();
        assert_eq!(container(root.path()).as_deref(), Some("docker"));
        fs::create_dir_all(root.path().join("run/systemd")).unwrap();
        fs::write(root.path().join("run/systemd/container"), "lxc\n").unwrap();
        assert_eq!(container(root.path()).as_deref(), Some("lxc"));
    }

    #[test]
    fn a_time_namespace_has_a_number_and_offsets() {
        let first = "time:[4026531834]";
        let offsets = "monotonic         100   5\nboottime          -7   0\n";
        let namespace = time_namespace(first, first, offsets).unwrap();
        assert!(namespace.initial);
        assert_eq!(namespace.monotonic, 0);
        let other = "time:[4026532177]";
        let namespace = time_namespace(other, other, offsets).unwrap();
        assert!(!namespace.initial);
        assert_eq!(namespace.monotonic, 100_000_000_005);
        assert_eq!(namespace.boottime, -7_000_000_000);
        assert_eq!(time_namespace(other, other, "nonsense"), None);
    }

    /// After unshare(CLONE_NEWTIME) the offsets are those of future children.
    #[test]
    fn offsets_for_children_are_not_the_processs_own() {
        let (own, children) = ("time:[4026531834]", "time:[4026532177]");
        let namespace = time_namespace(own, children, "monotonic 100 0\nboottime 0 0\n");
        assert_eq!(namespace.unwrap().monotonic, 0);
    }

    #[test]
    fn filters_are_counted_where_the_kernel_does() {
        let new = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let found = seccomp(new).unwrap();
        assert_eq!((found.mode, found.filters), (2, Some(3)));
        assert_eq!(seccomp("Seccomp:\t0\n").unwrap().filters, None);
        assert_eq!(seccomp("Name:\tx\n"), None);
    }

    #[test]
    fn records_of_the_log_are_cut_to_their_text() {
        let record = b"6,339,5140900,-;clocksource: Switched to clocksource tsc\n SUBSYSTEM=x\n";
        assert_eq!(
            log_line(record).as_deref(),
            Some("clocksource: Switched to clocksource tsc")
        );
        assert_eq!(log_line(b"6,1,0,-;Memory: 1 KiB"), None);
        assert_eq!(log_line(b"nonsense"), None);
    }
}

/// Reads `bytes` as each text about the machine and about a process.
#[cfg(fuzzing)]
pub(super) fn exercise(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let cpuid = Cpuid::default();
    let _ = (tsc(&text, &cpuid, true), sandbox(&text, &text, None));
    let _ = time_namespace("time:[1]", "time:[1]", &text);
    let _ = (seccomp(&text), log_line(bytes));
}
