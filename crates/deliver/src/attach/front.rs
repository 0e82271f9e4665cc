//! The mapping at the address of the kernel's vDSO in a process that was attached to.
//!
//! The libc of a running program has looked up its vDSO already and calls the addresses that it
//! found. So a *front* takes the place of the kernel's image: a copy of its bytes in which each
//! exported function begins with a jump, to the function of that name in the object's image, or
//! to that of the kernel's own vDSO, which is mapped elsewhere, if the image has none. The front
//! keeps the kernel's unwind tables, which are right at the first instruction of each function.
//!
//! While the kernel's own vDSO is not mapped, a function that only it has returns -ENOSYS, upon
//! which C libraries make the system call.

use std::ops::Range;

use vdsokit_elf::{Image, Kind};

use crate::arch;
use crate::object::Object;

/// The bytes of a front for the `kernel`'s image, parsed as one at the address 0, which jumps to `object` at the address `image` and
/// to the kernel's own vDSO at the address `own`, if it is mapped. `None`: a function is too short
/// for a jump.
pub(crate) fn compose(
    kernel: &Image<'_>,
    object: &Object,
    image: u64,
    own: Option<u64>,
) -> Option<Vec<u8>> {
    let mut bytes = kernel.bytes().to_vec();
    let mut functions: Vec<(u64, Option<u64>)> = kernel
        .symbols()
        .filter(|symbol| symbol.is_export() && symbol.kind == Kind::Function)
        .map(|symbol| {
            let ours = symbol
                .name()
                .to_str()
                .and_then(|name| object.function(name));
            (kernel.address_of(&symbol), ours)
        })
        .collect();
    // A function may have two names, of which the object's image has one.
    functions.sort_unstable_by_key(|&(offset, ours)| (offset, ours.is_none()));
    functions.dedup_by_key(|&mut (offset, _)| offset);
    for (index, &(offset, ours)) in functions.iter().enumerate() {
        let target = match ours {
            Some(distance) => Some(image + distance),
            None => own.map(|own| own + offset),
        };
        let code = target.map_or(arch::UNAVAILABLE, arch::jump);
        let next = functions
            .get(index + 1)
            .map_or(bytes.len() as u64, |next| next.0);
        if next - offset < code.len() as u64 {
            return None;
        }
        bytes
            .get_mut(offset as usize..)?
            .get_mut(..code.len())?
            .copy_from_slice(&code);
    }
    Some(bytes)
}

/// Has functions of a `front` that jump into `own`, the kernel's own vDSO, return -ENOSYS instead.
pub(crate) fn disconnect(front: &mut [u8], own: &Range<u64>) {
    let length = arch::UNAVAILABLE.len();
    for at in 0..front.len().saturating_sub(length - 1) {
        let code = &mut front[at..at + length];
        if arch::jump_target(code).is_some_and(|target| own.contains(&target)) {
            code.copy_from_slice(&arch::UNAVAILABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jumps_to_the_kernels_own_are_disconnected() {
        let mut front = [arch::jump(0x1000), arch::jump(0x2000)].concat();
        disconnect(&mut front, &(0x2000..0x3000));
        assert_eq!(front, [arch::jump(0x1000), arch::UNAVAILABLE].concat());
    }
}
