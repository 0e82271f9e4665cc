//! How calls are led to the object on x86-64: a front takes the place of the kernel's image.
//!
//! 1. The object is mapped. Words of it that hold addresses in the kernel's vDSO are 0, so that it
//!    makes system calls instead.
//! 2. A front is mapped, and moved to where the kernel's image is: mremap(2) replaces that at once.
//! 3. The kernel's vvar pages are replaced by a reservation, and the kernel maps its vDSO anew
//!    elsewhere (`ARCH_MAP_VDSO_64`), which it does for a process that has none.
//! 4. Front and object are led to that.
//!
//! Undoing it leads front and object away from the kernel's vDSO and moves that back, a mapping at
//! a time and its image last, which again replaces the front at once. It begins from any of these
//! states.

use std::io;
use std::iter;
use std::ops::Range;

use vdsokit_elf::Image;

use super::front;
use super::record::AttachRecord;
use super::write_record;
use super::{FRONT, IMAGE, map_object, map_record, maps, no_room, pieces, reservation, unmap};
use crate::arch::number;
use crate::error::Unserved;
use crate::guest::Guest;
use crate::kernel::{self, KernelVdso};
use crate::memory::Memory;
use crate::object::{Object, ObjectRange, Role, memfd};
use crate::sys::Pid;
use crate::visit::{Caller, Failure, StubError};

/// Whether the front is where the kernel's image was.
pub(super) fn is_in_force(maps: &str, _: &Memory, record: &AttachRecord) -> io::Result<bool> {
    Ok(kernel::mappings(maps).as_ref() != Some(&record.mappings))
}

/// The addresses at which no thread may be when a change begins, of the `mappings` of the kernel's
/// vDSO.
pub(super) fn taken(mappings: &[Range<u64>]) -> &[Range<u64>] {
    mappings
}

/// Puts the object in place of the kernel's vDSO. On an error the process is as it was.
pub(super) fn redirect(
    pid: Pid,
    guest: &mut Guest,
    object: &Object,
    kernel: &KernelVdso,
    mut record: AttachRecord,
) -> Result<(), StubError> {
    // Before anything is changed: a mapping that can't be moved shows itself only at the last step.
    if is_sealed(guest, &record)? {
        return Err(Failure::Unserved(Unserved::Sealed).into());
    }
    let probed = guest.call(number::ARCH_PRCTL, [MAP_VDSO, 0, 0, 0, 0, 0]);
    if !matches!(probed, Err(StubError::Refused(libc::EEXIST))) {
        return Err(Failure::Unserved(Unserved::NoSecondVdso).into());
    }
    let at = map_record(guest, &record)?;
    let outcome = (|| {
        let image = guest.call(number::MMAP, reservation(0, object.length(), 0))?;
        record.image = image..image + object.length();
        let without = object.linked(image, iter::repeat(0));
        let with = object.linked(image, kernel.functions(record.text().start));
        let leads_out = without.zip(with).filter(|(without, with)| without != with);
        record.links = leads_out.map(|((word, _), _)| word).collect();
        write_record(guest, at, &record)?;
        map_object(guest, object, image)?;
        let place = record.text();
        let length = place.end - place.start;
        let bytes = compose(kernel, object, image, None)?;
        let source = ObjectRange::new(memfd(FRONT, &bytes)?, 0, 0, length, Role::Text)?;
        let front = guest.map(&[source.place(0)])?;
        // A written page makes the kernel dump the front to core files.
        let written = guest
            .memory
            .write(front, &bytes[..8])
            .map_err(StubError::from);
        // From here on the functions are those of the object.
        let moved = written.and_then(|()| move_to(guest, &(front..front + length), place.start));
        if moved.is_err() {
            guest.call(number::MUNMAP, [front, length, 0, 0, 0, 0])?;
        }
        moved
    })();
    if outcome.is_err() {
        undo(pid, guest, at, &record)?;
        return outcome;
    }
    // Whatever fails now, the object makes system calls.
    if let Ok(own) = map_vdso(pid, guest, &record) {
        for (word, value) in object.linked(record.image.start, kernel.functions(own)) {
            guest.memory.write_word(word, value)?;
        }
        let bytes = compose(kernel, object, record.image.start, Some(own))?;
        guest.memory.write(record.text().start, &bytes)?;
    }
    Ok(())
}

fn compose(
    kernel: &KernelVdso,
    object: &Object,
    image: u64,
    own: Option<u64>,
) -> Result<Vec<u8>, StubError> {
    let parsed = Image::parse_memory(kernel.bytes(), 0).ok();
    let front = parsed.and_then(|parsed| front::compose(&parsed, object, image, own));
    front.ok_or_else(no_room)
}

/// `ARCH_MAP_VDSO_64` (arch/x86/include/uapi/asm/prctl.h).
const MAP_VDSO: u64 = 0x2003;

/// Whether a mapping of the kernel's vDSO is sealed.
///
/// mprotect(2) refuses that before it compares the rights (mm/mprotect.c, `mprotect_fixup`; before
/// Linux 6.12 `do_mprotect_pkey`), and those that the mapping has already change nothing.
/// /proc/PID/smaps tells it too, for a walk through all page tables of a process that is stopped meanwhile.
fn is_sealed(guest: &mut Guest, record: &AttachRecord) -> Result<bool, StubError> {
    let text = record.text();
    for mapping in &record.mappings {
        let rights = match *mapping == text {
            true => libc::PROT_READ | libc::PROT_EXEC,
            false => libc::PROT_READ,
        };
        let length = mapping.end - mapping.start;
        match guest.call(
            number::MPROTECT,
            [mapping.start, length, rights as u64, 0, 0, 0],
        ) {
            Err(StubError::Refused(libc::EPERM)) => return Ok(true),
            Ok(_) | Err(StubError::Refused(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(false)
}

/// Has the kernel map its vDSO where there is room, in a process in which its image is replaced.
/// Returns the address of the image.
fn map_vdso(pid: Pid, guest: &mut Guest, record: &AttachRecord) -> Result<u64, StubError> {
    for (name, piece) in pieces(&maps(pid)?) {
        // Where they were, nothing else is to be mapped.
        if name != IMAGE && record.mappings.contains(&piece) {
            let length = piece.end - piece.start;
            guest.call(
                number::MMAP,
                reservation(piece.start, length, libc::MAP_FIXED),
            )?;
        }
    }
    guest.call(number::ARCH_PRCTL, [MAP_VDSO, 0, 0, 0, 0, 0])?;
    let own = kernel::mappings(&maps(pid)?).and_then(|own| own.last().map(|image| image.start));
    own.ok_or_else(|| Failure::Unserved(Unserved::NoVdso).into())
}

/// Moves a mapping to the address `to`, and replaces what is mapped there.
fn move_to(guest: &mut Guest, mapping: &Range<u64>, to: u64) -> Result<(), StubError> {
    let flags = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
    let length = mapping.end - mapping.start;
    let arguments = [mapping.start, length, length, flags, to, 0];
    guest.call(number::MREMAP, arguments).map(drop)
}

/// Undoes as much as was done of the change that the record at the address `at` describes.
pub(super) fn undo(
    pid: Pid,
    guest: &mut Guest,
    at: u64,
    record: &AttachRecord,
) -> Result<(), StubError> {
    let text = record.text();
    let is_in_place = |pieces: &[(&str, Range<u64>)]| pieces.contains(&(IMAGE, text.clone()));
    let mut found = pieces(&maps(pid)?);
    if !is_in_place(&found) {
        for &word in &record.links {
            guest.memory.write_word(word, 0)?;
        }
        let mut front = vec![0; (text.end - text.start) as usize];
        guest.memory.read_exact(text.start, &mut front)?;
        match found.iter().find(|(name, _)| *name == IMAGE) {
            Some((_, own)) => front::disconnect(&mut front, own),
            None => {
                map_vdso(pid, guest, record)?;
                found = pieces(&maps(pid)?);
            }
        }
        guest.memory.write(text.start, &front)?;
        // In the order of their addresses: the image is the last of both.
        let apart = found.len().saturating_sub(record.mappings.len());
        for ((_, piece), place) in found.iter().skip(apart).zip(&record.mappings) {
            if piece != place {
                move_to(guest, piece, place.start)?;
            }
        }
    }
    // With a front that was not moved to its place.
    unmap(pid, guest, at, record)
}
