//! The panic handler, which can't be linked: an image must have no panic path.
#![allow(unsafe_code, reason = "the symbol is foreign, and undefined")]

unsafe extern "C" {
    /// Undefined: if a panic path is left, linking the image fails with this name.
    safe fn vdsokit_a_panic_is_left_in_the_image() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    vdsokit_a_panic_is_left_in_the_image()
}
