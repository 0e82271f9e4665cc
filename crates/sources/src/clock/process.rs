//! Where this process's own time comes from.

use std::fs;
use std::sync::OnceLock;

/// Whether this process's vDSO is not the mapping that the kernel calls `[vdso]`, as under
/// `vdso run`; also where that can't be told.
pub(super) fn is_replaced() -> bool {
    static REPLACED: OnceLock<bool> = OnceLock::new();
    *REPLACED.get_or_init(|| {
        let address = vdsokit_elf::own::address().map(|address| address.addr() as u64);
        let mappings = vdsokit_elf::process::mappings(std::process::id()).unwrap_or_default();
        let mut kernels = mappings.iter().filter(|mapping| mapping.name == "[vdso]");
        !kernels.any(|mapping| Some(mapping.range.start) == address)
    })
}

/// Whether this process lives in a time namespace that moves its monotonic clocks away from
/// the machine's (time_namespaces(7)). A kernel without such namespaces has no such file.
pub(super) fn is_moved() -> bool {
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let mut words = offsets.split_whitespace();
    words.any(|word| word.parse().is_ok_and(|number: i64| number != 0))
}
