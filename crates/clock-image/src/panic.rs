//! No panic path may be left in an image: this one can't be linked.
#![allow(unsafe_code, reason = "the symbol is foreign, and nowhere")]

unsafe extern "C" {
    /// Defined nowhere: where a panic is left, linking the image fails and names it.
    safe fn vdsokit_a_panic_is_left_in_the_image() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    vdsokit_a_panic_is_left_in_the_image()
}
