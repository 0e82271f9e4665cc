//! Calls about memory, by the table of calls.

use crate::arch;
use crate::errno::Errno;
use crate::files::Object;
use crate::memory::{Area, Forked, PAGE, Rights, Source, whole_pages};
use crate::task::schedule;
use core::ops::Range;
use linux_raw_sys::general as linux;

/// The pages of a range that a program names.
fn range(address: usize, length: usize) -> Result<Range<usize>, Errno> {
    let length = whole_pages(length).ok_or(Errno::MEMORY)?;
    let end = address.checked_add(length).ok_or(Errno::MEMORY)?;
    if !address.is_multiple_of(PAGE) {
        return Err(Errno::INVALID);
    }
    if end > arch::USER_END {
        return Err(Errno::MEMORY);
    }
    Ok(address..end)
}

/// `brk`: the new end, or the old one when that can't be.
pub fn set_heap_end(end: usize) -> Result<usize, Errno> {
    let space = schedule::space();
    let mut space = space.get();
    let heap = space.heap.clone();
    let (Some(from), Some(to)) = (whole_pages(heap.end), whole_pages(end)) else {
        return Ok(heap.end);
    };
    if end < heap.start || end > arch::USER_END {
        return Ok(heap.end);
    }
    if to < from {
        space.remove(to..from)?;
    } else if to > from {
        if space.free_range(from, to - from)? != from {
            return Ok(heap.end);
        }
        let area = Area::new(Rights::READ | Rights::WRITE, Source::Zeros);
        space.add(from..to, area)?;
    }
    space.heap.end = end;
    Ok(end)
}

pub fn map(a: super::Arguments) -> Result<usize, Errno> {
    let [address, length, protection, flags, descriptor, offset] = a;
    let flags = flags as u32;
    let flag = |flag: u32| flags & flag != 0;
    let rights = Rights::from_bits_truncate(protection as u32);
    if length == 0 {
        return Err(Errno::INVALID);
    }
    let forked = match flags & linux::MAP_TYPE {
        linux::MAP_PRIVATE => Forked::Copied,
        linux::MAP_SHARED | linux::MAP_SHARED_VALIDATE => Forked::Shared,
        // Pages are never dropped: memory that is used up is an error here.
        linux::MAP_DROPPABLE => Forked::Wiped,
        _ => return Err(Errno::INVALID),
    };
    let mut pages = range(if flag(linux::MAP_FIXED) { address } else { 0 }, length)?;
    let contents = match flag(linux::MAP_ANONYMOUS) {
        true => None,
        false => {
            let process = schedule::current().process.clone();
            let open = process.files.get().open(descriptor)?;
            if let Object::Image(image) = &open.object {
                let first = offset / PAGE;
                let count = pages.len() / PAGE;
                let space = schedule::space();
                let mut space = space.get();
                let start = match flag(linux::MAP_FIXED) {
                    true => address,
                    false => space.free_range(address, pages.len())?,
                };
                image.map(&mut space, start, first..first + count, rights)?;
                return Ok(start);
            }
            let Object::Node(node, _) = &open.object else {
                return Err(Errno::ACCESS);
            };
            if !offset.is_multiple_of(PAGE) {
                return Err(Errno::INVALID);
            }
            // Files are never changed, so a shared mapping that can't be written is a private one.
            if forked == Forked::Shared && rights.contains(Rights::WRITE) {
                return Err(Errno::ACCESS);
            }
            let contents = node.contents().ok_or(Errno::ACCESS)?;
            Some(contents.get(offset..).unwrap_or_default())
        }
    };
    let space = schedule::space();
    let mut space = space.get();
    if !flag(linux::MAP_FIXED) {
        let start = space.free_range(address, pages.len())?;
        pages = start..start + pages.len();
    } else if flag(linux::MAP_FIXED_NOREPLACE) && space.free_range(address, pages.len())? != address
    {
        return Err(Errno::EXISTS);
    }
    let source = contents.map_or(Source::Zeros, |bytes| Source::Bytes(bytes, pages.start));
    let mut area = Area::new(rights, source);
    if contents.is_none() {
        area.forked = forked;
    }
    space.add(pages.clone(), area)?;
    Ok(pages.start)
}

pub fn unmap(address: usize, length: usize) -> Result<usize, Errno> {
    if length == 0 {
        return Err(Errno::INVALID);
    }
    let range = range(address, length)?;
    schedule::space().get().remove(range).map(|()| 0)
}

pub fn protect(address: usize, length: usize, protection: usize) -> Result<usize, Errno> {
    let range = range(address, length)?;
    let rights = Rights::from_bits_truncate(protection as u32);
    schedule::space().get().protect(range, rights).map(|()| 0)
}

pub fn advise(address: usize, length: usize, advice: usize) -> Result<usize, Errno> {
    let range = range(address, length)?;
    let space = schedule::space();
    let mut space = space.get();
    if !space.holds(range.clone()) {
        return Err(Errno::MEMORY);
    }
    match advice as u32 {
        linux::MADV_DONTNEED => space.discard(range)?,
        linux::MADV_WIPEONFORK => space.set_forked(range, Forked::Wiped)?,
        linux::MADV_KEEPONFORK => space.set_forked(range, Forked::Copied)?,
        // Hints.
        linux::MADV_NORMAL..=linux::MADV_WILLNEED
        | linux::MADV_FREE
        | linux::MADV_HUGEPAGE
        | linux::MADV_NOHUGEPAGE
        | linux::MADV_DONTDUMP
        | linux::MADV_DODUMP
        | linux::MADV_COLLAPSE => {}
        _ => return Err(Errno::INVALID),
    }
    Ok(0)
}
