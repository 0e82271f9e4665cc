//! A scalar of any type, written with one store.

use vdsokit_publish::{Error, Publisher, VarWriter};
use vdsokit_vvar::directory::Kind;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

use crate::error::Failure;

/// Defines the enum of writers, how one is made, and how an integer is stored.
macro_rules! writers {
    ($($name:ident $ty:ty),*; $($float:ident $float_ty:ty),*) => {
        /// The writer of a scalar, by its type.
        pub(crate) enum ScalarWriter {
            $($name(VarWriter<$ty>),)*
            $($float(VarWriter<$float_ty>),)*
            Bool(VarWriter<bool>),
        }

        impl ScalarWriter {
            /// The writer of the scalar `name`.
            pub(crate) fn new(publisher: &Publisher, name: &str) -> Result<Self, Error> {
                let directory = publisher.directory();
                let scalar = match directory.find(name).map(|entry| entry.kind) {
                    Some(Kind::Plain(Type::Scalar(scalar))) => scalar,
                    // `var` refuses what is not there, and what is no scalar.
                    _ => ScalarType::Bool,
                };
                Ok(match scalar {
                    $(ScalarType::$name => Self::$name(publisher.var(name)?),)*
                    $(ScalarType::$float => Self::$float(publisher.var(name)?),)*
                    ScalarType::Bool => Self::Bool(publisher.var(name)?),
                })
            }

            /// Stores an integer, if the type holds it.
            pub(crate) fn set_integer(&self, value: i128) -> Result<(), Failure> {
                match self {
                    $(Self::$name(writer) => {
                        let value = <$ty>::try_from(value)
                            .map_err(|_| Failure::range(value, stringify!($ty)))?;
                        writer.set(value);
                    })*
                    other => return Err(Failure::kind("an integer", other.type_name())),
                }
                Ok(())
            }

            fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($ty),)*
                    $(Self::$float(_) => stringify!($float_ty),)*
                    Self::Bool(_) => "bool",
                }
            }
        }
    };
}

writers! {
    I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64;
    F32 f32, F64 f64
}

impl ScalarWriter {
    /// Stores a floating-point number, rounded to the variable's type.
    pub(crate) fn set_f64(&self, value: f64) -> Result<(), Failure> {
        match self {
            Self::F64(writer) => writer.set(value),
            Self::F32(writer) => writer.set(value as f32),
            other => return Err(Failure::kind("a floating-point number", other.type_name())),
        }
        Ok(())
    }

    /// Stores a truth value.
    pub(crate) fn set_bool(&self, value: bool) -> Result<(), Failure> {
        match self {
            Self::Bool(writer) => writer.set(value),
            other => return Err(Failure::kind("a truth value", other.type_name())),
        }
        Ok(())
    }
}
