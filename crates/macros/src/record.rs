//! `#[derive(Record)]`.

use crate::{attributes, types};
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields, Ident, Path, Result, Type, parse_quote};

/// A field as the derive sees it.
pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) unit: String,
    pub(crate) doc: String,
    pub(crate) init: Option<syn::Expr>,
    pub(crate) version: Option<syn::LitStr>,
}

pub(crate) fn derive(input: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    let vvar = attributes::vvar(&input.attrs)?;
    attributes::on_struct(&vvar)?;
    if let Some(name) = vvar.soname.or(vvar.version) {
        let what = "a record has no soname and no version: they belong to the declaration";
        return Err(Error::new_spanned(name, what));
    }
    if !input.generics.params.is_empty() {
        let what = "a record has one layout and can't be generic";
        return Err(Error::new_spanned(&input.generics, what));
    }
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "only a struct can be a record",
        ));
    };
    let fields = fields(&input.ident, &data.fields)?;
    only_fields(&fields)?;
    let krate = vvar.krate.unwrap_or_else(|| parse_quote!(::vdsokit::vvar));
    Ok(implementation(&krate, &input.ident, &fields))
}

/// Refuses attributes on a record's fields that belong to variables.
pub(crate) fn only_fields(fields: &[Field]) -> Result<()> {
    for field in fields {
        if let Some(version) = &field.version {
            let what = "a field has no version of its own: the record's variable has one";
            return Err(Error::new_spanned(version, what));
        }
        if let Some(init) = &field.init {
            let what = "a field has no initial value: records begin with 0, false and \"\"";
            return Err(Error::new_spanned(init, what));
        }
    }
    Ok(())
}

/// The fields of a record.
pub(crate) fn fields(record: &Ident, fields: &Fields) -> Result<Vec<Field>> {
    let Fields::Named(named) = fields else {
        return Err(Error::new_spanned(
            record,
            "the fields need names, by which other languages read them",
        ));
    };
    if named.named.is_empty() {
        return Err(Error::new_spanned(
            record,
            "a struct without fields has no value to publish",
        ));
    }
    let field = |field: &syn::Field| {
        types::check(&field.ty)?;
        let vvar = attributes::vvar(&field.attrs)?;
        attributes::on_field(&vvar)?;
        let name = field.ident.clone();
        Ok(Field {
            name: name.ok_or_else(|| Error::new_spanned(field, "a field has a name"))?,
            ty: field.ty.clone(),
            unit: vvar.unit.map(|unit| unit.value()).unwrap_or_default(),
            doc: attributes::doc(&field.attrs),
            init: vvar.init,
            version: vvar.version,
        })
    };
    let mut fields = Vec::new();
    let mut errors = None::<Error>;
    for result in named.named.iter().map(field) {
        match (result, &mut errors) {
            (Ok(field), _) => fields.push(field),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), None) => errors = Some(error),
        }
    }
    match errors {
        None => Ok(fields),
        Some(errors) => Err(errors),
    }
}

/// `impl Value`.
pub(crate) fn implementation(krate: &Path, record: &Ident, fields: &[Field]) -> TokenStream {
    let count = fields.len();
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let texts = fields.iter().map(|field| field.name.unraw().to_string());
    let units = fields.iter().map(|field| &field.unit);
    let docs = fields.iter().map(|field| &field.doc);
    let index: Vec<_> = (0..count).collect();
    quote! {
        const _: () = {
            use #krate::latch::{Copy as Words, CopyMut as WordsMut};
            use #krate::layout::{Cursor, Field, Shape};
            use #krate::value::{Element, Value};

            const FIELDS: [Field<'static>; #count] = {
                let mut cursor = Cursor::RECORD;
                [#(Field {
                    name: #texts,
                    ty: <#types as Element>::TYPE,
                    offset: cursor.field(<#types as Element>::TYPE),
                    unit: #units,
                    doc: #docs,
                }),*]
            };

            #[automatically_derived]
            impl Value for #record {
                const SHAPE: Shape<'static> = Shape::Record(&FIELDS);

                #[inline(always)]
                fn load(words: Words<'_>) -> Self {
                    Self {
                        #(#names: <#types as Element>::load_at(words, FIELDS[#index].offset)),*
                    }
                }

                #[inline(always)]
                fn store(&self, words: &WordsMut<'_>) {
                    #(<#types as Element>::store_at(
                        &self.#names,
                        words,
                        FIELDS[#index].offset,
                    );)*
                }
            }
        };
    }
}
