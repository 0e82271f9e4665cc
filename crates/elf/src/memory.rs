//! Images that lie in this process's memory.
#![allow(
    unsafe_code,
    reason = "an address from the auxiliary vector becomes a slice here"
)]

use core::slice;

use crate::data::Data;
use crate::image::{Form, Header, Image, ParseError, Parts};

/// Bytes that may be read at an image's address before its length is known: the smallest page.
pub(crate) const FIRST_PAGE: usize = 4096;

/// The image whose ELF header lies at `address`. Its length is taken from its first PT_LOAD,
/// which in a vDSO holds header, tables and code; vvar pages are not part of the bytes.
///
/// # Errors
/// As [`Image::parse`]; [`ParseError::SegmentTable`] where the program headers don't lie in the
/// first page.
///
/// # Safety
/// 1. `address` is page-aligned, and the page there and the first PT_LOAD that its program
///    headers state are mapped readable for all of `'static`.
/// 2. They are not written to in that time.
///
/// AT_SYSINFO_EHDR of the auxiliary vector is such an address unless the program unmaps its vDSO.
pub unsafe fn image_at(address: *const u8) -> Result<Image<'static>, ParseError> {
    // SAFETY: fact 1 (a page is at least FIRST_PAGE long) and fact 2 of the caller.
    let first = unsafe { slice::from_raw_parts(address, FIRST_PAGE) };
    Header::ident(first)?.specialised(|data| {
        let header = Header::fields(&data).ok_or(ParseError::Truncated)?;
        let parts = Parts::read(&header, data)?;
        let end = parts.load.offset.checked_add(parts.load.memsz);
        let length = end
            .and_then(|end| usize::try_from(end).ok())
            .filter(|&length| length <= isize::MAX as usize)
            .ok_or(ParseError::NoLoad)?;
        // SAFETY: fact 1: from the header to the end of the first PT_LOAD all is mapped; fact 2.
        let bytes = unsafe { slice::from_raw_parts(address, length) };
        let form = Form::Memory {
            address: address.addr() as u64,
        };
        Ok(Image::from_parts(
            header,
            Data { bytes, ..data },
            form,
            &parts,
        ))
    })
}
