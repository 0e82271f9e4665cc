//! The archive that Linux unpacks as its first file system: cpio, "newc".
//!
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst. Every
//! number is eight hexadecimal digits; a name's NUL counts in its length; name
//! and data each end on a multiple of four bytes.

use crate::Error;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const END: &str = "TRAILER!!!";

/// An archive in the making. Every file belongs to root and may be executed.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directories: Vec<String>,
}

impl Archive {
    /// Adds a file at an absolute path, and the directories above it.
    ///
    /// # Errors
    /// [`Error::Unpackable`] for a name that the format can't hold.
    pub fn file(&mut self, path: &str, data: &[u8]) -> Result<(), Error> {
        let path = path.trim_start_matches('/');
        for (slash, _) in path.match_indices('/') {
            self.directory(&path[..slash])?;
        }
        self.entry(path, PROGRAM, data)
    }

    /// Adds a directory once.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn directory(&mut self, path: &str) -> Result<(), Error> {
        let path = path.trim_start_matches('/');
        if self.directories.iter().any(|known| known == path) {
            return Ok(());
        }
        self.directories.push(path.to_owned());
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn link(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.entry(path.trim_start_matches('/'), LINK, target.as_bytes())
    }

    /// The finished archive.
    ///
    /// # Errors
    /// None of the archive's own.
    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.entry(END, 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) -> Result<(), Error> {
        let unpackable = || Error::Unpackable {
            what: name.to_owned(),
        };
        if name.contains('\0') {
            return Err(unpackable());
        }
        let name_size = u32::try_from(name.len() + 1).map_err(|_| unpackable())?;
        let file_size = u32::try_from(data.len()).map_err(|_| unpackable())?;
        // Inode, mode, owner, group, links, time, size, four device numbers,
        // length of the name, checksum (none in this format).
        let fields = [0, mode, 0, 0, 1, 0, file_size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes an archive apart again, by the format's rules and nothing else.
    fn unpack(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |n: usize| {
                let digits = std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            let data = (110 + name_size).next_multiple_of(4);
            if name == END {
                return entries;
            }
            entries.push((name, mode, bytes[data..data + size].to_vec()));
            bytes = &bytes[(data + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn directories_come_once_and_before_their_files() {
        let mut archive = Archive::default();
        archive.file("/a/b/one", b"1").unwrap();
        archive.file("/a/b/two", b"").unwrap();
        let names: Vec<String> = unpack(&archive.finish().unwrap())
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/one", "a/b/two"]);
    }

    #[test]
    fn a_name_with_a_nul_is_refused() {
        assert!(Archive::default().file("/a\0b", b"").is_err());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(name in "[a-z]{1,20}", data: Vec<u8>) {
            let mut archive = Archive::default();
            archive.file(&name, &data).unwrap();
            prop_assert_eq!(unpack(&archive.finish().unwrap()), [(name, PROGRAM, data)]);
        }
    }
}
