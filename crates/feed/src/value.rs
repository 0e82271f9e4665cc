//! The values of keys: text as `vdso set` reads it, and JSON.

use serde_json::{Map, Value};
use vdsokit_build::declaration::{Field, Kind};
use vdsokit_publish::assign::Assignment;
use vdsokit_vvar::layout::Type;

/// The largest integer that every JSON reader keeps exactly: 2^53 (RFC 8259, section 6).
const MAX_EXACT: i128 = 1 << 53;

/// The assignments that a key's value stands for. Whether numbers fit their types is checked when
/// they are assigned.
///
/// # Errors
/// A clause that says why the value is not one of the variable's.
pub(crate) fn assignments(
    name: &str,
    kind: &Kind,
    value: &[u8],
) -> Result<Vec<Assignment>, String> {
    let text = utf8(value)?;
    match kind {
        Kind::Plain(ty) => Ok(vec![Assignment {
            name: name.to_owned(),
            field: None,
            value: plain(*ty, text)?,
        }]),
        Kind::Record(fields) => record(name, fields, text),
    }
}

/// The text of a value.
pub(crate) fn utf8(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value)
        .map_err(|error| format!("it is not UTF-8 from byte {} on", error.valid_up_to()))
}

fn plain(ty: Type, text: &str) -> Result<String, String> {
    match ty {
        Type::Text(_) => Ok(text.to_owned()),
        Type::Array(..) if text.trim_start().starts_with('[') => {
            let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
            of_json(&value)
        }
        _ => Ok(text.trim().to_owned()),
    }
}

fn record(name: &str, fields: &[Field], text: &str) -> Result<Vec<Assignment>, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("a record is JSON: {error}"))?;
    let Value::Object(mut object) = value else {
        return Err("a record is a JSON object of its fields".into());
    };
    let mut all = Vec::new();
    for field in fields {
        let value = object
            .remove(&field.name)
            .ok_or_else(|| format!("the field `{}` is missing", field.name))?;
        all.push(Assignment {
            name: name.to_owned(),
            field: Some(field.name.clone()),
            value: of_json(&value)?,
        });
    }
    match object.keys().next() {
        Some(unknown) => Err(format!("the record has no field `{unknown}`")),
        None => Ok(all),
    }
}

/// A JSON value as `vdso set` reads it.
fn of_json(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().map(of_json).collect::<Result<_, _>>()?;
            Ok(texts.join(","))
        }
        Value::Null => Err("null is no value".into()),
        Value::Object(_) => Err("a field is no object".into()),
    }
}

/// The value of a key that stands for these assignments, which are all of the variable's.
pub(crate) fn text(kind: &Kind, assignments: &[Assignment]) -> String {
    let value = |field: Option<&str>| {
        let found = assignments.iter().find(|one| one.field.as_deref() == field);
        found.map_or("", |assignment| assignment.value.as_str())
    };
    match kind {
        Kind::Plain(_) => value(None).to_owned(),
        Kind::Record(fields) => {
            let object: Map<String, Value> = fields
                .iter()
                .map(|field| {
                    let text = value(Some(&field.name));
                    (field.name.clone(), to_json(field.ty, text))
                })
                .collect();
            Value::Object(object).to_string()
        }
    }
}

fn to_json(ty: Type, text: &str) -> Value {
    match ty {
        Type::Text(_) => Value::String(text.to_owned()),
        Type::Scalar(_) => scalar(text),
        Type::Array(..) => text.split(',').map(|one| scalar(one.trim())).collect(),
    }
}

/// A number or a `bool`; what JSON can't hold exactly (NaN, integers above 2^53) stays text.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ Value::Bool(_)) => value,
        Ok(Value::Number(number))
            if number.is_f64() || number.as_i128().is_some_and(|n| n.abs() <= MAX_EXACT) =>
        {
            Value::Number(number)
        }
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdsokit_vvar::scalar::ScalarType;

    fn wind() -> Kind {
        Kind::record([
            Field::new("speed", Type::Scalar(ScalarType::F64)),
            Field::new("count", Type::Scalar(ScalarType::U64)),
            Field::new("from", Type::Text(8)),
            Field::new("gusts", Type::Array(ScalarType::F32, 2)),
        ])
    }

    fn values(kind: &Kind, value: &str) -> Result<Vec<String>, String> {
        let all = assignments("v", kind, value.as_bytes())?;
        Ok(all.into_iter().map(|one| one.value).collect())
    }

    #[test]
    fn records_are_json_that_reads_as_it_was_written() {
        let json = r#"{"speed":1.5,"count":"18446744073709551615","from":"NW","gusts":[1,"inf"]}"#;
        let all = assignments("v", &wind(), json.as_bytes()).unwrap();
        assert_eq!(
            values(&wind(), json).unwrap(),
            ["1.5", "18446744073709551615", "NW", "1,inf"]
        );
        assert_eq!(
            serde_json::from_str::<Value>(&text(&wind(), &all)).unwrap(),
            serde_json::from_str::<Value>(json).unwrap()
        );
    }

    #[test]
    fn records_with_missing_unknown_or_null_fields_are_refused() {
        for (json, word) in [
            ("1", "object"),
            ("{", "JSON"),
            (r#"{"speed":1}"#, "`count` is missing"),
            (
                r#"{"speed":null,"count":1,"from":"","gusts":[1,2]}"#,
                "null",
            ),
            (
                r#"{"speed":1,"count":1,"from":"","gusts":[1,2],"x":1}"#,
                "no field `x`",
            ),
        ] {
            let why = values(&wind(), json).unwrap_err();
            assert!(why.contains(word), "{json}: {why}");
        }
    }

    #[test]
    fn plain_values_are_text_or_json() {
        let number = Kind::Plain(Type::Scalar(ScalarType::U32));
        assert_eq!(values(&number, " 250\n").unwrap(), ["250"]);
        let text = Kind::Plain(Type::Text(8));
        assert_eq!(values(&text, " a b ").unwrap(), [" a b "]);
        let array = Kind::Plain(Type::Array(ScalarType::U8, 2));
        assert_eq!(values(&array, "[1, 2]").unwrap(), ["1,2"]);
        assert_eq!(values(&array, "1,2").unwrap(), ["1,2"]);
        let why = assignments("v", &text, b"ab\xff").unwrap_err();
        assert!(why.contains("not UTF-8 from byte 2 on"), "{why}");
    }
}
