//! Types of fields and variables, by their names: a macro sees no more of them.

use quote::ToTokens;
use syn::{Error, Result, Type};

/// The types that are scalars.
const SCALARS: [&str; 11] = [
    "bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64",
];

/// Types that are often tried and can't be in a page: why, and what to use.
const REFUSED: [(&str, &str); 9] = [
    (
        "usize",
        "`usize` has another size on other machines: use `u64` or `u32`",
    ),
    (
        "isize",
        "`isize` has another size on other machines: use `i64` or `i32`",
    ),
    (
        "u128",
        "the largest scalar has 8 bytes: use `[u64; 2]`, which is read and written as a whole",
    ),
    (
        "i128",
        "the largest scalar has 8 bytes: use `[u64; 2]`, which is read and written as a whole",
    ),
    ("char", "use `u32`, or `Text<N>` for text"),
    (
        "String",
        "a page has no heap: use `Text<N>`, a text of at most N - 1 bytes",
    ),
    (
        "str",
        "a page has no pointers: use `Text<N>`, a text of at most N - 1 bytes",
    ),
    (
        "Vec",
        "a page has no heap: use `[T; N]`, an array of N scalars",
    ),
    (
        "Option",
        "an `Option` has no fixed layout: add a `bool` that says whether the value is there",
    ),
];

/// The scalar's name, if the type is a scalar.
pub(crate) fn scalar_name(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    let name = path.path.get_ident()?.to_string();
    SCALARS.contains(&name.as_str()).then_some(name)
}

/// Refuses types that can't be in a page, with the type to use in their place. Types that
/// it does not know are left to the compiler, which asks for `Element` or `Value`.
pub(crate) fn check(ty: &Type) -> Result<()> {
    let named = match ty {
        Type::Reference(reference) => &*reference.elem,
        ty => ty,
    };
    let name = match named {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    };
    let refused = |(refused, _): &&(&str, &str)| name.as_deref() == Some(*refused);
    match (REFUSED.iter().find(refused), ty) {
        (Some((_, why)), _) => Err(Error::new_spanned(ty, why)),
        (None, Type::Reference(_) | Type::Ptr(_)) => Err(Error::new_spanned(
            ty,
            "a page has no pointers: use the value itself",
        )),
        (None, Type::Array(array)) if scalar_name(&array.elem).is_none() => {
            match check(&array.elem) {
                Ok(()) if matches!(*array.elem, Type::Array(_)) => Err(Error::new_spanned(
                    array.to_token_stream(),
                    "an array has scalars as its elements: use one array of N × M elements",
                )),
                result => result,
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::SCALARS;
    use vdsokit_vvar::scalar::ScalarType;

    /// A macro that depended on the crate of the types would compile it for the compiler as well.
    #[test]
    fn the_scalars_are_those_of_pages() {
        assert_eq!(SCALARS, ScalarType::ALL.map(ScalarType::name));
    }
}
