//! Documentation comments and `#[vvar(…)]`.

use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, MetaNameValue, Path, Result};

/// The documentation comment, its lines trimmed and joined, paragraphs kept apart.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    lines
        .split(String::is_empty)
        .filter(|paragraph| !paragraph.is_empty())
        .map(|paragraph| paragraph.join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The expression of `#[kernel = "…"]`; empty without one.
pub(crate) fn kernel(attributes: &[Attribute]) -> Result<String> {
    let mut expression = String::new();
    for attribute in attributes {
        if !attribute.path().is_ident("kernel") {
            continue;
        }
        match &attribute.meta {
            Meta::NameValue(MetaNameValue {
                value:
                    Expr::Lit(ExprLit {
                        lit: Lit::Str(text),
                        ..
                    }),
                ..
            }) if !text.value().is_empty() => expression = text.value(),
            other => {
                return Err(Error::new_spanned(
                    other,
                    "name a variable of the kernel's: `#[kernel = \"avenrun[0]\"]`",
                ));
            }
        }
    }
    Ok(expression)
}

/// The keys of `#[vvar(…)]`.
#[derive(Default)]
pub(crate) struct Vvar {
    pub(crate) unit: Option<LitStr>,
    pub(crate) krate: Option<Path>,
    pub(crate) soname: Option<LitStr>,
    pub(crate) version: Option<LitStr>,
    pub(crate) init: Option<Expr>,
}

/// Reads every `#[vvar(…)]`.
pub(crate) fn vvar(attributes: &[Attribute]) -> Result<Vvar> {
    let mut vvar = Vvar::default();
    for attribute in attributes {
        if !attribute.path().is_ident("vvar") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("unit") {
                vvar.unit = Some(meta.value()?.parse()?);
                Ok(())
            } else if meta.path.is_ident("crate") {
                vvar.krate = Some(meta.value()?.parse()?);
                Ok(())
            } else if meta.path.is_ident("soname") {
                vvar.soname = Some(meta.value()?.parse()?);
                Ok(())
            } else if meta.path.is_ident("version") {
                vvar.version = Some(meta.value()?.parse()?);
                Ok(())
            } else if meta.path.is_ident("init") {
                vvar.init = Some(meta.value()?.parse()?);
                Ok(())
            } else {
                Err(meta.error(
                    "unknown key: a field has `unit`, `init` and `version`, a struct `crate`, `soname` and `version`",
                ))
            }
        })?;
    }
    Ok(vvar)
}

/// Refuses keys on a struct that belong to a field.
pub(crate) fn on_struct(vvar: &Vvar) -> Result<()> {
    if let Some(unit) = &vvar.unit {
        return Err(Error::new_spanned(unit, "a unit belongs to a field"));
    }
    match &vvar.init {
        Some(init) => Err(Error::new_spanned(
            init,
            "an initial value belongs to a field",
        )),
        None => Ok(()),
    }
}

/// Refuses keys on a field that belong to a struct.
pub(crate) fn on_field(vvar: &Vvar) -> Result<()> {
    if let Some(path) = &vvar.krate {
        return Err(Error::new_spanned(path, "`crate` belongs to the struct"));
    }
    match &vvar.soname {
        Some(soname) => Err(Error::new_spanned(soname, "a soname belongs to the struct")),
        None => Ok(()),
    }
}
