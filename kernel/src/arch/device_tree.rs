//! What a flattened device tree says of the machine.
#![allow(
    unsafe_code,
    reason = "reads the device tree where the firmware says that it is"
)]

use super::direct;
use crate::memory::frames::Ram;
use core::ops::Range;
use fdt::Fdt;

/// The device tree at a physical address.
///
/// # Safety
/// The firmware left one there, which is mapped and never changes.
pub unsafe fn at(physical: usize) -> Fdt<'static> {
    // SAFETY: as the caller promises.
    let tree = unsafe { Fdt::from_ptr(direct(physical)) };
    tree.expect("the firmware's device tree is malformed")
}

/// What the device tree at a physical address says, besides what each architecture knows by itself.
pub fn boot(
    tree: &Fdt<'static>,
    own: usize,
    frequency: u64,
    wall: u64,
    cpus: usize,
) -> crate::Boot {
    let region = tree.memory().regions().next();
    let region = region.expect("the device tree has no memory");
    let start = region.starting_address as usize;
    let size = region
        .size
        .expect("the memory's size is not in the device tree");
    let (kernel, initrd) = (super::kernel(), initrd(tree));
    crate::Boot {
        ram: Ram {
            // The firmware, if there is any, lies below the kernel.
            all: kernel.start.max(start)..start + size,
            used: [kernel, initrd.clone(), own..own + tree.total_size()],
        },
        initrd,
        command_line: tree.chosen().bootargs().unwrap_or(""),
        frequency,
        wall,
        seed: seed(tree),
        cpus,
    }
}

/// The physical addresses of the initrd; empty when there is none.
fn initrd(tree: &Fdt<'_>) -> Range<usize> {
    let end = |name: &str| {
        let chosen = tree.find_node("/chosen")?;
        // 4 or 8 bytes, by what made the tree.
        let bytes = chosen.property(name)?.value;
        let digits = bytes
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte));
        Some(digits)
    };
    match (end("linux,initrd-start"), end("linux,initrd-end")) {
        (Some(start), Some(end)) => start..end,
        _ => 0..0,
    }
}

/// The physical address of the device that is compatible with a name.
pub fn device(tree: &Fdt<'_>, compatible: &str, nth: usize) -> Option<usize> {
    let node = tree.find_compatible(&[compatible])?;
    let mut regions = node.reg()?;
    regions
        .nth(nth)
        .map(|region| region.starting_address as usize)
}

/// Random bytes that the emulator left.
fn seed(tree: &Fdt<'_>) -> Option<[u8; 32]> {
    let seed = tree.find_node("/chosen")?.property("rng-seed")?;
    seed.value.get(..32)?.try_into().ok()
}
