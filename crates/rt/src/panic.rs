//! The panic handler of images. It can't be linked, so no panic path can be left.
#![allow(
    unsafe_code,
    reason = "it declares a foreign function, which is defined nowhere"
)]

unsafe extern "C" {
    /// Defined nowhere: where a panic can be reached, linking the image fails and
    /// `vdso build` says why.
    safe fn vdsokit_a_panic_is_left_in_the_image() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    vdsokit_a_panic_is_left_in_the_image()
}
