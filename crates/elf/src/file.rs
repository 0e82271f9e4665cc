//! Opening and reading files that may be anything: bounded, and never waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest image that is read. Linux's vDSOs have a few pages, and vvar pages at most some MiB.
const MAX_IMAGE: u64 = 64 << 20;

/// Opens a regular file for reading.
///
/// # Errors
/// When it can't be opened, or is of another kind.
pub fn open(path: &Path) -> io::Result<File> {
    // O_NONBLOCK keeps open(2) from waiting for the other end of a FIFO or for a device; for regular
    // files it has no effect.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
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
    read_open_image(&open(path)?)
}

/// As [`read_image`], of an open file, from its offset on.
///
/// # Errors
/// When it can't be read or is larger.
pub fn read_open_image(file: &File) -> io::Result<Vec<u8>> {
    read(file, MAX_IMAGE)
}

/// Reads a text of at most `limit` bytes, from a regular file or from a descriptor that this process
/// has inherited: `/dev/stdin`, and `/dev/fd/63` as shells name a pipe in `<(command)`.
///
/// # Errors
/// When it can't be read, is larger or no UTF-8, or is another kind of file.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let descriptors = ["/dev/fd", "/proc/self/fd", "/dev/stdin"];
    let is_inherited = descriptors.iter().any(|name| path.starts_with(name));
    let file = match is_inherited {
        true => File::open(path),
        false => open(path),
    }?;
    String::from_utf8(read(&file, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn read(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A file may grow while it is read, and files of /proc have no length.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::Error::other(format!(
            "it is larger than {} KiB",
            limit >> 10
        ))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let error = |path: &Path| {
            let text = read_text(path, 1 << 20).unwrap_err().to_string();
            let image = read_image(path).unwrap_err().to_string();
            (text, image)
        };
        let both = |why: &str| (why.to_owned(), why.to_owned());
        assert_eq!(
            error(Path::new("/dev/zero")),
            both("it is not a regular file")
        );
        assert_eq!(error(Path::new("/")), both("it is a directory, not a file"));
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(error(&fifo), both("it is not a regular file"));
        let sparse = directory.path().join("sparse");
        File::create(&sparse).unwrap().set_len(6 << 30).unwrap();
        let (text, image) = error(&sparse);
        assert_eq!(text, "it is larger than 1024 KiB");
        assert_eq!(image, "it is larger than 65536 KiB");
    }

    #[test]
    fn a_text_is_read_from_an_inherited_pipe() {
        let mut echo = Command::new("echo");
        let mut echo = echo.arg("text").stdout(Stdio::piped()).spawn().unwrap();
        let pipe = echo.stdout.take().unwrap();
        let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        assert_eq!(read_text(Path::new(&path), 5).unwrap(), "text\n");
        echo.wait().unwrap();
    }
}
