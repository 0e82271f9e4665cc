//! The address space of a process: areas, and pages that appear when they are first touched.

use super::table::Table;
use super::{Area, Forked, Frame, PAGE, Rights, Source, page_of, whole_pages};
use crate::errno::Errno;
use crate::vdso::ProcessPage;
use crate::{arch, cpu};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// An address space.
pub struct Space {
    table: Table,
    /// By the address of the first byte.
    areas: BTreeMap<usize, Area>,
    /// The pages that are there, by address. The table maps no others.
    pages: BTreeMap<usize, Page>,
    /// The heap of the program: where it begins, and the end that `brk` set.
    pub heap: Range<usize>,
    /// The address of the vDSO, 0 for none.
    pub vdso: usize,
    /// The page with facts of the process that the space belongs to.
    pub process: Option<ProcessPage>,
}

/// A page that is there.
struct Page {
    frame: Frame,
    /// What the table's entry permits: writing only if no other space has the frame.
    rights: Rights,
}

impl From<Frame> for Page {
    /// Not in the table yet.
    fn from(frame: Frame) -> Self {
        let rights = Rights::empty();
        Self { frame, rights }
    }
}

/// Addresses below this are never mapped.
const LOWEST: usize = 0x1_0000;

impl Space {
    /// A space with nothing in it.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            table: Table::new()?,
            areas: BTreeMap::new(),
            pages: BTreeMap::new(),
            heap: 0..0,
            vdso: 0,
            process: None,
        })
    }

    /// The physical address of the root of the page tables.
    pub fn root(&self) -> usize {
        self.table.root()
    }

    /// The space of a forked process: the same pages, each copied by the first that writes it.
    pub fn forked(&mut self) -> Result<Self, Errno> {
        let mut child = Self {
            areas: self.areas.clone(),
            heap: self.heap.clone(),
            vdso: self.vdso,
            ..Self::new()?
        };
        let is_kept = |page: &usize| {
            let area = self.area(*page);
            area.is_some_and(|(_, area)| area.forked != Forked::Wiped)
        };
        let pages: Vec<usize> = self.pages.keys().copied().filter(is_kept).collect();
        for page in pages {
            child.pages.extend(
                self.pages
                    .get(&page)
                    .map(|it| (page, it.frame.clone().into())),
            );
            self.map(page)?;
            child.map(page)?;
        }
        self.flush();
        Ok(child)
    }

    /// Adds an area. What was there before is unmapped.
    pub fn add(&mut self, range: Range<usize>, area: Area) -> Result<(), Errno> {
        self.remove(range.clone())?;
        let Range { start, end } = range;
        self.areas.insert(start, Area { end, ..area });
        if area.forked == Forked::Shared {
            // Pages that appeared after a fork would differ between parent and child.
            for page in (start..end).step_by(PAGE) {
                self.page(page)?;
            }
        }
        Ok(())
    }

    /// Adds an area of pages that exist.
    pub fn give(&mut self, start: usize, rights: Rights, pages: Vec<Frame>) -> Result<(), Errno> {
        let end = start + pages.len() * PAGE;
        self.add(start..end, Area::new(rights, Source::Given))?;
        for (index, frame) in pages.into_iter().enumerate() {
            self.pages.insert(start + index * PAGE, frame.into());
            self.map(start + index * PAGE)?;
        }
        Ok(())
    }

    /// Unmaps a range.
    pub fn remove(&mut self, range: Range<usize>) -> Result<(), Errno> {
        self.part(&range)?;
        self.areas.retain(|start, _| !range.contains(start));
        self.discard(range)
    }

    /// Changes the rights of a range, all of which has to be mapped.
    pub fn protect(&mut self, range: Range<usize>, rights: Rights) -> Result<(), Errno> {
        self.part(&range)?;
        let mut covered = range.start;
        for (start, area) in self.areas.range(range.clone()) {
            if *start != covered {
                return Err(Errno::MEMORY);
            }
            if matches!(area.source, Source::Given) && rights.contains(Rights::WRITE) {
                return Err(Errno::ACCESS);
            }
            covered = area.end;
        }
        if covered < range.end {
            return Err(Errno::MEMORY);
        }
        for (_, area) in self.areas.range_mut(range.clone()) {
            area.rights = rights;
        }
        let pages: Vec<usize> = self.pages.range(range).map(|(page, _)| *page).collect();
        for page in pages {
            self.map(page)?;
        }
        self.flush();
        Ok(())
    }

    /// Forgets what pages of a range hold: they have their first contents again.
    pub fn discard(&mut self, range: Range<usize>) -> Result<(), Errno> {
        let is_given = |page: &usize| {
            let area = self.area(*page);
            area.is_some_and(|(_, area)| {
                area.forked == Forked::Shared || matches!(area.source, Source::Given)
            })
        };
        let pages = self.pages.range(range).map(|(page, _)| *page);
        let pages: Vec<usize> = pages.filter(|page| !is_given(page)).collect();
        let mut held = Vec::with_capacity(pages.len());
        for page in pages {
            self.table.set(page, 0)?;
            held.extend(self.pages.remove(&page));
        }
        // No CPU may reach a page any more when it becomes free.
        self.flush();
        drop(held);
        Ok(())
    }

    /// A free range for an area, the highest below the stack; `hint` when that is free.
    pub fn free_range(&self, hint: usize, length: usize) -> Result<usize, Errno> {
        let is_free = |range: &Range<usize>| {
            let below = self.areas.range(..range.end).next_back();
            below.is_none_or(|(_, area)| area.end <= range.start)
        };
        let hint = page_of(hint);
        if hint >= LOWEST
            && let Some(end) = hint.checked_add(length)
            && end <= arch::USER_END
            && is_free(&(hint..end))
        {
            return Ok(hint);
        }
        let mut end = arch::USER_END - PAGE;
        for (start, area) in self.areas.iter().rev() {
            if area.end <= end && end - area.end >= length {
                break;
            }
            end = end.min(*start);
        }
        let start = end.checked_sub(length);
        start.filter(|start| *start >= LOWEST).ok_or(Errno::MEMORY)
    }

    /// What a forked process is to have of a range of areas.
    pub fn set_forked(&mut self, range: Range<usize>, forked: Forked) -> Result<(), Errno> {
        self.part(&range)?;
        for (_, area) in self.areas.range_mut(range) {
            area.forked = forked;
        }
        Ok(())
    }

    /// Whether every page of a range is in an area.
    pub fn holds(&self, range: Range<usize>) -> bool {
        let mut at = range.start;
        while at < range.end {
            match self.area(at) {
                Some((_, area)) => at = area.end,
                None => return false,
            }
        }
        true
    }

    /// Has all CPUs forget what they remember of these tables. A page that appears needs no flush of
    /// others: a CPU that remembers its absence faults once more.
    fn flush(&self) {
        arch::flush_all();
        arch::flush_others(cpu::others_with(self.root()));
    }

    /// Makes an access possible that failed: the first touch of a page, or the first write to one
    /// that is held more than once.
    pub fn fault(&mut self, address: usize, access: Rights) -> Result<(), Errno> {
        let page = page_of(address);
        self.reach(page, access)?;
        // Its entry may still forbid what is permitted by now.
        self.map(page)?;
        arch::flush(page);
        Ok(())
    }

    /// Copies bytes of the program.
    pub fn read(&mut self, address: usize, bytes: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        for (page, range) in parts(address, bytes.len())? {
            let part = &mut bytes[done..done + range.len()];
            done += range.len();
            self.reach(page, Rights::READ)?.read(range.start, part);
        }
        Ok(())
    }

    /// Copies bytes to the program.
    pub fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        for (page, range) in parts(address, bytes.len())? {
            let part = &bytes[done..done + range.len()];
            done += range.len();
            self.reach(page, Rights::WRITE)?.write(range.start, part);
        }
        Ok(())
    }

    /// A page of the program, to be written.
    pub fn writable(&mut self, page: usize) -> Result<Frame, Errno> {
        match self.pages.get(&page) {
            Some(page) if page.rights.contains(Rights::WRITE) => Ok(page.frame.clone()),
            _ => self.reach(page, Rights::WRITE).cloned(),
        }
    }

    /// The page that holds a word of the program, for futexes: the same for all that share it.
    pub fn frame_at(&mut self, address: usize) -> Result<&Frame, Errno> {
        self.reach(page_of(address), Rights::READ)
    }

    /// The page at an address, if the area permits the access: filled at the first touch, copied at
    /// the first write to one that is held more than once.
    fn reach(&mut self, page: usize, access: Rights) -> Result<&Frame, Errno> {
        let (_, area) = self.area(page).ok_or(Errno::FAULT)?;
        if !area.rights.contains(access) {
            return Err(Errno::FAULT);
        }
        let is_to_copy = access == Rights::WRITE && area.forked != Forked::Shared;
        let frame = self.page(page)?;
        if !is_to_copy || !frame.is_shared() {
            return self.page(page);
        }
        let copy = frame.copied().ok_or(Errno::MEMORY)?;
        let former = self.pages.insert(page, copy.into());
        self.map(page)?;
        self.flush();
        drop(former);
        self.page(page)
    }

    /// The page at an address in an area, filled if it was not there.
    fn page(&mut self, page: usize) -> Result<&Frame, Errno> {
        if !self.pages.contains_key(&page) {
            let (_, area) = self.area(page).ok_or(Errno::FAULT)?;
            let frame = Frame::zeroed().ok_or(Errno::MEMORY)?;
            if let Source::Bytes(bytes, first) = area.source {
                // The first byte may lie within the page.
                let from = page.max(first);
                let from_file = bytes.get(from - first..).unwrap_or_default();
                let length = from_file.len().min((page + PAGE).saturating_sub(from));
                frame.write(from - page, &from_file[..length]);
                if area.rights.contains(Rights::EXECUTE) {
                    arch::instructions_written(frame.physical());
                    arch::flush_others(cpu::others_with(self.root()));
                }
            }
            self.pages.insert(page, frame.into());
            self.map(page)?;
        }
        let page = self.pages.get(&page).ok_or(Errno::FAULT)?;
        Ok(&page.frame)
    }

    /// Writes the table's entry of a page that is there.
    fn map(&mut self, address: usize) -> Result<(), Errno> {
        let (_, area) = self.area(address).ok_or(Errno::FAULT)?;
        let page = self.pages.get_mut(&address).ok_or(Errno::FAULT)?;
        page.rights = area.rights;
        if area.forked != Forked::Shared && page.frame.is_shared() {
            page.rights.remove(Rights::WRITE);
        }
        let entry = match page.rights.is_empty() {
            true => 0,
            false => arch::page_entry(page.frame.physical(), page.rights),
        };
        self.table.set(address, entry)
    }

    fn area(&self, address: usize) -> Option<(usize, Area)> {
        let (start, area) = self.areas.range(..=address).next_back()?;
        (address < area.end).then_some((*start, *area))
    }

    /// Splits areas at both ends of a range of whole pages.
    fn part(&mut self, range: &Range<usize>) -> Result<(), Errno> {
        let is_page = |address: usize| address.is_multiple_of(PAGE);
        if range.start > range.end || range.end > arch::USER_END || !is_page(range.start) {
            return Err(Errno::INVALID);
        }
        debug_assert!(whole_pages(range.end) == Some(range.end));
        for at in [range.start, range.end] {
            if let Some((start, area)) = self.area(at)
                && start < at
            {
                self.areas.insert(start, Area { end: at, ..area });
                self.areas.insert(at, area);
            }
        }
        Ok(())
    }
}

/// The pages that bytes lie in, each with the range within it.
fn parts(
    address: usize,
    length: usize,
) -> Result<impl Iterator<Item = (usize, Range<usize>)>, Errno> {
    let end = address.checked_add(length).ok_or(Errno::FAULT)?;
    if end > arch::USER_END {
        return Err(Errno::FAULT);
    }
    let pages = (page_of(address)..end).step_by(PAGE);
    Ok(pages.map(move |page| {
        let within = |at: usize| at.clamp(page, page + PAGE) - page;
        (page, within(address)..within(end))
    }))
}
