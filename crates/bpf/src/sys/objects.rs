//! What there is in the kernel, and what it costs: for measurements and tests.

use super::{Command, bpf, bpf_fd, raw};
use std::io;
use std::os::fd::OwnedFd;

/// Lets the kernel measure programs, for as long as the descriptor is open.
///
/// # Errors
/// The kernel's: it takes CAP_SYS_ADMIN.
pub fn enable_stats() -> io::Result<OwnedFd> {
    // BPF_STATS_RUN_TIME.
    let mut attribute = 0_u32;
    // SAFETY: the command's structure is one number.
    unsafe { bpf_fd(Command::EnableStats, &mut attribute) }
}

/// How many programs, maps and links there are in this kernel.
///
/// # Errors
/// The kernel's: it takes CAP_SYS_ADMIN.
pub fn objects() -> io::Result<[usize; 3]> {
    let count = |command| {
        let mut ids = [0_u32; 3];
        let mut count = 0;
        loop {
            // SAFETY: the command takes an id and returns the next one behind it.
            match unsafe { bpf(command, &mut ids) } {
                Ok(_) => count += 1,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(count),
                Err(error) => return Err(error),
            }
            ids[0] = ids[1];
        }
    };
    Ok([
        count(Command::ProgramNextId)?,
        count(Command::MapNextId)?,
        count(Command::LinkNextId)?,
    ])
}

/// Whether there are no more programs, maps and links than `before`. There may be fewer: the kernel
/// frees unused ones after a grace period, so that those of an earlier process may be among `before`.
///
/// # Errors
/// As [`objects`].
pub fn no_more_objects_than(before: [usize; 3]) -> io::Result<bool> {
    let now = objects()?;
    Ok(now.iter().zip(before).all(|(now, before)| *now <= before))
}

/// Tries to detach every link of this kernel, as `bpftool link detach` does, and returns how many
/// could not be. For tests.
///
/// # Errors
/// The kernel's: it takes CAP_SYS_ADMIN.
#[doc(hidden)]
pub fn detach_links() -> io::Result<usize> {
    let (mut refused, mut ids) = (0, [0_u32; 3]);
    loop {
        // SAFETY: the command takes an id and returns the next one behind it.
        match unsafe { bpf(Command::LinkNextId, &mut ids) } {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(refused),
            Err(error) => return Err(error),
        }
        ids[0] = ids[1];
        // SAFETY: the command takes an id.
        let link = unsafe { bpf_fd(Command::LinkById, &mut [ids[0], 0, 0]) }?;
        // SAFETY: the command takes a link.
        let detached = unsafe { bpf(Command::LinkDetach, &mut [raw(&link)]) };
        refused += usize::from(detached.is_err());
    }
}
