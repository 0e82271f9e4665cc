//! A vDSO of one function, which returns a number that its publisher changes.
//!
//! ```text
//! $ vdso build examples/beast
//! $ vdso serve libbeast.so.1 --stdin        # lines such as number=616
//! ```
#![no_std]

use vdsokit_rt::{virtual_syscall, vvars};

vvars! {
    /// The number of the beast, for now.
    #[vvar(unit = "1")]
    pub static NUMBER: u64 = 666;
}

/// The number of the beast. It is 666 until somebody publishes another: some
/// manuscripts have 616.
#[virtual_syscall]
pub fn number_of_the_beast() -> u64 {
    NUMBER.get()
}
