//! Images that lie in this process's memory.
#![allow(
    unsafe_code,
    reason = "an address that the kernel handed over becomes bytes here"
)]

use core::slice;

use crate::constants::PT_LOAD;
use crate::image::{Header, Image, ParseError};
use crate::segment::Segments;

/// Bytes that may be read at an image's address before its length is known: the smallest page.
const FIRST_PAGE: usize = 4096;

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
/// 2. Nobody writes to them in that time.
///
/// AT_SYSINFO_EHDR of the auxiliary vector is such an address unless the program unmaps its vDSO.
pub unsafe fn image_at(address: *const u8) -> Result<Image<'static>, ParseError> {
    // SAFETY: fact 1 (a page is at least FIRST_PAGE long) and fact 2 of the caller.
    let first = unsafe { slice::from_raw_parts(address, FIRST_PAGE) };
    let (header, data) = Header::read_data(first)?;
    let start = usize::try_from(header.phoff).map_err(|_| ParseError::SegmentTable)?;
    let table = usize::from(header.phnum) * usize::from(header.phentsize);
    if data.range(start, table).is_none() {
        return Err(ParseError::SegmentTable);
    }
    let load = Segments::new(
        data,
        start,
        usize::from(header.phentsize),
        usize::from(header.phnum),
    )
    .find(|segment| segment.kind == PT_LOAD)
    .ok_or(ParseError::NoLoad)?;
    let length = load
        .offset
        .checked_add(load.memsz)
        .and_then(|end| usize::try_from(end).ok());
    let length = length
        .filter(|&length| length <= isize::MAX as usize)
        .ok_or(ParseError::NoLoad)?;
    // SAFETY: fact 1: from the header to the end of the first PT_LOAD all is mapped; fact 2.
    unsafe { image_of_length(address, length) }
}

/// The image in the `length` bytes at `address`, for a caller that knows the mapping's length.
///
/// # Errors
/// As [`Image::parse`].
///
/// # Safety
/// 1. `address` is the start of `length` bytes mapped readable for all of `'static`; `length` is
///    at most `isize::MAX`.
/// 2. Nobody writes to them in that time: they include no vvar page.
pub unsafe fn image_of_length(
    address: *const u8,
    length: usize,
) -> Result<Image<'static>, ParseError> {
    // SAFETY: facts 1 and 2 of the caller are what a shared slice needs.
    let bytes = unsafe { slice::from_raw_parts(address, length) };
    Image::parse_memory(bytes, address.addr() as u64)
}
