//! Documentation comments and `#[vvar(…)]`.

use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta, Path, Result};

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

/// What `#[vvar(…)]` can say.
#[derive(Default)]
pub(crate) struct Vvar {
    pub(crate) unit: Option<LitStr>,
    pub(crate) krate: Option<Path>,
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
            } else {
                Err(meta.error("known here: unit = \"…\" on a field, crate = path on a struct"))
            }
        })?;
    }
    Ok(vvar)
}
