//! What a control group may use: cgroups(7), version 2
//! (Documentation/admin-guide/cgroup-v2.rst).
//!
//! A limit of a group holds for all groups below it, so the tightest one on the way to the root is in
//! force. In a cgroup namespace, as containers have, the way ends at the namespace's root.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where control groups are mounted.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

/// What the files say; `None` where they say nothing, as under version 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Limits {
    /// CPU seconds a second: the CPUs that its processes may run on, or a `cpu.max` below that.
    pub(super) cpus: Option<f64>,
    /// Bytes: the least `memory.max`, `u64::MAX` for none.
    pub(super) memory: Option<u64>,
    /// Bytes: `memory.current` of the group, or of the nearest group above it that has an account.
    pub(super) memory_used: Option<u64>,
}

impl Limits {
    /// Those of the process that `proc` calls `self`, with control groups mounted at `cgroups`.
    pub(super) fn read(proc: &Path, cgroups: &Path) -> Self {
        let text = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        let Some(groups) = groups(&text, cgroups) else {
            return Self::default();
        };
        let status = fs::read_to_string(proc.join("self/status")).unwrap_or_default();
        let limits = Self::of_groups(&groups, affinity(&status));
        // A controller that a hierarchy of version 1 has is not in version 2's.
        let is_here = |controller: &str| !has_version_1(&text, controller);
        Self {
            cpus: limits.cpus.filter(|_| is_here("cpu")),
            memory: limits.memory.filter(|_| is_here("memory")),
            memory_used: limits.memory_used.filter(|_| is_here("memory")),
        }
    }

    /// Those of the group with this directory, whose processes may run on the CPUs of its cpuset. Nothing once
    /// the group is removed.
    pub(super) fn of_group(group: &Path) -> Self {
        if !is_group(group) {
            return Self::default();
        }
        let groups: Vec<PathBuf> = group
            .ancestors()
            .take_while(|group| is_group(group))
            .map(Path::to_owned)
            .collect();
        // A group without a cpuset of its own has that of the group above it.
        let cpuset = read(&groups, "cpuset.cpus.effective");
        let cpuset = cpuset.first().and_then(|list| cpus(list.trim()));
        Self::of_groups(&groups, cpuset)
    }

    /// Those of a group and the groups above it, the nearest first, whose processes may run on so many CPUs.
    fn of_groups(groups: &[PathBuf], cpus: Option<f64>) -> Self {
        let quotas = read(groups, "cpu.max");
        let limits = read(groups, "memory.max");
        let limits = limits.iter().filter_map(|text| text.trim().parse().ok());
        let used = read(groups, "memory.current");
        Self {
            cpus: cpus.map(|cpus| {
                let quotas = quotas.iter().filter_map(|text| quota(text));
                quotas.fold(cpus, f64::min)
            }),
            memory: Some(limits.min().unwrap_or(u64::MAX)),
            memory_used: used.first().and_then(|text| text.trim().parse().ok()),
        }
    }
}

/// Whether this is the directory of a group of version 2: cgroups(7) has it that each has the file.
pub(super) fn is_group(directory: &Path) -> bool {
    directory.join("cgroup.controllers").exists()
}

/// What the files of this name say, in the order of the groups; those that are not there are left out.
fn read(groups: &[PathBuf], name: &str) -> Vec<String> {
    let files = groups.iter().map(|group| group.join(name));
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect()
}

/// The directories of a process's group and of all above it, the nearest first: `text` is
/// `/proc/PID/cgroup`. `None` without version 2, or for a group outside of the namespace.
fn groups(text: &str, cgroups: &Path) -> Option<Vec<PathBuf>> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // "(deleted)" is behind the path of a group that was removed.
    let path = Path::new(path.strip_suffix(" (deleted)").unwrap_or(path));
    // Neither `..` nor a path that begins with `/` once more.
    let is_beneath = |part| matches!(part, Component::Normal(_));
    if !path.components().all(is_beneath) {
        return None;
    }
    // Beside version 1, systemd mounts version 2 at `unified`.
    let roots = [cgroups.to_owned(), cgroups.join("unified")];
    let root = roots.into_iter().find(|root| is_group(root))?;
    let ancestors = path.ancestors().map(|group| root.join(group));
    Some(ancestors.collect())
}

/// Whether a hierarchy of version 1 has the controller: a line `NUMBER:CONTROLLER,…:PATH`.
fn has_version_1(text: &str, controller: &str) -> bool {
    text.lines().any(|line| {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        controllers.split(',').any(|name| name == controller)
    })
}

/// `cpu.max` is a quota, or `max`, and a period, in microseconds.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

/// The number of CPUs in `Cpus_allowed_list` of `/proc/PID/status`.
fn affinity(status: &str) -> Option<f64> {
    let mut lines = status.lines();
    cpus(lines.find_map(|line| Some(line.strip_prefix("Cpus_allowed_list:")?.trim()))?)
}

/// The number of CPUs in a list such as `0-3,8`.
fn cpus(list: &str) -> Option<f64> {
    let count = list.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(f64::from(last.checked_sub(first)?) + 1.0)
    });
    count.sum()
}

/// Reads `text` as each of these files.
#[cfg(fuzzing)]
pub(super) fn exercise(text: &str) {
    let _ = (quota(text), affinity(text), cpus(text));
    let _ = has_version_1(text, "cpu");
    let root = Path::new(CGROUPS);
    for group in groups(text, root).into_iter().flatten() {
        let is_beneath = group.components().all(|part| part != Component::ParentDir);
        assert!(is_beneath && group.starts_with(root), "{}", group.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(quota("max 100000\n"), None);
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("1 0\n"), None);
        let status =
            |list: &str| format!("Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t{list}\n");
        assert_eq!(affinity(&status("0-3,8")), Some(5.0));
        assert_eq!(affinity(&status("7")), Some(1.0));
        assert_eq!(affinity(&status("3-1")), None);
        assert_eq!(affinity("Name:\tx\n"), None);
    }

    #[test]
    fn a_group_outside_of_the_namespace_has_no_limits_here() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        assert_eq!(groups("0::/../other\n", root.path()), None);
        assert_eq!(groups("0:://etc\n", root.path()), None);
        let groups = groups("1:name=systemd:/\n0::/a/b\n", root.path()).unwrap();
        let expected = ["a/b", "a", ""].map(|group| root.path().join(group));
        assert_eq!(groups, expected);
    }

    #[test]
    fn a_controller_of_version_1_is_not_in_version_2() {
        let text = "4:memory:/x\n2:cpu,cpuacct:/\n0::/\n";
        assert!(has_version_1(text, "cpu") && has_version_1(text, "memory"));
        assert!(!has_version_1("0::/cpu\n1:name=systemd:/\n", "cpu"));
    }
}
