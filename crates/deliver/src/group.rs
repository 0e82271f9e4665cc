//! Groups of processes, to be attached to together.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::sys::Pid;

/// Processes that are attached to together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Group {
    /// The process with this id, and all its descendants.
    Tree(u32),
    /// The processes of a control group and of all below it (cgroups(7), version 2), by its directory.
    Cgroup(PathBuf),
}

impl Group {
    /// Its processes, those first that have no parent among them.
    pub(crate) fn processes(&self) -> io::Result<Vec<Pid>> {
        match self {
            Group::Tree(first) => tree(Pid::try_from(*first).map_err(|_| Errno::SRCH)?),
            Group::Cgroup(directory) => {
                let mut found = BTreeSet::new();
                cgroup(directory, &mut found)?;
                Ok(found.into_iter().collect())
            }
        }
    }
}

fn tree(first: Pid) -> io::Result<Vec<Pid>> {
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// The parent of a process (proc_pid_stat(5), field 4).
fn parent(pid: Pid) -> Option<Pid> {
    parent_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parent_of(stat: &str) -> Option<Pid> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The processes in a `cgroup.procs` (cgroups(7)).
fn members(text: &str) -> impl Iterator<Item = Pid> {
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    // 0 stands for a process of another pid namespace.
    numbers.filter(|&pid: &Pid| pid > 0)
}

/// Reads `text` as each of these.
#[cfg(fuzzing)]
pub(crate) fn exercise(text: &str) {
    let _ = parent_of(text);
    assert!(members(text).all(|pid| pid > 0));
}

fn cgroup(directory: &Path, found: &mut BTreeSet<Pid>) -> io::Result<()> {
    let text = fs::read_to_string(directory.join("cgroup.procs"))?;
    found.extend(members(&text));
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            cgroup(&entry.path(), found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_begins_with_its_first_process_and_has_its_descendants() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line; exit"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let this = std::process::id();
        let found = Group::Tree(this).processes().expect("a tree");
        assert_eq!(found.first(), Some(&(this as Pid)));
        assert!(found.contains(&(child.id() as Pid)));
        assert!(
            Group::Tree(child.id())
                .processes()
                .is_ok_and(|all| all.len() == 1)
        );
        drop(child.stdin.take());
        child.wait().expect("its end");
    }

    #[test]
    fn a_number_that_no_process_has_is_refused() {
        let error = Group::Tree(u32::MAX).processes().expect_err("no process");
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }
}
