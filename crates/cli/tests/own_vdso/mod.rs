//! What the kernel's own vDSO computes time from, read in this process's memory.
#![allow(unsafe_code, reason = "the kernel's vvar pages are read")]

use std::fs;
use vdsokit_bpf::btf::{Btf, Kind, TypeId};
use vdsokit_clock::Clock;

/// What the kernel's own vDSO has in this process's memory, as its BTF describes it.
pub(crate) struct OwnVdso {
    btf: Btf,
    base: *const u8,
    data: TypeId,
}

impl OwnVdso {
    /// Where `vdso_data` lies behind the start of the vvar pages
    /// (arch/x86/include/asm/vvar.h, Linux 5.6 to 6.12).
    pub(crate) const PLACE: usize = 128;

    pub(crate) fn new() -> Self {
        let btf = Btf::of_kernel().unwrap();
        let data = btf.find("vdso_data", |kind| matches!(kind, Kind::Composite(_)));
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("[vvar]")).unwrap();
        let start = usize::from_str_radix(line.split_once('-').unwrap().0, 16).unwrap();
        Self {
            base: std::ptr::with_exposed_provenance(start + Self::PLACE),
            data: data.unwrap(),
            btf,
        }
    }

    /// Offset and type of a member, in anonymous unions too.
    pub(crate) fn member(&self, of: TypeId, name: &str) -> Option<(usize, TypeId)> {
        self.btf.members(of).find_map(|member| {
            let at = member.bit as usize / 8;
            if member.name == name {
                return Some((at, member.ty));
            }
            let inner = self.btf.plain(member.ty);
            let found = member.name.is_empty().then(|| self.member(inner, name))??;
            Some((at + found.0, found.1))
        })
    }

    /// A number of the `row`th `vdso_data`; of a clock's base, when one is named.
    pub(crate) fn number(&self, row: usize, clock: Option<Clock>, name: &str) -> u64 {
        let mut at = row * self.btf.size(self.data).unwrap() as usize;
        let mut of = self.data;
        if let Some(clock) = clock {
            let (bases, array) = self.member(of, "basetime").unwrap();
            let Kind::Array(element, _) = self.btf.kind(self.btf.plain(array)) else {
                panic!("no array");
            };
            at += bases + clock.id() as usize * self.btf.size(element).unwrap() as usize;
            of = self.btf.plain(element);
        }
        let (offset, ty) = self.member(of, name).unwrap();
        let place = self.base.wrapping_add(at + offset);
        // SAFETY: the vvar pages are mapped readable in every process and hold this structure,
        // whose numbers are aligned.
        unsafe {
            match self.btf.size(ty) {
                Some(4) => u64::from(place.cast::<u32>().read_volatile()),
                _ => place.cast::<u64>().read_volatile(),
            }
        }
    }

    /// All that a clock's time is computed from, between two updates.
    pub(crate) fn coefficients(&self, clock: Clock) -> [u64; 5] {
        let row = usize::from(clock == Clock::MonotonicRaw);
        loop {
            let before = self.number(row, None, "seq");
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            let all = [
                self.number(row, None, "cycle_last"),
                self.number(row, None, "mult"),
                self.number(row, None, "shift"),
                self.number(row, Some(clock), "sec"),
                self.number(row, Some(clock), "nsec"),
            ];
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            if before.is_multiple_of(2) && before == self.number(row, None, "seq") {
                return all;
            }
        }
    }
}

/// The time as lib/vdso/gettimeofday.c computes it, in nanoseconds.
pub(crate) fn as_linux_does([last, mult, shift, sec, nsec]: [u64; 5], ticks: u64) -> i128 {
    let nanoseconds = ticks
        .wrapping_sub(last)
        .wrapping_mul(mult)
        .wrapping_add(nsec)
        >> shift;
    i128::from(sec) * 1_000_000_000 + i128::from(nanoseconds)
}
