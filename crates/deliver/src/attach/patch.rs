//! How calls are led to the object on AArch64 and RISC-V: an instruction of each function becomes a branch.
//!
//! The kernel's vDSO stays where it is. Signal handlers return through it, and the kernel maps none a
//! second time as it does on x86-64. A write through `/proc/PID/mem` makes a private copy of the page,
//! and makes the instruction caches coherent (arch/arm64/mm/flush.c, `copy_to_user_page`;
//! arch/riscv/include/asm/cacheflush.h, `flush_icache_user_page`).
//!
//! 1. The object is mapped, and near the kernel's image a front, which has a [`slot`] for each function
//!    that the object replaces.
//! 2. Words of the object that hold addresses in the kernel's vDSO are filled: with the slot's code
//!    for functions that are replaced.
//! 3. One write of the image's pages puts the branches in.
//!
//! Undoing it puts the kernel's instructions back by one write, and unmaps the rest. It begins from
//! any of these states.

use std::io;
use std::ops::Range;

use vdsokit_elf::{Image, Kind};

use super::record::{AttachRecord, Patch};
use super::{
    FRONT, map_object, map_record, maps, no_room, range, reservation, slot, unmap, write_record,
};
use crate::arch::number;
use crate::guest::Guest;
use crate::kernel::KernelVdso;
use crate::memory::Memory;
use crate::object::{Object, ObjectRange, PAGE, Role, memfd};
use crate::sys::Pid;
use crate::visit::{Caller, StubError};

/// The most bytes that a slot needs of a function.
const CODE: usize = 8;

/// A function of the kernel's that the object replaces.
#[derive(Debug)]
struct Replaced {
    /// Where it is, in bytes from the image's start.
    offset: u64,
    /// Its first bytes, as many as a slot may need of them.
    code: Vec<u8>,
    patch: Patch,
    /// The object's function, in bytes from the object's start.
    target: u64,
}

/// Whether the branches are in the kernel's image.
pub(super) fn is_in_force(_: &str, memory: &Memory, record: &AttachRecord) -> io::Result<bool> {
    let Some(patch) = record.patches.first() else {
        return Ok(false);
    };
    let mut found = [0; 4];
    memory.read_exact(record.text().start + u64::from(patch.offset), &mut found)?;
    Ok(u32::from_le_bytes(found) != patch.original)
}

/// The addresses at which no thread may be when a change begins: those of the kernel's image where a branch
/// takes the place of two instructions.
pub(super) fn taken(mappings: &[Range<u64>]) -> &[Range<u64>] {
    match cfg!(target_arch = "riscv64") {
        true => mappings,
        false => &[],
    }
}

/// Leads the kernel's functions to those of the object. On an error the process is as it was.
pub(super) fn redirect(
    pid: Pid,
    guest: &mut Guest,
    object: &Object,
    kernel: &KernelVdso,
    mut record: AttachRecord,
) -> Result<(), StubError> {
    let at = map_record(guest, &record)?;
    let outcome = (|| {
        let functions = functions(kernel, object).ok_or_else(no_room)?;
        record.patches = functions.iter().map(|function| function.patch).collect();
        let image = guest.call(number::MMAP, reservation(0, object.length(), 0))?;
        record.image = image..image + object.length();
        write_record(guest, at, &record)?;
        map_object(guest, object, image)?;
        let text = record.text().start;
        let front = map_front(pid, guest, &functions, image, text)?;
        let kernels = |address: u64| {
            let is_it = |function: &Replaced| text + function.offset == address;
            match functions.iter().position(is_it) {
                Some(index) => front + index as u64 * slot::LENGTH + slot::KERNELS,
                None => address,
            }
        };
        for (word, value) in object.linked(image, kernel.functions(text).map(kernels)) {
            guest.memory.write_word(word, value)?;
        }
        let branches = functions.iter().enumerate().map(|(index, function)| {
            let offset = u64::from(function.patch.offset);
            let slot = front + index as u64 * slot::LENGTH;
            Some((offset, slot::branch(text + offset, slot)?))
        });
        let branches: Option<Vec<_>> = branches.collect();
        write(&guest.memory, text, &branches.ok_or_else(no_room)?)?;
        Ok(())
    })();
    if outcome.is_err() {
        undo(pid, guest, at, &record)?;
    }
    outcome
}

/// Undoes as much as was done of the change that the record at the address `at` describes.
pub(super) fn undo(
    pid: Pid,
    guest: &mut Guest,
    at: u64,
    record: &AttachRecord,
) -> Result<(), StubError> {
    let originals = record.patches.iter();
    let originals = originals.map(|patch| (u64::from(patch.offset), patch.original));
    write(
        &guest.memory,
        record.text().start,
        &originals.collect::<Vec<_>>(),
    )?;
    unmap(pid, guest, at, record)
}

/// The functions of the kernel's that the object replaces. `None`: one can't be.
fn functions(kernel: &KernelVdso, object: &Object) -> Option<Vec<Replaced>> {
    let parsed = Image::parse_memory(kernel.bytes(), 0).ok()?;
    let mut found: Vec<Replaced> = Vec::new();
    for symbol in parsed.symbols() {
        if !symbol.is_export() || symbol.kind != Kind::Function {
            continue;
        }
        let Some(name) = symbol.name().to_str() else {
            continue;
        };
        // Unwinders know the function that signal handlers return to by its instructions.
        if name.ends_with("rt_sigreturn") {
            continue;
        }
        let (offset, Some(target)) = (parsed.address_of(&symbol), object.function(name)) else {
            continue;
        };
        let code = kernel.bytes().get(offset as usize..)?;
        let code = code.get(..(symbol.size as usize).min(CODE))?;
        let at = slot::replaced(code)?;
        let original = code.get(at as usize..)?.first_chunk()?;
        let patch = Patch {
            offset: u32::try_from(offset + at).ok()?,
            original: u32::from_le_bytes(*original),
        };
        if found.iter().all(|known| known.offset != offset) {
            found.push(Replaced {
                offset,
                code: code.to_vec(),
                patch,
                target,
            });
        }
    }
    Some(found)
}

/// Maps the slots of `functions`, for the object at `image`, where a branch from the kernel's image at
/// `text` reaches. Returns their address.
fn map_front(
    pid: Pid,
    guest: &mut Guest,
    functions: &[Replaced],
    image: u64,
    text: u64,
) -> Result<u64, StubError> {
    if functions.is_empty() {
        return Ok(0);
    }
    let length = (functions.len() as u64 * slot::LENGTH).next_multiple_of(PAGE);
    let front = free(&maps(pid)?, text, length).ok_or_else(no_room)?;
    let slots = functions.iter().enumerate().map(|(index, function)| {
        slot::compose(
            front + index as u64 * slot::LENGTH,
            text + function.offset,
            &function.code,
            image + function.target,
        )
    });
    let slots: Option<Vec<_>> = slots.collect();
    let bytes = slots.ok_or_else(no_room)?.concat();
    let source = ObjectRange::new(memfd(FRONT, &bytes)?, 0, front, length, Role::Text)?;
    guest.map(&[source.place(libc::MAP_FIXED_NOREPLACE)])
}

/// `length` bytes of addresses where nothing is mapped, as near below `text` as there are any, or
/// above it. Not where a stack may grow.
fn free(maps: &str, text: u64, length: u64) -> Option<u64> {
    /// The kernel maps nothing by itself in the 128 MiB below a stack, into which that may grow (mm/util.c,
    /// `mmap_base`).
    const STACK: u64 = 64 << 20;
    let (mut gaps, mut end) = (Vec::new(), PAGE);
    for line in maps.lines() {
        let mapping = range(line)?;
        let before = match line.ends_with("[stack]") {
            true => mapping.start.saturating_sub(STACK),
            false => mapping.start,
        };
        gaps.push(end..before);
        end = mapping.end;
    }
    let below = gaps.iter().rev().filter(|gap| gap.end <= text);
    let below = below.map(|gap| (gap.start, (gap.end & !(PAGE - 1)).checked_sub(length)));
    let above = gaps.iter().filter(|gap| gap.start > text);
    let above = above.map(|gap| {
        let start = gap.start.next_multiple_of(PAGE);
        (gap.start, (start + length <= gap.end).then_some(start))
    });
    below
        .chain(above)
        .filter_map(|(start, found)| found.filter(|&found| found >= start))
        .find(|found| found.abs_diff(text) < slot::REACH)
}

/// Writes instructions into the image at `text`, each in so many bytes from its start: all at once, so
/// that no other mixture is left if the tracer dies.
fn write(memory: &Memory, text: u64, instructions: &[(u64, u32)]) -> io::Result<()> {
    let offsets = instructions.iter().map(|&(offset, _)| offset);
    let (Some(first), Some(last)) = (offsets.clone().min(), offsets.max()) else {
        return Ok(());
    };
    let mut bytes = vec![0; (last + 4 - first) as usize];
    memory.read_exact(text + first, &mut bytes)?;
    for &(offset, instruction) in instructions {
        let at = (offset - first) as usize;
        bytes[at..at + 4].copy_from_slice(&instruction.to_le_bytes());
    }
    memory.write(text + first, &bytes)
}
