//! Names in an image: bytes that should be text.

use core::fmt;

/// How many bytes of a name are read. A longer name is truncated to its first `MAX_NAME` bytes, so
/// that an image whose names all run to its end costs no more than one whose names are short.
/// A look-up compares the whole name and has no such limit.
pub const MAX_NAME: usize = 255;

/// A name as it stands in an image, up to but without its NUL.
///
/// It may hold any byte. `Display` writes control characters and bytes that are no UTF-8 as
/// escapes: a hostile image can't send commands to a terminal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The name at the start of `bytes`: up to the first NUL, the end, or [`MAX_NAME`] bytes.
    pub fn until_nul(bytes: &'a [u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(MAX_NAME)];
        let end = bytes.iter().position(|&byte| byte == 0);
        Self(&bytes[..end.unwrap_or(bytes.len())])
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The name as a string, if it is UTF-8.
    pub fn to_str(self) -> Option<&'a str> {
        core::str::from_utf8(self.0).ok()
    }

    /// Whether the name has no bytes.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    fmt::Write::write_char(f, character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_reach_the_terminal() {
        let name = Text::until_nul(b"a\x1b[2J\xff\xfe\0rest");
        assert_eq!(format!("{name}"), "a\\u{1b}[2J\\xff\\xfe");
        assert_eq!(name.to_str(), None);
    }

    #[test]
    fn a_name_ends_at_nul_at_the_end_or_at_the_limit() {
        assert_eq!(Text::until_nul(b"time\0x"), "time");
        assert_eq!(Text::until_nul(b"time"), "time");
        assert_eq!(Text::until_nul(b"time"), *"time");
        assert_ne!(Text::until_nul(b"time"), *"times");
        assert_ne!(Text::until_nul(b"time"), "tim");
        assert_eq!(Text::until_nul(&[b'a'; 1000]).as_bytes().len(), MAX_NAME);
        assert!(Text::until_nul(b"").is_empty());
    }
}
