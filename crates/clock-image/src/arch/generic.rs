//! What Linux's newer architectures share.
#![cfg_attr(
    vdsokit_image,
    allow(unsafe_code, reason = "C calls the exported functions")
)]

/// Numbers of system calls (include/uapi/asm-generic/unistd.h).
pub(crate) mod number {
    pub(crate) const CLOCK_GETTIME: usize = 113;
    pub(crate) const CLOCK_GETRES: usize = 114;
    #[cfg(vdsokit_image)]
    pub(crate) const RT_SIGRETURN: usize = 139;
    pub(crate) const GETCPU: usize = 168;
    pub(crate) const GETTIMEOFDAY: usize = 169;
    pub(crate) const ADJTIMEX: usize = 171;
    pub(crate) const GETRANDOM: usize = 278;
    #[cfg(vdsokit_guest)]
    pub(crate) const GETPID: usize = 172;
    #[cfg(vdsokit_guest)]
    pub(crate) const GETPPID: usize = 173;
}

/// Gives a function its name in Linux's vDSO. Here there is none without the prefix.
#[cfg(vdsokit_image)]
macro_rules! export {
    (fn $name:ident($($argument:ident: $of:ty),*) -> $result:ty) => {
        mod $name {
            use super::*;

            #[unsafe(export_name = crate::arch::kernel_name!($name))]
            unsafe extern "C" fn exported($($argument: $of),*) -> $result {
                // SAFETY: the C caller fulfils the requirements of the C function.
                unsafe { $name($($argument),*) }
            }
        }
    };
}
#[cfg(vdsokit_image)]
pub(crate) use export;
