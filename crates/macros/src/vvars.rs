//! `#[derive(Vvars)]`.

use crate::attributes;
use crate::record::{self, Field};
use crate::types::scalar_name;
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Path, Result, Type, Visibility, parse_quote};

/// The fields of the generated structs that are not variables.
const OWN: [&str; 2] = ["vdso", "publisher"];

pub(crate) fn derive(input: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    let vvar = attributes::vvar(&input.attrs)?;
    attributes::on_struct(&vvar)?;
    if !input.generics.params.is_empty() {
        let what = "a declaration has one layout and can't be generic";
        return Err(Error::new_spanned(&input.generics, what));
    }
    let Data::Struct(data) = &input.data else {
        let what = "only a struct can declare variables";
        return Err(Error::new_spanned(&input.ident, what));
    };
    let missing = |what| Error::new_spanned(&input.ident, what);
    let soname = vvar.soname.ok_or_else(|| {
        missing("a soname is missing: `#[vvar(soname = \"lib….so.1\", version = \"…_1.0\")]`")
    })?;
    let version = vvar
        .version
        .ok_or_else(|| missing("a version is missing: `#[vvar(version = \"…_1.0\")]`"))?;
    let fields = record::fields(&input.ident, &data.fields)?;
    for field in &fields {
        if OWN.contains(&field.name.unraw().to_string().as_str()) {
            let what = "the generated structs have a field of this name: choose another";
            return Err(Error::new_spanned(&field.name, what));
        }
    }
    let declared = Declared {
        krate: vvar.krate.unwrap_or_else(|| parse_quote!(::vdsokit)),
        vis: &input.vis,
        name: &input.ident,
        reader: format_ident!("{}Reader", input.ident),
        publisher: format_ident!("{}Publisher", input.ident),
        doc: attributes::doc(&input.attrs),
        soname: soname.to_token_stream(),
        version: version.to_token_stream(),
        fields: &fields,
    };
    let halves = declared.halves();
    let implementation = declared.implementation();
    Ok(quote! { #halves #implementation })
}

struct Declared<'i> {
    krate: Path,
    vis: &'i Visibility,
    name: &'i Ident,
    reader: Ident,
    publisher: Ident,
    doc: String,
    soname: TokenStream,
    version: TokenStream,
    fields: &'i [Field],
}

impl Declared<'_> {
    fn names(&self) -> Vec<&Ident> {
        self.fields.iter().map(|field| &field.name).collect()
    }

    fn texts(&self) -> Vec<String> {
        let names = self.fields.iter();
        names.map(|field| field.name.unraw().to_string()).collect()
    }

    /// The tokens for each field: `scalar` of a scalar's type, `latched` of any other.
    fn by_kind<'f>(
        &'f self,
        scalar: impl Fn(&Type) -> TokenStream + 'f,
        latched: impl Fn(&Type) -> TokenStream + 'f,
    ) -> impl Iterator<Item = TokenStream> + 'f {
        self.fields
            .iter()
            .map(move |field| match scalar_name(&field.ty).is_some() {
                true => scalar(&field.ty),
                false => latched(&field.ty),
            })
    }

    fn halves(&self) -> TokenStream {
        let Self {
            krate,
            vis,
            name,
            reader,
            publisher,
            ..
        } = self;
        let names = self.names();
        let docs: Vec<_> = self.fields.iter().map(|field| &field.doc).collect();
        let reads = self.by_kind(
            |ty| quote!(#krate::Var<#ty>),
            |ty| quote!(#krate::Latched<#ty>),
        );
        let writes = self.by_kind(
            |ty| quote!(#krate::VarWriter<#ty>),
            |ty| quote!(#krate::LatchedWriter<#ty>),
        );
        let (reader_doc, publisher_doc) = (
            format!("The variables of [`{name}`], open for reading."),
            format!("The variables of [`{name}`], open for writing by their one publisher."),
        );
        quote! {
            #[doc = #reader_doc]
            #[derive(Clone)]
            #vis struct #reader {
                /// Status, directory, and values by name.
                pub vdso: #krate::Vdso,
                #(#[doc = #docs] pub #names: #reads,)*
            }

            #[doc = #publisher_doc]
            #vis struct #publisher {
                /// Heartbeats, retirement, and assignments by name.
                pub publisher: #krate::Publisher,
                #(#[doc = #docs] pub #names: #writes,)*
            }
        }
    }

    fn implementation(&self) -> TokenStream {
        let Self {
            krate,
            name,
            reader,
            publisher,
            doc,
            soname,
            version,
            ..
        } = self;
        let (names, texts) = (self.names(), self.texts());
        let units = self.fields.iter().map(|field| &field.unit);
        let docs = self.fields.iter().map(|field| &field.doc);
        let inits = self.fields.iter().map(|field| match &field.init {
            Some(init) => {
                let text = init.to_token_stream().to_string();
                quote!(Some(#text))
            }
            None => quote!(None),
        });
        let versions = self.fields.iter().map(|field| match &field.version {
            Some(version) => quote!(Some(#version)),
            None => quote!(None),
        });
        let shapes = self.by_kind(
            |ty| quote!(Shape::Plain(Type::Scalar(<#ty as Scalar>::TYPE))),
            |ty| quote!(<#ty as Value>::SHAPE),
        );
        let handles = || self.by_kind(|_| quote!(var), |_| quote!(latched));
        let (reads, writes) = (handles(), handles());
        quote! {
            const _: () = {
                use #krate::declare::{Declared, Head};
                use #krate::vvar::layout::{Shape, Type};
                use #krate::vvar::scalar::Scalar;
                use #krate::vvar::value::Value;

                const VARIABLES: &[Declared] = &[#(Declared {
                    name: #texts,
                    unit: #units,
                    doc: #docs,
                    version: #versions,
                    init: #inits,
                    shape: #shapes,
                }),*];

                #[automatically_derived]
                impl #krate::Vvars for #name {
                    type Reader = #reader;
                    type Publisher = #publisher;

                    const HEAD: Head = Head {
                        soname: #soname,
                        version: #version,
                        doc: #doc,
                    };
                    const VARIABLES: &'static [Declared] = VARIABLES;

                    fn reader(vdso: #krate::Vdso) -> Result<#reader, #krate::Error> {
                        Ok(#reader {
                            #(#names: vdso.#reads(#texts)?,)*
                            vdso,
                        })
                    }

                    fn publisher(
                        publisher: #krate::Publisher,
                    ) -> Result<#publisher, #krate::Error> {
                        Ok(#publisher {
                            #(#names: publisher.#writes(#texts)?,)*
                            publisher,
                        })
                    }

                    fn get(reader: &#reader) -> Self {
                        Self { #(#names: reader.#names.get(),)* }
                    }

                    fn set(&self, publisher: &mut #publisher) {
                        #(publisher.#names.set(self.#names);)*
                    }
                }
            };
        }
    }
}
