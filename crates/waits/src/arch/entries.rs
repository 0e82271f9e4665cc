//! What the gates of all architectures have in common: where their entries are.
#![allow(
    unsafe_code,
    reason = "a gate is assembler; its bytes are read through the labels around it"
)]

use std::slice;

use crate::gate::Then;

/// Bytes of an entry.
const SIZE: u64 = 16;
/// Where the entries begin behind which the result is reported.
pub(super) const REPORTING: u64 = 128;
/// Where the call stands that reports.
pub(super) const REPORT: u64 = 256;

/// Bytes from a gate's start to the entry for a call whose argument `argument` is its frame.
pub(crate) const fn door(argument: usize, then: Then) -> u64 {
    let row = match then {
        Then::Return => 0,
        Then::Report => REPORTING,
    };
    row + SIZE * argument as u64
}

unsafe extern "C" {
    safe static vdsokit_waits_gate: u8;
    safe static vdsokit_waits_gate_end: u8;
}

/// The bytes of the gate for programs of this architecture: position-independent code.
pub(crate) fn gate() -> &'static [u8] {
    let labels = [
        &raw const vdsokit_waits_gate,
        &raw const vdsokit_waits_gate_end,
    ];
    // SAFETY: the architecture's assembly has both labels around the gate, in one section of this
    // program's read-only data, which is never written.
    unsafe { enclosed(labels) }
}

/// The bytes between two labels.
///
/// # Safety
/// They enclose read-only data of this program, which is never written.
pub(super) unsafe fn enclosed([start, end]: [*const u8; 2]) -> &'static [u8] {
    let length = end as usize - start as usize;
    // SAFETY: the caller has it that these bytes are this program's and are never written.
    unsafe { slice::from_raw_parts(start, length) }
}

/// Checks that each entry has the instruction `call` where it is said to be: so that it ends `behind`
/// bytes from the entry's beginning.
#[cfg(test)]
pub(super) fn assert_calls(gate: &[u8], call: &[u8], behind: u64) {
    for then in [Then::Return, Then::Report] {
        for argument in 0..6 {
            let behind = (door(argument, then) + behind) as usize;
            let found = &gate[behind - call.len()..behind];
            assert_eq!(found, call, "{argument} {then:?}");
        }
    }
    assert_eq!(gate[REPORT as usize..][..call.len()], *call);
    let calls = gate.windows(call.len()).filter(|found| *found == call);
    assert_eq!(calls.count(), 13);
}
