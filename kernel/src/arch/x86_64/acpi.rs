//! The few tables of ACPI that the kernel needs: which CPUs there are, and where the HPET is.
//!
//! Source: ACPI specification 6.5, 5.2; IA-PC HPET specification, 3.2.4.

use crate::arch::direct;

/// The tables, by the physical address of the root pointer.
pub struct Tables {
    /// The addresses of the tables, 4 bytes each.
    list: &'static [u8],
}

/// The size of the header of each table.
const HEADER: usize = 36;

/// Bytes of the machine's memory, below 2 GiB.
fn bytes(physical: usize, length: usize) -> &'static [u8] {
    assert!(
        physical
            .checked_add(length)
            .is_some_and(|end| end <= 1 << 31),
        "ACPI is out of reach"
    );
    // SAFETY: the bytes are mapped, and the firmware's tables never change.
    unsafe { core::slice::from_raw_parts(direct(physical), length) }
}

fn number(bytes: &[u8], at: usize) -> usize {
    let number = bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    number.map_or(0, u32::from_le_bytes) as usize
}

/// A table with its header.
fn table(physical: usize) -> &'static [u8] {
    bytes(physical, number(bytes(physical, HEADER), 4))
}

impl Tables {
    /// Reads the root pointer, and the list that it leads to.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(root: usize) -> Self {
        let pointer = bytes(root, 20);
        assert!(pointer.starts_with(b"RSD PTR "), "the machine has no ACPI");
        Self {
            list: &table(number(pointer, 16))[HEADER..],
        }
    }

    fn find(&self, signature: &[u8; 4]) -> Option<&'static [u8]> {
        let tables = self
            .list
            .chunks_exact(4)
            .map(|address| table(number(address, 0)));
        tables
            .into_iter()
            .find(|table| table.starts_with(signature))
    }

    /// The numbers of the local APICs of CPUs that can be used.
    pub fn apics(&self) -> impl Iterator<Item = usize> {
        const ENABLED: usize = 1;
        let mut rest = self
            .find(b"APIC")
            .and_then(|table| table.get(HEADER + 8..))
            .unwrap_or(&[]);
        let entries = core::iter::from_fn(move || {
            let length = usize::from(*rest.get(1)?).max(2);
            let entry = rest.get(..length)?;
            rest = &rest[length..];
            Some(entry)
        });
        entries.filter_map(|entry| match entry {
            [0, _, _, apic, flags @ ..] if number(flags, 0) & ENABLED != 0 => {
                Some(usize::from(*apic))
            }
            _ => None,
        })
    }

    /// The physical address of the HPET's registers.
    ///
    /// # Panics
    /// When the machine has none.
    pub fn hpet(&self) -> usize {
        let table = self
            .find(b"HPET")
            .expect("the machine has no HPET to measure counters with");
        number(table, HEADER + 8)
    }
}
