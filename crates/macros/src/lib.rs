//! The macros of the crates `vdsokit` and `vdsokit-rt`, which export them.

mod attributes;
mod declare;
mod function;
mod record;
mod types;
mod variables;
mod vvars;

use proc_macro::TokenStream;

/// Implements `vdsokit::vvar::value::Value` for a struct: a value that is read and written as
/// a whole.
///
/// Its fields are scalars, arrays of scalars and `Text`s, laid out in the vvar pages in their
/// order, as in C. Documentation comments and `#[vvar(unit = "…")]`
/// become the fields' documentation and units in the directory.
///
/// `#[vvar(crate = path)]` on the struct names the crate `vdsokit-vvar`, if it is not
/// `::vdsokit::vvar`.
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
/// A field without a layout is refused:
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

/// Declares a set of variables: implements `vdsokit::Vvars` for a struct, and generates the
/// structs `NAMEReader` and `NAMEPublisher` with a handle for each variable.
///
/// On the struct, `#[vvar(soname = "…", version = "…")]` names the vDSO; on a field,
/// `#[vvar(unit = "…", init = …, version = "…")]` describes the variable. The trait's
/// documentation has an example.
///
/// Fields of the types `bool`, `i8` … `u64`, `f32` and `f64`, by these names, are scalars;
/// any other type is a `vdsokit::Value` and is read and written as a whole.
///
/// `#[vvar(crate = path)]` on the struct names the crate `vdsokit`, if it is not `::vdsokit`.
#[proc_macro_derive(Vvars, attributes(vvar))]
pub fn derive_vvars(input: TokenStream) -> TokenStream {
    vvars::derive(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Declares a crate's vvars; once in a crate.
///
/// Each `static` becomes a value whose method `get` loads the variable: with one atomic
/// load where it is a scalar, through its latch where it is an array, a `Text` or a
/// struct. Structs that are variables are declared in the same place. Names are in lower
/// case in the declaration. Initial values are literals; without one a variable begins at 0.
///
/// Documentation comments, `#[vvar(unit = "…")]` and, on variables,
/// `#[vvar(version = "…")]` go into the directory.
///
/// ```
/// vdsokit_rt::vvars! {
///     /// Outside temperature.
///     #[vvar(unit = "degC")]
///     pub static TEMPERATURE: f64 = 1.5;
///
///     /// Wind, ten minutes' mean.
///     pub struct Wind {
///         #[vvar(unit = "m/s")]
///         pub speed: f64,
///         pub from: [i16; 2],
///     }
///     pub static WIND: Wind = Wind { speed: 3.5, from: [1, -2] };
/// }
/// assert_eq!(TEMPERATURE.get(), 1.5);
/// ```
///
/// `#[kernel = "avenrun[0]"]` binds a scalar or an array to a variable of the running kernel, in the
/// notation of `vdso serve --kernel`: the image says so, and `vdso serve` lets the kernel publish it.
///
/// ```compile_fail
/// vdsokit_rt::vvars! {
///     #[kernel = 5]
///     static NUMBER: u64 = 0;
/// }
/// ```
///
/// A type that a page can't hold is refused:
///
/// ```compile_fail
/// vdsokit_rt::vvars! {
///     static NAME: &'static str = "";
/// }
/// ```
#[proc_macro]
pub fn vvars(input: TokenStream) -> TokenStream {
    variables::expand(input.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Exports a function from the image as `__vdso_NAME`, with the weak alias `NAME`, over which
/// a program's own function of that name takes precedence.
///
/// `#[virtual_syscall(version = "…")]` names a version node other than the image's own, and
/// `#[virtual_syscall(interpose)]` exports the function in the C library's versions of its name
/// as well, so that it takes that function's place.
/// Outside of an image it is an ordinary function of the C ABI.
///
/// ```
/// /// The number of the beast.
/// #[vdsokit_rt::virtual_syscall]
/// pub fn number_of_the_beast() -> u64 {
///     666
/// }
/// assert_eq!(number_of_the_beast(), 666);
/// ```
#[proc_macro_attribute]
pub fn virtual_syscall(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
