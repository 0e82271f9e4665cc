//! Initial values: from TOML to the bytes that lie in the pages.

use super::super::error::Problem;
use std::ops::Range;
use toml::Spanned;
use toml::de::DeValue;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// A problem and its place in the text.
pub(in super::super) type Placed = (Problem, Range<usize>);

/// The bytes of `value`, little-endian, as many as the type has.
pub(in super::super) fn bytes(value: &Spanned<DeValue<'_>>, ty: Type) -> Result<Vec<u8>, Placed> {
    let mismatch = || {
        let found = describe(value.get_ref());
        Err((Problem::Init { found, ty }, value.span()))
    };
    match (ty, value.get_ref()) {
        (Type::Scalar(scalar), _) => self::scalar(value, scalar),
        (Type::Array(scalar, count), DeValue::Array(values)) => {
            if values.len() != count as usize {
                let (found, wanted) = (values.len(), count);
                return Err((Problem::Elements { found, wanted }, value.span()));
            }
            let mut bytes = Vec::with_capacity(ty.size());
            for value in values.iter() {
                bytes.extend(self::scalar(value, scalar)?);
            }
            Ok(bytes)
        }
        (Type::Text(room), DeValue::String(text)) => {
            let most = (room as usize).saturating_sub(1);
            if text.len() > most {
                let bytes = text.len();
                return Err((Problem::LongText { bytes, ty, most }, value.span()));
            }
            if text.contains('\0') {
                return Err((Problem::Nul("init".into()), value.span()));
            }
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(room as usize, 0);
            Ok(bytes)
        }
        _ => mismatch(),
    }
}

fn scalar(value: &Spanned<DeValue<'_>>, ty: ScalarType) -> Result<Vec<u8>, Placed> {
    let place = value.span();
    let mismatch = || Problem::Init {
        found: describe(value.get_ref()),
        ty: Type::Scalar(ty),
    };
    let bits = match value.get_ref() {
        DeValue::Boolean(flag) if ty == ScalarType::Bool => u64::from(*flag),
        DeValue::Integer(number) if ty != ScalarType::Bool => {
            let number = i128::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| out_of_range(number.as_str(), ty, &place))?;
            if ty.is_float() {
                float(&number.to_string(), ty, &place)?
            } else {
                integer(number, ty, &place)?
            }
        }
        DeValue::Float(number) if ty.is_float() => float(number.as_str(), ty, &place)?,
        _ => return Err((mismatch(), place)),
    };
    Ok(bits.to_le_bytes()[..ty.size()].to_vec())
}

fn integer(number: i128, ty: ScalarType, place: &Range<usize>) -> Result<u64, Placed> {
    let bits = ty.size() * 8;
    let (low, high) = if ty.is_signed() {
        (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1)
    } else {
        (0, (1_i128 << bits) - 1)
    };
    if !(low..=high).contains(&number) {
        return Err(out_of_range(&number.to_string(), ty, place));
    }
    Ok(number as u64)
}

/// The nearest number that the type has; infinity only when the text says so.
fn float(text: &str, ty: ScalarType, place: &Range<usize>) -> Result<u64, Placed> {
    let refuse = |_| out_of_range(text, ty, place);
    let (bits, infinite) = if ty == ScalarType::F32 {
        let number: f32 = text.parse().map_err(refuse)?;
        (u64::from(number.to_bits()), number.is_infinite())
    } else {
        let number: f64 = text.parse().map_err(refuse)?;
        (number.to_bits(), number.is_infinite())
    };
    if infinite && !text.contains("inf") {
        return Err(out_of_range(text, ty, place));
    }
    Ok(bits)
}

fn out_of_range(number: &str, ty: ScalarType, place: &Range<usize>) -> Placed {
    let number = number.to_owned();
    (Problem::Range { number, ty }, place.clone())
}

/// A value as an error calls it.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        other => kind(other).to_owned(),
    }
}

/// The kind of a value, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
