//! Where a program can load a value with one instruction, instead of having the kernel read
//! it safely, which takes some eighty.

use super::{Base, Expression, Fetch, Kernel, Reached};
use crate::btf::{Kind, TypeId};
use crate::hook::Hook;

/// How a program makes a pointer that it may load from of a number.
///
/// `bpf_rdonly_cast` declares an address to be that of a structure, which the program may only
/// read. The verifier puts a move in the call's place, and a load through the pointer that
/// faults gives 0 (Linux 6.2: kernel/bpf/helpers.c, `fixup_kfunc_call` in
/// kernel/bpf/verifier.c). So it is for addresses that have been read the safe way before, and
/// don't go: the kernel's own variables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TypeCast {
    /// `bpf_rdonly_cast`.
    pub(crate) function: TypeId,
    /// A structure of one 8-byte number, of which a program may also load a part.
    pub(crate) word: TypeId,
}

/// CLOCK_BOOTTIME when the timekeeper was updated, of which the tick's hook is handed a pointer:
/// `base + boot + (shifted >> shift)`. All are offsets.
///
/// That is what `ktime_get_coarse_with_offset` in kernel/time/timekeeping.c computes, in Linux
/// 6.1 and 6.12. The clock itself isn't read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BootTime {
    pub(crate) base: i16,
    pub(crate) boot: i16,
    pub(crate) shifted: i16,
    pub(crate) shift: i16,
}

/// The fields of [`BootTime`], in its order; the last has 4 bytes.
const BOOT_TIME: [&str; 4] = [
    "arg0.tkr_mono.base",
    "arg0.offs_boot",
    "arg0.tkr_mono.xtime_nsec",
    "arg0.tkr_mono.shift",
];

impl Kernel {
    /// Nothing before Linux 6.2.
    pub(crate) fn cast_for_programs(&self) -> Option<TypeCast> {
        let is_function = |kind| matches!(kind, Kind::Function(_));
        let word = self
            .btf
            .find("atomic64_t", |kind| matches!(kind, Kind::Alias(_)))?;
        Some(TypeCast {
            function: self.btf.find("bpf_rdonly_cast", is_function)?,
            word: self.btf.plain(word),
        })
    }

    /// Nothing when the timekeeper has other fields than in Linux 6.1 to 6.12.
    pub(crate) fn boot_time(&self) -> Option<BootTime> {
        let [base, boot, shifted, shift] = BOOT_TIME.map(|field| {
            let value = self.resolve(field, &Hook::Tick).ok()?;
            match value.fetch {
                Fetch::Memory {
                    base: Base::Argument { typed: true, .. },
                    offsets,
                } => i16::try_from(*offsets.first()?).ok(),
                _ => None,
            }
        });
        Some(BootTime {
            base: base?,
            boot: boot?,
            shifted: shifted?,
            shift: shift?,
        })
    }

    /// Whether an expression leads to a number in what `root` is, and through no pointer.
    pub(super) fn is_number_within(&self, expression: &Expression, root: &Reached) -> bool {
        match self.walk(expression, root.clone()) {
            Ok(way) if matches!(way.reached, Reached::Type(_)) => {
                matches!(way.offsets.as_slice(), [offset] if i16::try_from(*offset).is_ok())
            }
            _ => false,
        }
    }
}
