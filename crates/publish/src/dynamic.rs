//! Values whose types are known only at run time, for tools and for text.

use std::fmt;
use vdsokit_vvar::directory::{Entry, Kind};
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::{Scalar, ScalarType};

/// One scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Number {
    /// A `bool`.
    Bool(bool),
    /// Any of `i8` … `i64`.
    Signed(i64),
    /// Any of `u8` … `u64`.
    Unsigned(u64),
    /// An `f32`.
    Single(f32),
    /// An `f64`.
    Double(f64),
}

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Dynamic {
    /// One scalar.
    Scalar(Number),
    /// An array of scalars.
    Array(Vec<Number>),
    /// A text.
    Text(String),
    /// A record: the names and values of its fields, in their order.
    Record(Vec<(String, Dynamic)>),
}

impl Number {
    fn from_bits(ty: ScalarType, bits: u64) -> Self {
        match ty {
            ScalarType::Bool => Self::Bool(bool::from_bits(bits)),
            ScalarType::I8 => Self::Signed(i8::from_bits(bits).into()),
            ScalarType::I16 => Self::Signed(i16::from_bits(bits).into()),
            ScalarType::I32 => Self::Signed(i32::from_bits(bits).into()),
            ScalarType::I64 => Self::Signed(i64::from_bits(bits)),
            ScalarType::U8 | ScalarType::U16 | ScalarType::U32 | ScalarType::U64 => {
                Self::Unsigned(bits)
            }
            ScalarType::F32 => Self::Single(<f32 as Scalar>::from_bits(bits)),
            ScalarType::F64 => Self::Double(<f64 as Scalar>::from_bits(bits)),
        }
    }

    pub(crate) fn to_bits(self) -> u64 {
        match self {
            Self::Bool(value) => Scalar::to_bits(value),
            Self::Signed(value) => Scalar::to_bits(value),
            Self::Unsigned(value) => value,
            Self::Single(value) => Scalar::to_bits(value),
            Self::Double(value) => Scalar::to_bits(value),
        }
    }

    pub(crate) fn parse(ty: ScalarType, text: &str) -> Result<Self, String> {
        fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, String>
        where
            T::Err: fmt::Display,
        {
            text.parse().map_err(|error: T::Err| error.to_string())
        }
        // `FromStr` rounds a number that is too large to infinity.
        fn finite<T: Copy>(text: &str, value: T, is_infinite: fn(T) -> bool) -> Result<T, String> {
            match is_infinite(value) && text.bytes().any(|byte| byte.is_ascii_digit()) {
                true => Err("number too large to fit in target type".into()),
                false => Ok(value),
            }
        }
        Ok(match ty {
            ScalarType::Bool => Self::Bool(match text {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return Err("it is neither `true` nor `false`".into()),
            }),
            ScalarType::I8 => Self::Signed(parsed::<i8>(text)?.into()),
            ScalarType::I16 => Self::Signed(parsed::<i16>(text)?.into()),
            ScalarType::I32 => Self::Signed(parsed::<i32>(text)?.into()),
            ScalarType::I64 => Self::Signed(parsed(text)?),
            ScalarType::U8 => Self::Unsigned(parsed::<u8>(text)?.into()),
            ScalarType::U16 => Self::Unsigned(parsed::<u16>(text)?.into()),
            ScalarType::U32 => Self::Unsigned(parsed::<u32>(text)?.into()),
            ScalarType::U64 => Self::Unsigned(parsed(text)?),
            ScalarType::F32 => Self::Single(finite(text, parsed(text)?, f32::is_infinite)?),
            ScalarType::F64 => Self::Double(finite(text, parsed(text)?, f64::is_infinite)?),
        })
    }
}

impl Dynamic {
    /// Checks that `text` is a value of type `ty`, as an assignment has it.
    ///
    /// # Errors
    /// A clause that says why it is not.
    pub fn check(ty: Type, text: &str) -> Result<(), String> {
        encode(ty, text).map(drop)
    }

    /// Decodes a value of type `ty` from its bytes in the pages; `None` if their number is wrong.
    #[must_use]
    pub fn from_bytes(ty: Type, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == ty.size()).then(|| decode(ty, bytes))
    }

    /// Decodes the bytes of a variable's whole value.
    pub(crate) fn decode(entry: &Entry<'_>, bytes: &[u8]) -> Self {
        match &entry.kind {
            Kind::Plain(ty) => decode(*ty, bytes),
            Kind::Record(fields) => Self::Record(
                fields
                    .clone()
                    .map(|field| {
                        let end = field.offset + field.ty.size();
                        let value = decode(field.ty, &bytes[field.offset..end]);
                        (field.name.to_owned(), value)
                    })
                    .collect(),
            ),
        }
    }
}

fn decode(ty: Type, bytes: &[u8]) -> Dynamic {
    let numbers = |scalar: ScalarType| {
        bytes
            .chunks_exact(scalar.size())
            .map(move |chunk| Number::from_bits(scalar, bits(chunk)))
    };
    match ty {
        Type::Scalar(scalar) => Dynamic::Scalar(Number::from_bits(scalar, bits(bytes))),
        Type::Array(scalar, _) => Dynamic::Array(numbers(scalar).collect()),
        Type::Text(_) => {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            Dynamic::Text(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// Parses `text` as a value of type `ty` and returns its bytes in memory.
///
/// # Errors
/// A clause that says why the text is not such a value.
pub(crate) fn encode(ty: Type, text: &str) -> Result<Vec<u8>, String> {
    match ty {
        Type::Scalar(scalar) => encode_number(scalar, text),
        Type::Array(scalar, count) => {
            let elements: Vec<&str> = text.split(',').collect();
            if elements.len() != count as usize {
                return Err(format!("it has {} elements, not {count}", elements.len()));
            }
            let mut bytes = Vec::with_capacity(ty.size());
            for element in elements {
                bytes.extend(encode_number(scalar, element.trim())?);
            }
            Ok(bytes)
        }
        Type::Text(size) => {
            let (size, most) = (size as usize, (size as usize).saturating_sub(1));
            if text.len() > most {
                return Err(format!(
                    "it has {} bytes, there is room for {most}",
                    text.len()
                ));
            }
            if text.contains('\0') {
                return Err("it contains a NUL".into());
            }
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(size, 0);
            Ok(bytes)
        }
    }
}

fn encode_number(scalar: ScalarType, text: &str) -> Result<Vec<u8>, String> {
    let bits = Number::parse(scalar, text)?.to_bits().to_ne_bytes();
    Ok(low(&bits, scalar.size()).to_vec())
}

/// The bits of a scalar, from its bytes in memory.
pub(crate) fn bits(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let place = if cfg!(target_endian = "little") {
        0
    } else {
        8 - bytes.len()
    };
    word[place..place + bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// The `size` least significant bytes of a word in memory.
pub(crate) fn low(word: &[u8; 8], size: usize) -> &[u8] {
    if cfg!(target_endian = "little") {
        &word[..size]
    } else {
        &word[8 - size..]
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Single(value) => value.fmt(f),
            Self::Double(value) => value.fmt(f),
        }
    }
}

/// Formats as in an assignment; a record as assignments of its fields.
impl fmt::Display for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(number) => number.fmt(f),
            Self::Array(numbers) => {
                for (index, number) in numbers.iter().enumerate() {
                    write!(f, "{}{number}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Record(fields) => {
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index == 0 { "" } else { " " })?;
                }
                Ok(())
            }
        }
    }
}

/// The type of a variable as text: `f64`, `{ speed: f64, from: str[8] }`.
#[must_use]
pub fn type_of(entry: &Entry<'_>) -> String {
    match &entry.kind {
        Kind::Plain(ty) => ty.to_string(),
        Kind::Record(fields) => describe(fields.clone()),
    }
}

/// The type of a record as text.
pub(crate) fn describe<'a>(
    fields: impl Iterator<Item = vdsokit_vvar::layout::Field<'a>>,
) -> String {
    let fields: Vec<String> = fields
        .map(|field| format!("{}: {}", field.name, field.ty))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ty: Type, text: &str) -> Result<String, String> {
        encode(ty, text).map(|bytes| decode(ty, &bytes).to_string())
    }

    #[test]
    fn texts_round_trip() {
        for (scalar, text) in [
            (ScalarType::Bool, "true"),
            (ScalarType::I8, "-128"),
            (ScalarType::I64, "-9223372036854775808"),
            (ScalarType::U64, "18446744073709551615"),
            (ScalarType::F32, "0.1"),
            (ScalarType::F64, "-1.5"),
            (ScalarType::F64, "NaN"),
            (ScalarType::F64, "inf"),
            (ScalarType::F32, "-inf"),
        ] {
            assert_eq!(round(Type::Scalar(scalar), text).as_deref(), Ok(text));
        }
        let array = Type::Array(ScalarType::I16, 3);
        assert_eq!(round(array, "1, -2,3").as_deref(), Ok("1,-2,3"));
        assert_eq!(round(Type::Text(4), "abc").as_deref(), Ok("\"abc\""));
    }

    #[test]
    fn each_type_has_its_range_and_its_bytes() {
        #[rustfmt::skip]
        let table: [(_, &str, &str, &[u8]); 13] = [
            (ScalarType::Bool, "1", "true", &[1]),
            (ScalarType::Bool, "0", "false", &[0]),
            (ScalarType::Bool, "false", "false", &[0]),
            (ScalarType::I8, "-2", "-2", &(-2_i8).to_ne_bytes()),
            (ScalarType::I16, "-32768", "-32768", &i16::MIN.to_ne_bytes()),
            (ScalarType::I32, "-2147483648", "-2147483648", &i32::MIN.to_ne_bytes()),
            (ScalarType::I64, "-2", "-2", &(-2_i64).to_ne_bytes()),
            (ScalarType::U8, "255", "255", &[255]),
            (ScalarType::U16, "65535", "65535", &u16::MAX.to_ne_bytes()),
            (ScalarType::U32, "4294967295", "4294967295", &u32::MAX.to_ne_bytes()),
            (ScalarType::U64, "1", "1", &1_u64.to_ne_bytes()),
            (ScalarType::F32, "-1.5", "-1.5", &(-1.5_f32).to_ne_bytes()),
            (ScalarType::F64, "1.5", "1.5", &1.5_f64.to_ne_bytes()),
        ];
        for (scalar, text, shown, bytes) in table {
            let ty = Type::Scalar(scalar);
            assert_eq!(encode(ty, text).as_deref(), Ok(bytes), "{scalar} {text}");
            let value = Dynamic::from_bytes(ty, bytes).unwrap();
            assert_eq!(value.to_string(), shown, "{scalar} {text}");
            assert_eq!(Dynamic::check(ty, text), Ok(()));
            // Of another length they are no value of the type.
            let longer = [bytes, &[0]].concat();
            assert_eq!(Dynamic::from_bytes(ty, &longer), None);
            assert_eq!(Dynamic::from_bytes(ty, &bytes[1..]), None);
        }
        assert!(Dynamic::check(Type::Scalar(ScalarType::U8), "256").is_err());
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        for (ty, text) in [
            (Type::Scalar(ScalarType::U8), "256"),
            (Type::Scalar(ScalarType::U8), "-1"),
            (Type::Scalar(ScalarType::I8), "128"),
            (Type::Scalar(ScalarType::U32), ""),
            (Type::Scalar(ScalarType::F64), "warm"),
            (Type::Scalar(ScalarType::F64), "1e400"),
            (Type::Scalar(ScalarType::F64), "-1e400"),
            (Type::Scalar(ScalarType::F32), "1e39"),
            (Type::Scalar(ScalarType::Bool), "2"),
            (Type::Array(ScalarType::U8, 2), "1"),
            (Type::Array(ScalarType::U8, 2), "1,2,3"),
            (Type::Text(4), "abcd"),
            (Type::Text(4), "a\0"),
        ] {
            assert!(round(ty, text).is_err(), "{ty} {text}");
        }
    }

    #[test]
    fn a_text_that_is_not_utf8_is_read_lossily() {
        let value = decode(Type::Text(3), &[b'a', 0xff, b'b']);
        assert_eq!(value, Dynamic::Text("a\u{fffd}b".into()));
    }
}
