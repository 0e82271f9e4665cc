//! Symbol versions.

use crate::constants::*;
use crate::image::Image;
use crate::text::Text;

/// How many version definitions of an image are read; glibc, with the most of any library known,
/// has fewer than 50.
pub const MAX_VERSIONS: usize = 256;

/// A version definition.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    pub(crate) name: &'a [u8],
    /// The number by which symbols refer to it.
    pub index: u16,
    /// Whether it names the file itself and no version (VER_FLG_BASE).
    pub is_base: bool,
    /// The hash of its name that the image states.
    pub hash: u32,
}

impl<'a> Version<'a> {
    /// The version's name; for the base definition, the file's.
    pub fn name(&self) -> Text<'a> {
        Text::until_nul(self.name)
    }
}

/// The version definitions of an image, at most [`MAX_VERSIONS`].
#[derive(Clone, Debug)]
pub struct Versions<'a> {
    image: Image<'a>,
    at: Option<usize>,
    left: usize,
}

impl<'a> Iterator for Versions<'a> {
    type Item = Version<'a>;

    fn next(&mut self) -> Option<Version<'a>> {
        let at = self.at.take()?;
        self.left = self.left.checked_sub(1)?;
        let (version, next) = self.image.read_version(at)?;
        self.at = next;
        Some(version)
    }
}

impl<'a> Image<'a> {
    /// The version definitions; none where the image has no versions.
    pub fn versions(&self) -> Versions<'a> {
        Versions {
            image: self.clone(),
            at: self.verdef.map(|span| span.start),
            left: MAX_VERSIONS,
        }
    }

    /// Whether symbols have versions. As every reader of vDSOs does, versions are ignored unless
    /// both DT_VERSYM and DT_VERDEF are there.
    #[inline]
    pub fn has_versions(&self) -> bool {
        self.versym.is_some() && self.verdef.is_some()
    }

    /// The file that versions are defined under: the base definition's name.
    pub fn base_name(&self) -> Option<Text<'a>> {
        self.versions()
            .find(|version| version.is_base)
            .map(|version| version.name())
    }

    /// The definition at `at` and where the next one is.
    #[inline]
    fn read_version(&self, at: usize) -> Option<(Version<'a>, Option<usize>)> {
        let end = self.verdef?.end;
        // vd_version, vd_flags, vd_ndx, vd_cnt, vd_hash, vd_aux, vd_next; in vd_aux: vda_name.
        let record = self.data.record::<20>(at)?;
        let auxiliary = at.checked_add(record.u32(12) as usize)?;
        if at + 20 > end || auxiliary.checked_add(8)? > end {
            return None;
        }
        let next = record.u32(16) as usize;
        let version = Version {
            name: self.string_tail(u64::from(self.data.u32(auxiliary)?))?,
            index: record.u16(4) & !VERSYM_HIDDEN,
            is_base: record.u16(2) & VER_FLG_BASE != 0,
            hash: record.u32(8),
        };
        Some((
            version,
            if next == 0 {
                None
            } else {
                at.checked_add(next)
            },
        ))
    }

    /// The first definition, apart from the base, that `is_it` accepts.
    #[inline]
    pub(crate) fn find_version(&self, is_it: impl Fn(&Version<'a>) -> bool) -> Option<Version<'a>> {
        let mut at = self.verdef?.start;
        for _ in 0..MAX_VERSIONS {
            let (version, next) = self.read_version(at)?;
            if !version.is_base && is_it(&version) {
                return Some(version);
            }
            at = next?;
        }
        None
    }

    /// The version entry of a symbol, with its hidden bit.
    #[inline]
    pub(crate) fn version_entry(&self, symbol: u32) -> Option<u16> {
        let span = self.versym?;
        let at = span
            .start
            .checked_add(usize::try_from(symbol).ok()?.checked_mul(2)?)?;
        (at < span.end).then(|| self.data.u16(at)).flatten()
    }
}

/// Whether `tail` begins with `text` and its NUL.
#[inline]
pub(crate) fn is_string(tail: &[u8], text: &[u8]) -> bool {
    tail.get(text.len()) == Some(&0) && tail.starts_with(text)
}
