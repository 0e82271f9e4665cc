//! The vDSO of another process, through /proc.
//!
//! Reading requires permission to trace the process (ptrace(2), "Ptrace access mode checking"),
//! which its user and root have. The process isn't stopped: a mapped image never changes.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::constants::{AT_NULL, AT_SYSINFO_EHDR};
use crate::image::{Image, ParseError};

/// The most bytes of an image that are read; Linux's vDSOs have a few pages.
const MAX_LENGTH: u64 = 16 << 20;

/// A line of /proc/PID/maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub range: Range<u64>,
    /// The permissions, such as `r-xp`.
    pub permissions: String,
    /// The file, or a name in brackets; empty for anonymous memory.
    pub name: String,
}

/// An image copied out of a process.
#[derive(Clone, Debug)]
pub struct ProcessVdso {
    /// Where the process has it.
    pub address: u64,
    /// The bytes of the mapping that begins there.
    pub bytes: Vec<u8>,
    /// The mapping.
    pub mapping: Mapping,
    /// The kernel's data pages: mappings whose name begins with `[vvar`. They can't be read from
    /// outside.
    pub data: Vec<Mapping>,
}

impl ProcessVdso {
    /// The image in the bytes.
    ///
    /// # Errors
    /// As [`Image::parse`].
    pub fn image(&self) -> Result<Image<'_>, ParseError> {
        Image::parse_memory(&self.bytes, self.address)
    }
}

/// Why a process's vDSO could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// A file under /proc could not be read.
    Read {
        /// The file.
        path: String,
        /// The reason.
        source: io::Error,
    },
    /// The process was started without a vDSO, or is a kernel thread.
    NoVdso {
        /// The process.
        pid: u32,
    },
    /// Nothing is mapped at the address; a process may have unmapped its vDSO.
    NotMapped {
        /// The process.
        pid: u32,
        /// The address.
        address: u64,
    },
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "can't read {path}"),
            Self::NoVdso { pid } => write!(f, "process {pid} has no vDSO"),
            Self::NotMapped { pid, address } => {
                write!(f, "process {pid} has nothing mapped at {address:#x}")
            }
        }
    }
}

impl std::error::Error for ProcessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The vDSO that the kernel gave the process at its last exec (AT_SYSINFO_EHDR in
/// /proc/PID/auxv).
///
/// If another vDSO was delivered at exec, its address is on the process's stack and not in that
/// file: use [`at`] with its address.
///
/// # Errors
/// [`ProcessError`].
pub fn of(pid: u32) -> Result<ProcessVdso, ProcessError> {
    let auxv = read(format!("/proc/{pid}/auxv"), |path| fs::read(path))?;
    let address = sysinfo_ehdr(&auxv).ok_or(ProcessError::NoVdso { pid })?;
    at(pid, address)
}

/// The image whose ELF header the process has at `address`.
///
/// # Errors
/// [`ProcessError`].
pub fn at(pid: u32, address: u64) -> Result<ProcessVdso, ProcessError> {
    let maps = mappings(pid)?;
    let mapping = maps
        .iter()
        .find(|mapping| mapping.range.contains(&address))
        .ok_or(ProcessError::NotMapped { pid, address })?
        .clone();
    let length = (mapping.range.end - address).min(MAX_LENGTH);
    let bytes = read(format!("/proc/{pid}/mem"), |path| {
        let mut bytes = vec![0; length as usize];
        File::open(path)?.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    })?;
    let data = maps
        .into_iter()
        .filter(|mapping| mapping.name.starts_with("[vvar"))
        .collect();
    Ok(ProcessVdso {
        address,
        bytes,
        mapping,
        data,
    })
}

/// Whether the kernel's vDSO of a process, or a data page of it, is sealed: it can't be moved,
/// replaced or unmapped (mseal(2)). Linux 6.15 and newer seal both at exec where they are built with
/// CONFIG_MSEAL_SYSTEM_MAPPINGS (Documentation/userspace-api/mseal.rst).
///
/// # Errors
/// [`ProcessError::Read`].
pub fn is_sealed(pid: u32) -> Result<bool, ProcessError> {
    let smaps = read(format!("/proc/{pid}/smaps"), |path| fs::read(path))?;
    Ok(has_sealed(&String::from_utf8_lossy(&smaps)))
}

/// [`is_sealed`] by the text of /proc/PID/smaps, whose lines `VmFlags` have `sl` for a sealed
/// mapping (Documentation/filesystems/proc.rst).
fn has_sealed(smaps: &str) -> bool {
    let mut is_vdso = false;
    smaps
        .lines()
        .any(|line| match line.strip_prefix("VmFlags:") {
            Some(flags) => is_vdso && flags.split_whitespace().any(|flag| flag == "sl"),
            None => {
                // A mapping's own line begins with its addresses; those about it with a word.
                if mapping(line).is_some() {
                    is_vdso = line.ends_with("[vdso]") || line.contains("[vvar");
                }
                false
            }
        })
}

/// The mappings of a process, by address.
///
/// # Errors
/// [`ProcessError::Read`].
pub fn mappings(pid: u32) -> Result<Vec<Mapping>, ProcessError> {
    // File names may contain any byte.
    let maps = read(format!("/proc/{pid}/maps"), |path| fs::read(path))?;
    Ok(String::from_utf8_lossy(&maps)
        .lines()
        .filter_map(mapping)
        .collect())
}

fn read<T>(path: String, how: impl FnOnce(&str) -> io::Result<T>) -> Result<T, ProcessError> {
    how(&path).map_err(|source| ProcessError::Read { path, source })
}

/// A line of /proc/PID/maps (proc(5)): range, permissions, offset, device, inode, name.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    let range = hex(start)?..hex(end)?;
    let permissions = fields.next()?.to_owned();
    let name = fields.nth(3).unwrap_or_default().trim_start().to_owned();
    Some(Mapping {
        range,
        permissions,
        name,
    })
}

/// AT_SYSINFO_EHDR in an auxiliary vector of this machine's byte order.
///
/// Its entries are as wide as the process's addresses: in a vector of 4-byte pairs read as 8-byte
/// ones, tag and value make one number of 2^32 or more, which no tag is.
fn sysinfo_ehdr(auxv: &[u8]) -> Option<u64> {
    let wide = || {
        auxv.chunks_exact(16).map(|pair| {
            let (tag, value) = pair.split_at(8);
            let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
            (word(tag), word(value))
        })
    };
    let narrow = auxv.chunks_exact(8).map(|pair| {
        let (tag, value) = pair.split_at(4);
        let word = |bytes: &[u8]| u64::from(bytes.try_into().map_or(0, u32::from_ne_bytes));
        (word(tag), word(value))
    });
    let find = |pairs: &mut dyn Iterator<Item = (u64, u64)>| {
        pairs
            .take_while(|(tag, _)| *tag != AT_NULL)
            .find(|(tag, _)| *tag == AT_SYSINFO_EHDR)
            .map(|(_, address)| address)
            .filter(|&address| address != 0)
    };
    let is_wide = wide().all(|(tag, _)| tag <= u64::from(u32::MAX));
    if is_wide {
        find(&mut wide())
    } else {
        find(&mut { narrow })
    }
}

/// Reads `bytes` as each of the texts and the vector above.
#[cfg(fuzzing)]
pub fn exercise(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (has_sealed(&text), sysinfo_ehdr(bytes));
    for mapping in text.lines().filter_map(mapping) {
        assert!(text.contains(&mapping.name) && text.contains(&mapping.permissions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auxv(wide: bool, entries: &[(u64, u64)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|&(tag, value)| [tag, value])
            .flat_map(|word| {
                if wide {
                    word.to_ne_bytes().to_vec()
                } else {
                    (word as u32).to_ne_bytes().to_vec()
                }
            })
            .collect()
    }

    #[test]
    fn both_widths_of_auxiliary_vectors_are_read() {
        let entries = [(32, 0xf7f0_0000), (33, 0xf7f0_1000), (16, 7), (0, 0)];
        for wide in [false, true] {
            assert_eq!(sysinfo_ehdr(&auxv(wide, &entries)), Some(0xf7f0_1000));
            assert_eq!(
                sysinfo_ehdr(&auxv(wide, &[(16, 7), (33, 0), (6, 4096), (0, 0)])),
                None
            );
            assert_eq!(sysinfo_ehdr(&auxv(wide, &[(16, 7), (0, 0), (33, 1)])), None);
        }
        assert_eq!(sysinfo_ehdr(b""), None);
    }

    #[test]
    fn a_sealed_vdso_is_told_from_other_sealed_mappings() {
        let flags = [
            "VmFlags: rd ex mr mw me de",
            "VmFlags: rd ex mr mw me de sl",
        ];
        let smaps = |data: &str, vdso: &str, library: &str| {
            format!(
                "7f46dfa6c000-7f46dfa70000 r--p 00000000 00:00 0      [vvar]\n\
                 Size:                 16 kB\n{data}\n\
                 7f46dfa72000-7f46dfa74000 r-xp 00000000 00:00 0      [vdso]\n\
                 Size:                  8 kB\n{vdso}\n\
                 7f46dfa74000-7f46dfa75000 r--p 00000000 fe:00 3      /lib/ld.so\n{library}\n"
            )
        };
        let [open, sealed] = flags;
        assert!(!has_sealed(&smaps(open, open, open)));
        assert!(!has_sealed(&smaps(open, open, sealed)));
        assert!(has_sealed(&smaps(open, sealed, open)));
        assert!(has_sealed(&smaps(sealed, open, open)));
    }

    #[test]
    fn lines_of_maps_are_read() {
        let line = "7fff1000-7fff3000 r-xp 00000000 00:00 0                          [vdso]";
        let expected = Mapping {
            range: 0x7fff_1000..0x7fff_3000,
            permissions: "r-xp".into(),
            name: "[vdso]".into(),
        };
        assert_eq!(mapping(line), Some(expected));
        let named = mapping("1000-2000 r--p 00000000 fe:00 12 /a b").expect("a line");
        assert_eq!(named.name, "/a b");
        assert_eq!(
            mapping("1000-2000 r--p 00000000 00:00 0 ")
                .expect("a line")
                .name,
            ""
        );
        assert_eq!(mapping("nonsense"), None);
    }
}
