//! Values of published vDSOs, as text and as JSON.

use crate::published;
use miette::{Result, miette};
use serde_json::{Map, Value, json};
use vdsokit_inspect::inspect::VariableView;
use vdsokit_publish::{Dynamic, Number, Status, Vdso};
use vdsokit_sources::kernel;

/// The largest integer that every JSON reader keeps exactly: 2^53 (RFC 8259, section 6).
const MAX_EXACT: u64 = 1 << 53;

/// How assignments are written, in arguments, on the standard input and by `vdso get`; part of the
/// help.
pub(crate) const QUOTING: &str = "\
Assignments are written name=value, name.field=value or name=1,2,3, with blanks between them.
A text with blanks, or one that begins with a quote, stands between double quotes. Between
these \\\" is a quote, \\\\ a backslash, \\n, \\r and \\t a line break, a carriage return and a
tab, \\u{1b} the character with that number. `vdso get` prints values in this form. As the
shell removes its own quotes, an argument of `vdso set` may also be name= and a text with
blanks, in which no word contains `=`.";

/// A value as JSON. Infinities and NaN, which JSON lacks, become null; integers above 2^53, which
/// many readers would round, become strings.
pub(crate) fn to_json(value: &Dynamic) -> Value {
    match value {
        Dynamic::Array(numbers) => numbers.iter().map(number).collect(),
        Dynamic::Text(text) => json!(text),
        Dynamic::Record(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields
                    .map(|(name, field)| (name.clone(), to_json(field)))
                    .collect(),
            )
        }
        Dynamic::Scalar(one) => number(one),
        _ => Value::Null,
    }
}

fn number(number: &Number) -> Value {
    match number {
        Number::Bool(value) => json!(value),
        // Its own digits, not those of the nearest f64.
        Number::Single(value) => value
            .to_string()
            .parse::<f64>()
            .map_or(Value::Null, |v| json!(v)),
        Number::Signed(value) if value.unsigned_abs() > MAX_EXACT => json!(value.to_string()),
        Number::Signed(value) => json!(value),
        Number::Unsigned(value) if *value > MAX_EXACT => json!(value.to_string()),
        Number::Unsigned(value) => json!(value),
        Number::Double(value) => json!(value),
        _ => Value::Null,
    }
}

/// The state of a vDSO and its publisher as JSON.
pub(crate) fn status(status: &Status) -> Value {
    json!({
        "state": status.condition.to_string(),
        "publisher": status.publisher,
        "age": status.age.map(|age| age.as_secs_f64()),
        "stale_after": status.stale_after.map(|limit| limit.as_secs_f64()),
    })
}

/// Status and values of a vDSO as JSON.
pub(crate) fn snapshot(vdso: &Vdso, values: &[(String, Dynamic)]) -> Value {
    let values: Map<String, Value> = values
        .iter()
        .map(|(name, value)| (name.clone(), to_json(value)))
        .collect();
    let mut all = json!({
        "file": vdso.path().to_string_lossy(),
        "status": status(&vdso.status()),
        "values": values,
    });
    if let Some(description) = kernel::describe(vdso.path()) {
        all["kernel"] = published::kernel(&description);
    }
    all
}

/// The variables and fields named, or all variables, with their values.
pub(crate) fn values_of(vdso: &Vdso, names: &[String]) -> Result<Vec<(String, Dynamic)>> {
    if names.is_empty() {
        let all = vdso.directory();
        return all
            .iter()
            .map(|entry| Ok((entry.name.to_owned(), vdso.get(entry.name)?)))
            .collect();
    }
    let named = |name: &String| -> Result<(String, Dynamic)> {
        let Some((variable, field)) = name.split_once('.') else {
            return Ok((name.clone(), vdso.get(name)?));
        };
        match vdso.get(variable)? {
            Dynamic::Record(fields) => {
                let known: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
                let help = format!("its fields are {}", known.join(", "));
                fields
                    .into_iter()
                    .find(|(known, _)| known == field)
                    .map(|(_, value)| (name.clone(), value))
                    .ok_or_else(|| miette!(help = help, "`{variable}` has no field `{field}`"))
            }
            _ => Err(miette!(
                help = format!("name the variable alone: `{variable}`"),
                "`{variable}` is not a record: it has no field `{field}`"
            )),
        }
    };
    names.iter().map(named).collect()
}

/// `name=value`, as `vdso set` reads it; for a record, all of its fields.
pub(crate) fn assignment(name: &str, value: &Dynamic) -> String {
    match value {
        Dynamic::Record(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(field, value)| format!("{name}.{field}={value}"))
                .collect();
            fields.join(" ")
        }
        value => format!("{name}={value}"),
    }
}

/// A variable or a field, as tables show it.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) unit: String,
    /// Empty in the row that only names a record.
    pub(crate) value: String,
}

impl Row {
    /// The rows of a variable: one, or for a record one with its name and one for each field, which
    /// is indented.
    pub(crate) fn all(name: &str, variable: &VariableView, value: Option<&Dynamic>) -> Vec<Row> {
        let text =
            |value: Option<&Dynamic>| value.map_or_else(|| "-".to_owned(), Dynamic::to_string);
        if variable.fields.is_empty() {
            return vec![Row {
                name: name.to_owned(),
                ty: variable.kind.clone(),
                unit: variable.unit.clone(),
                value: text(value),
            }];
        }
        let values = match value {
            Some(Dynamic::Record(values)) => values.as_slice(),
            _ => &[],
        };
        let fields = variable.fields.iter().map(|field| {
            let value = values.iter().find(|(name, _)| *name == field.name);
            Row {
                name: format!("  .{}", field.name),
                ty: field.kind.clone(),
                unit: field.unit.clone(),
                value: text(value.map(|(_, value)| value)),
            }
        });
        let head = Row {
            name: name.to_owned(),
            ty: "record".to_owned(),
            unit: variable.unit.clone(),
            value: String::new(),
        };
        std::iter::once(head).chain(fields).collect()
    }

    /// The rows of a value that [`values_of`] found: a variable's or a field's.
    pub(crate) fn of(vdso: &Vdso, name: &str, value: &Dynamic) -> Vec<Row> {
        let (variable, field) = match name.split_once('.') {
            Some((variable, field)) => (variable, Some(field)),
            None => (name, None),
        };
        let view = vdso
            .directory()
            .find(variable)
            .map(|entry| VariableView::from(&entry));
        let Some(mut view) = view else {
            return Vec::new();
        };
        if let Some(field) = view
            .fields
            .iter()
            .find(|known| Some(known.name.as_str()) == field)
        {
            (view.kind, view.unit) = (field.kind.clone(), field.unit.clone());
            view.fields.clear();
        }
        Row::all(name, &view, Some(value))
    }
}
