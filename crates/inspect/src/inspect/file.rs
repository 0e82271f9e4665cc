//! Reading files that may be anything: bounded, and never waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest image that is read. Linux's vDSOs have a few pages, and vvar pages at most some MiB.
const MAX_IMAGE: u64 = 64 << 20;

/// Opens a regular file for reading. O_NONBLOCK keeps open(2) from waiting for the other end of a
/// FIFO or for a device; for regular files it has no effect.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags as i32)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    match kind.is_file() {
        true => Ok(file),
        false if kind.is_dir() => Err(io::Error::other("it is a directory, not a file")),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Reads an image's file: a regular file of at most 64 MiB.
///
/// # Errors
/// When it can't be read, or is another kind of file or larger.
pub fn read_image(path: &Path) -> io::Result<Vec<u8>> {
    read(&open(path)?)
}

/// As [`read_image`], of an open file.
pub(super) fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A file may grow while it is read, and files of /proc have no length.
    file.take(MAX_IMAGE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_IMAGE {
        true => Err(io::Error::other("it is larger than 64 MiB: not a vDSO")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let error = |path: &Path| read_image(path).unwrap_err().to_string();
        assert_eq!(error(Path::new("/dev/zero")), "it is not a regular file");
        assert_eq!(error(Path::new("/")), "it is a directory, not a file");
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
        assert_eq!(error(&fifo), "it is not a regular file");
        let sparse = directory.path().join("sparse");
        File::create(&sparse).unwrap().set_len(6 << 30).unwrap();
        assert!(error(&sparse).contains("64 MiB"));
    }
}
