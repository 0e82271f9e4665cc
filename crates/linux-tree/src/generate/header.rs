//! The C header of a crate: its variables as they lie in the pages, and a setter for each.

use super::NOTICE;
use crate::package::Package;
use std::fmt::{self, Write};
use vdsokit_vvar::directory::{Entry, Kind};
use vdsokit_vvar::latch;
use vdsokit_vvar::layout::{Field, LATCH_ALIGN, Type};
use vdsokit_vvar::scalar::ScalarType;

pub(super) fn header(package: &Package) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_header(&mut text, package);
    text
}

fn write_header(text: &mut String, package: &Package) -> fmt::Result {
    let name = package.name();
    let guard = format!("_ASM_VDSOKIT_{}_H", name.to_ascii_uppercase());
    writeln!(text, "/* {NOTICE} */")?;
    writeln!(text, "#ifndef {guard}\n#define {guard}\n")?;
    writeln!(
        text,
        "#include <linux/build_bug.h>\n#include <linux/stddef.h>\n#include <asm/barrier.h>\n\
         #include <asm/page_types.h>\n#include <asm/vdsokit/kernel.h>\n"
    )?;
    for entry in package.variables() {
        write_value(text, name, &entry)?;
    }
    writeln!(
        text,
        "struct vdsokit_{name} {{\n\tstruct vdsokit_header header;"
    )?;
    for entry in package.variables() {
        match entry.kind {
            Kind::Plain(Type::Scalar(scalar)) => {
                writeln!(text, "\t{} {};", c_type(scalar), entry.name)?;
            }
            _ => writeln!(
                text,
                "\tu64 {}[{}] __aligned({LATCH_ALIGN});",
                entry.name,
                latch::size_of(entry.size()) / 8
            )?,
        }
    }
    writeln!(text, "}};\n")?;
    for entry in package.variables() {
        writeln!(
            text,
            "static_assert(offsetof(struct vdsokit_{name}, {}) == {});",
            entry.name, entry.offset
        )?;
    }
    let bytes = format!("{} * PAGE_SIZE", package.pages());
    writeln!(
        text,
        "static_assert(sizeof(struct vdsokit_{name}) <= {bytes});\n\n\
         /* Whole pages: whatever lies in them, every process can read. */\n\
         union vdsokit_{name}_pages {{\n\tstruct vdsokit_{name} vvars;\n\tu8 bytes[{bytes}];\n}};\n\
         extern union vdsokit_{name}_pages vdsokit_{name}_pages;\n\n\
         void vdsokit_{name}_update(const struct timekeeper *tk);"
    )?;
    for entry in package.variables() {
        writeln!(text)?;
        write_setter(text, name, &entry)?;
    }
    writeln!(text, "\n#endif")
}

/// The type of a value that is no scalar.
fn write_value(text: &mut String, name: &str, entry: &Entry<'_>) -> fmt::Result {
    let fields: Vec<Field<'_>> = match &entry.kind {
        Kind::Plain(Type::Scalar(_)) => return Ok(()),
        Kind::Plain(ty) => vec![Field {
            name: "value",
            ty: *ty,
            offset: 0,
            unit: "",
            doc: "",
        }],
        Kind::Record(fields) => fields.clone().collect(),
    };
    let value = format!("struct vdsokit_{name}_{}", entry.name);
    writeln!(text, "{value} {{")?;
    for field in &fields {
        let what = field.name;
        match field.ty {
            Type::Scalar(scalar) => writeln!(text, "\t{} {what};", c_type(scalar))?,
            Type::Array(scalar, count) => writeln!(text, "\t{} {what}[{count}];", c_type(scalar))?,
            Type::Text(bytes) => writeln!(text, "\tchar {what}[{bytes}];")?,
        }
    }
    writeln!(
        text,
        "}};\nstatic_assert(sizeof({value}) == {});",
        entry.size()
    )?;
    for field in &fields {
        let (what, offset) = (field.name, field.offset);
        writeln!(
            text,
            "static_assert(offsetof({value}, {what}) == {offset});"
        )?;
    }
    writeln!(text)
}

fn write_setter(text: &mut String, name: &str, entry: &Entry<'_>) -> fmt::Result {
    let what = entry.name;
    let place = format!("vdsokit_{name}_pages.vvars.{what}");
    let setter = format!("static inline void vdsokit_{name}_set_{what}");
    write_doc(text, entry)?;
    match entry.kind {
        Kind::Plain(Type::Scalar(scalar)) => writeln!(
            text,
            "{setter}({} value)\n{{\n\tsmp_store_release(&{place}, value);\n}}",
            c_type(scalar)
        ),
        _ => writeln!(
            text,
            "{setter}(const struct vdsokit_{name}_{what} *value)\n{{\n\
             \tvdsokit_latch({place}, {}, value, sizeof(*value));\n}}",
            latch::stride(entry.size()) / 8
        ),
    }
}

fn write_doc(text: &mut String, entry: &Entry<'_>) -> fmt::Result {
    let float = match entry.kind {
        Kind::Plain(Type::Scalar(scalar) | Type::Array(scalar, _)) => scalar.is_float(),
        Kind::Plain(Type::Text(_)) | Kind::Record(_) => false,
    };
    let unit = match entry.unit {
        // A number of something has none, or 1.
        "" | "1" => String::new(),
        unit => format!("In {unit}."),
    };
    let bits = if float {
        "The bits of an IEEE 754 number."
    } else {
        ""
    };
    let lines: Vec<String> = [entry.doc, &unit, bits]
        .iter()
        .flat_map(|part| part.lines())
        // No text ends the comment, or begins another.
        .map(|line| line.replace("*/", "* /").replace("/*", "/ *"))
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    match &*lines {
        [] => Ok(()),
        [line] => writeln!(text, "/* {line} */"),
        lines => writeln!(text, "/*\n * {}\n */", lines.join("\n * ")),
    }
}

/// The kernel computes with no floating-point numbers: it passes their bits on.
fn c_type(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::Bool | ScalarType::U8 => "u8",
        ScalarType::I8 => "s8",
        ScalarType::I16 => "s16",
        ScalarType::I32 => "s32",
        ScalarType::I64 => "s64",
        ScalarType::U16 => "u16",
        ScalarType::U32 | ScalarType::F32 => "u32",
        ScalarType::U64 | ScalarType::F64 => "u64",
    }
}
