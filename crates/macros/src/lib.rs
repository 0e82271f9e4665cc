//! The macros of the crates `vdsokit` and `vdsokit-rt`, which export them.

mod attributes;
mod record;
mod vvars;

use proc_macro::TokenStream;

/// Makes a struct a value that is read and written as a whole: implements
/// `vdsokit::vvar::value::Value`.
///
/// Its fields are scalars, arrays of scalars and `Text`s, and lie in the vvar pages in
/// their order, as C lays them out. Documentation comments and `#[vvar(unit = "…")]`
/// become the fields' documentation and units in the directory.
///
/// `#[vvar(crate = path)]` on the struct says where the crate `vdsokit-vvar` is, if it is
/// not `::vdsokit::vvar`.
///
/// ```
/// use vdsokit_macros::Record;
/// use vdsokit_vvar::value::{Text, Value};
///
/// /// Wind, ten minutes' mean.
/// #[derive(Clone, Copy, Record)]
/// #[vvar(crate = vdsokit_vvar)]
/// struct Wind {
///     /// How fast.
///     #[vvar(unit = "m/s")]
///     speed: f64,
///     from: Text<4>,
/// }
/// assert_eq!(Wind::SHAPE.size(), 16);
/// ```
///
/// What can't lie there is refused:
///
/// ```compile_fail
/// #[derive(Clone, Copy, vdsokit_macros::Record)]
/// #[vvar(crate = vdsokit_vvar)]
/// struct Bad {
///     pointer: &'static str,
/// }
/// ```
#[proc_macro_derive(Record, attributes(vvar))]
pub fn derive_record(input: TokenStream) -> TokenStream {
    record::derive(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Declares a set of variables: implements `vdsokit::Vvars` for a struct, and makes its
/// reading and its writing half, structs called like it with `Reader` and `Publisher`
/// behind.
///
/// ```ignore (the crate `vdsokit`, which this one cannot depend on, shows it running)
/// use vdsokit::{Record, Vvars};
///
/// #[derive(Clone, Copy, Record)]
/// struct Wind {
///     #[vvar(unit = "m/s")]
///     speed: f64,
///     from: u16,
/// }
///
/// /// The weather outside.
/// #[derive(Clone, Copy, Vvars)]
/// #[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
/// struct Weather {
///     /// Outside temperature.
///     #[vvar(unit = "degC", init = 1.5)]
///     temperature: f64,
///     wind: Wind,
/// }
/// ```
///
/// Fields of the types `bool`, `i8` … `u64`, `f32` and `f64`, by these names, are scalars;
/// any other type is a `vdsokit::Value` and is read and written as a whole.
///
/// `#[vvar(crate = path)]` on the struct says where the crate `vdsokit` is, if it is not
/// `::vdsokit`.
#[proc_macro_derive(Vvars, attributes(vvar))]
pub fn derive_vvars(input: TokenStream) -> TokenStream {
    vvars::derive(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
