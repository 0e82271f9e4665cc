//! One publisher per file, whatever its names.
//!
//! The [lock](crate::lock) is on a name. A file can have several: hard links, and mount points
//! (a bind mount of the file alone). For such a file the header tells who publishes, and
//! /proc tells whether that process still has the pages mapped for writing.

use crate::error::Error;
use crate::mapped_vvar::MappedVvar;
use crate::time;
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use std::fs::{self, File};
use std::path::Path;
use vdsokit_vvar::header::Condition;

/// Whether other paths may name the same file.
fn has_other_names(file: &File) -> bool {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK);
    // Without an answer, the slower check.
    stat.map_or(true, |stat| {
        stat.stx_nlink != 1 || stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
    })
}

/// Claims a mapped file for this process, which holds the lock on `path`.
///
/// # Errors
/// [`Error::Busy`] when another process publishes the file by another name.
pub(crate) fn claim(file: &File, path: &Path, mapping: &MappedVvar) -> Result<(), Error> {
    let header = mapping.header();
    let own = u64::from(std::process::id());
    loop {
        let publisher = header.publisher();
        if publisher != own
            && publisher != 0
            && has_other_names(file)
            && is_publishing(publisher, file, mapping)
        {
            return Err(Error::busy(path, u32::try_from(publisher).ok()));
        }
        // Of two processes that come by different names at the same time, one fails and
        // finds the other's id, which has the pages mapped by now.
        if header.claim(publisher, own) {
            return Ok(());
        }
    }
}

/// Whether the process has the file mapped shared and writable. Where that cannot be
/// told, whether its heartbeat is recent.
fn is_publishing(publisher: u64, file: &File, mapping: &MappedVvar) -> bool {
    let Ok(stat) = rustix::fs::fstat(file) else {
        return true;
    };
    match fs::read_to_string(format!("/proc/{publisher}/maps")) {
        Ok(maps) => maps
            .lines()
            .any(|line| maps_file(line, stat.st_dev, stat.st_ino)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(_) => mapping.header().condition(time::boot(), time::now) == Condition::Live,
    }
}

/// Whether a line of /proc/PID/maps (proc_pid_maps(5)) is a shared, writable mapping of the
/// file.
fn maps_file(line: &str, device: u64, inode: u64) -> bool {
    let mut words = line.split_ascii_whitespace();
    let (Some(mode), Some(_), Some(dev), Some(ino)) =
        (words.nth(1), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let expected = format!(
        "{:02x}:{:02x}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    mode.contains('w') && mode.ends_with('s') && dev == expected && ino.parse() == Ok(inode)
}

/// Reads `text` as lines of `/proc/PID/maps`.
#[cfg(fuzzing)]
pub(crate) fn exercise(text: &str) {
    let _ = text.lines().any(|line| maps_file(line, 0x801, 7));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_other_names_if_it_has_more_than_one_link_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        let file = File::create(&one).unwrap();
        assert!(!has_other_names(&file));
        fs::hard_link(&one, &other).unwrap();
        assert!(has_other_names(&file));
        fs::remove_file(&one).unwrap();
        assert!(!has_other_names(&file));
        fs::remove_file(&other).unwrap();
        assert!(has_other_names(&file));
    }

    #[test]
    fn only_shared_writable_mappings_of_the_file_count() {
        let device = rustix::fs::makedev(0xfe, 2);
        let line = |mode, device, inode| format!("7f00-7f10 {mode} 00001000 {device} {inode} /x y");
        assert!(maps_file(&line("rw-s", "fe:02", 7), device, 7));
        for (mode, dev, inode) in [
            ("r--s", "fe:02", 7),
            ("rw-p", "fe:02", 7),
            ("rw-s", "fe:03", 7),
            ("rw-s", "fe:02", 8),
        ] {
            assert!(
                !maps_file(&line(mode, dev, inode), device, 7),
                "{mode} {dev} {inode}"
            );
        }
        assert!(!maps_file("", device, 7));
    }
}
