//! Links: words of an image that hold addresses of functions in the kernel's own vDSO.
//!
//! An image lists them in an ELF note, name `vdsokit`, type 2. Its bytes, in the byte order of
//! the machine: a count (u32), a zero (u32), then for each link the p_vaddr (u64) of an 8-byte
//! aligned word in the first PT_LOAD, the symbol's name and its version, each ended by a NUL, and
//! zeros up to the next multiple of 8 from the start of the note's bytes.
//!
//! A word that stays 0 means that the kernel has no such function: the image makes the system
//! call.
//!
//! A link may instead hold the address of private memory ([`crate::Object::with_word`]).

use vdsokit_elf::{Image, Segment};

use crate::error::ImageError;

/// The note that lists an image's links.
const NOTE_NAME: &str = "vdsokit";
/// Its type.
const NOTE_LINKS: u32 = 2;

/// One link of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The word, in bytes from the image's start.
    pub(crate) word: u64,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The private memory whose address it holds, in bytes from the image's start. `None`: it
    /// holds the address of a function of the kernel's vDSO.
    pub(crate) own: Option<u64>,
}

/// The links of `image`, whose first PT_LOAD is `text`.
pub(crate) fn read(image: &Image<'_>, text: &Segment) -> Result<Vec<Link>, ImageError> {
    let mut notes = image.notes();
    let Some(note) = notes.find(|note| note.kind == NOTE_LINKS && note.name == NOTE_NAME) else {
        return Ok(Vec::new());
    };
    parse(note.desc, text).ok_or(ImageError::Links)
}

fn parse(bytes: &[u8], text: &Segment) -> Option<Vec<Link>> {
    let count = u32::from_ne_bytes(*bytes.first_chunk()?);
    let mut at = 8;
    let mut links = Vec::new();
    for _ in 0..count {
        let vaddr = u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?);
        at += 8;
        let name = text_at(bytes, &mut at)?;
        let version = text_at(bytes, &mut at)?;
        at = at.next_multiple_of(8);
        if !vaddr.is_multiple_of(8) || !text.holds(vaddr, 8) {
            return None;
        }
        links.push(Link {
            word: vaddr - text.vaddr,
            name,
            version,
            own: None,
        });
    }
    Some(links)
}

/// The NUL-terminated text at `at`. Advances `at` behind it.
fn text_at(bytes: &[u8], at: &mut usize) -> Option<String> {
    let rest = bytes.get(*at..)?;
    let length = rest.iter().position(|&byte| byte == 0)?;
    *at += length + 1;
    String::from_utf8(rest[..length].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Segment {
        Segment {
            kind: vdsokit_elf::constants::PT_LOAD,
            flags: 5,
            offset: 0,
            vaddr: 0x1000,
            filesz: 0x800,
            memsz: 0x800,
            align: 0x1000,
        }
    }

    fn note(links: &[(u64, &str, &str)]) -> Vec<u8> {
        let mut bytes = u64::from(links.len() as u32).to_ne_bytes().to_vec();
        for (vaddr, name, version) in links {
            bytes.extend(vaddr.to_ne_bytes());
            bytes.extend([name.as_bytes(), b"\0", version.as_bytes(), b"\0"].concat());
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes
    }

    #[test]
    fn reads_every_link() {
        let bytes = note(&[(0x1700, "__vdso_time", "LINUX_2.6"), (0x17f8, "beat", "")]);
        let links = parse(&bytes, &text()).expect("a whole note");
        let expect = |word, name: &str, version: &str| Link {
            word,
            name: name.to_owned(),
            version: version.to_owned(),
            own: None,
        };
        assert_eq!(
            links,
            [
                expect(0x700, "__vdso_time", "LINUX_2.6"),
                expect(0x7f8, "beat", "")
            ]
        );
        for length in 0..bytes.len() - 2 {
            assert_eq!(parse(&bytes[..length], &text()), None, "{length} bytes");
        }
    }

    #[test]
    fn a_word_outside_the_text_or_unaligned_is_refused() {
        for vaddr in [0, 0xff8, 0x1704, 0x1800, u64::MAX - 7] {
            assert_eq!(
                parse(&note(&[(vaddr, "a", "b")]), &text()),
                None,
                "{vaddr:#x}"
            );
        }
    }
}
