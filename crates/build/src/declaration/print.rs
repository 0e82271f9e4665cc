//! From a declaration to TOML.

use super::{Declaration, Field, Kind, Variable, names};
use std::fmt::{self, Write};
use toml::Value;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// See [`Declaration::to_toml`].
pub(super) fn to_toml(declaration: &Declaration) -> String {
    let mut text = String::from("[vdso]\n");
    // Writing to a string does not fail.
    let _ = write(&mut text, declaration);
    text
}

fn write(text: &mut String, declaration: &Declaration) -> fmt::Result {
    put(text, "soname", &declaration.soname)?;
    put(text, "version", &declaration.version)?;
    if declaration.prefix != names::default_prefix(&declaration.soname) {
        writeln!(text, "prefix = {}", quoted(&declaration.prefix))?;
    }
    put(text, "doc", &declaration.doc)?;
    for variable in &declaration.variables {
        write_variable(text, variable, &declaration.version)?;
    }
    Ok(())
}

fn write_variable(text: &mut String, variable: &Variable, version: &str) -> fmt::Result {
    let name = &variable.name;
    writeln!(text, "\n[var.{name}]")?;
    if let Kind::Plain(ty) = variable.kind {
        writeln!(text, "type = \"{ty}\"")?;
    }
    put(text, "unit", &variable.unit)?;
    put(text, "doc", &variable.doc)?;
    if variable.version != version {
        put(text, "version", &variable.version)?;
    }
    put(text, "kernel", &variable.kernel)?;
    if !variable.after.is_empty() {
        let after: Vec<String> = variable.after.iter().map(|event| quoted(event)).collect();
        writeln!(text, "after = [{}]", after.join(", "))?;
    }
    put(text, "key", &variable.key)?;
    if variable.interpose {
        writeln!(text, "interpose = true")?;
    }
    match &variable.kind {
        Kind::Plain(ty) => write_init(text, &variable.init, *ty),
        Kind::Record(fields) => fields
            .iter()
            .try_for_each(|field| write_field(text, name, field, &variable.init)),
    }
}

fn write_field(text: &mut String, variable: &str, field: &Field, record: &[u8]) -> fmt::Result {
    writeln!(text, "[var.{variable}.fields.{}]", field.name)?;
    writeln!(text, "type = \"{}\"", field.ty)?;
    put(text, "unit", &field.unit)?;
    put(text, "doc", &field.doc)?;
    put(text, "kernel", &field.kernel)?;
    let init = &record[field.offset..field.offset + field.ty.size()];
    write_init(text, init, field.ty)
}

/// An initial value, unless it is the one that a declaration without `init` gives.
fn write_init(text: &mut String, init: &[u8], ty: Type) -> fmt::Result {
    if init.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let value = match ty {
        Type::Scalar(scalar) => number(init, scalar),
        Type::Array(scalar, _) => {
            let elements = init.chunks(scalar.size());
            let elements: Vec<String> = elements.map(|bytes| number(bytes, scalar)).collect();
            format!("[{}]", elements.join(", "))
        }
        Type::Text(_) => {
            let end = init.iter().position(|byte| *byte == 0);
            quoted(&String::from_utf8_lossy(&init[..end.unwrap_or(init.len())]))
        }
    };
    writeln!(text, "init = {value}")
}

fn number(bytes: &[u8], scalar: ScalarType) -> String {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(word);
    let unused = 64 - 8 * bytes.len() as u32;
    match scalar {
        ScalarType::Bool => (bits != 0).to_string(),
        ScalarType::F32 => Value::Float(f32::from_bits(bits as u32).into()).to_string(),
        ScalarType::F64 => Value::Float(f64::from_bits(bits)).to_string(),
        signed if signed.is_signed() => (((bits << unused) as i64) >> unused).to_string(),
        _ => bits.to_string(),
    }
}

/// `key = "text"`, unless the text is empty.
fn put(text: &mut String, key: &str, value: &str) -> fmt::Result {
    match value {
        "" => Ok(()),
        value => writeln!(text, "{key} = {}", quoted(value)),
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
