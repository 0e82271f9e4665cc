//! `vvars!`.

use crate::attributes;
use crate::declare::{self, Lines, quoted};
use crate::record::{self, Field};
use crate::types::{self, scalar_name};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Error, Expr, ExprLit, ExprStruct, GenericArgument, Ident, ItemStruct, Lit, LitStr,
    Member, PathArguments, Result, Token, Type, UnOp, Visibility, parse_quote,
};

/// `pub static NAME: TYPE = VALUE;`
struct Variable {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    name: Ident,
    ty: Type,
    init: Option<Expr>,
}

enum Item {
    Record(Box<ItemStruct>),
    Variable(Box<Variable>),
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let ahead = input.fork();
        ahead.call(Attribute::parse_outer)?;
        ahead.parse::<Visibility>()?;
        if ahead.peek(Token![struct]) {
            return Ok(Self::Record(Box::new(input.parse()?)));
        }
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        input.parse::<Token![static]>()?;
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        let ty = input.parse()?;
        let init = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        input.parse::<Token![;]>()?;
        Ok(Self::Variable(Box::new(Variable {
            attributes,
            visibility,
            name,
            ty,
            init,
        })))
    }
}

struct Items(Vec<Item>);

impl Parse for Items {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut items = Vec::new();
        while !input.is_empty() {
            items.push(input.parse()?);
        }
        Ok(Self(items))
    }
}

/// A record that was declared in the same `vvars!`.
struct Record {
    name: Ident,
    fields: Vec<Field>,
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let Items(items) = syn::parse2(input)?;
    let mut output = TokenStream::new();
    let mut records = Vec::new();
    for item in &items {
        if let Item::Record(item) = item {
            let fields = record::fields(&item.ident, &item.fields)?;
            record::only_fields(&fields)?;
            output.extend(record_item(item, &fields));
            let name = item.ident.clone();
            records.push(Record { name, fields });
        }
    }
    let mut text = None::<Lines>;
    for item in &items {
        let Item::Variable(variable) = item else {
            continue;
        };
        let lines = declaration(variable, &records)?;
        match &mut text {
            Some(text) => text.append(&lines),
            None => text = Some(lines),
        }
        output.extend(accessor(variable));
    }
    if let Some(text) = text {
        let section = declare::section(text);
        output.extend(quote! {
            ::vdsokit_rt::__if_image! {
                {
                    #section
                    const _: () = {
                        // The order of the variables of two `vvars!` would be undefined: this
                        // makes the compiler refuse the second.
                        #[allow(unsafe_code, reason = "only a declaration has this name")]
                        #[unsafe(no_mangle)]
                        static __vdsokit_one_vvars_in_a_crate: u8 = 0;
                    };
                }
                {}
            }
        });
    }
    Ok(output)
}

/// The struct itself, without our attributes, and `impl Value`.
fn record_item(item: &ItemStruct, fields: &[Field]) -> TokenStream {
    let mut item = item.clone();
    for field in &mut item.fields {
        field
            .attrs
            .retain(|attribute| !attribute.path().is_ident("vvar"));
    }
    let implementation =
        record::implementation(&parse_quote!(::vdsokit_rt::vvar), &item.ident, fields);
    quote! {
        #[derive(Clone, Copy, Debug)]
        #item
        #implementation
    }
}

/// A zero-sized value with the variable's name, and its method `get`.
fn accessor(variable: &Variable) -> TokenStream {
    let Variable {
        visibility,
        name,
        ty,
        ..
    } = variable;
    let docs = variable
        .attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"));
    let symbol = format!("__vvar_{}", declared_name(name));
    let initial = initial(variable);
    let load = match scalar_name(ty) {
        Some(_) => quote!(::vdsokit_rt::private::scalar::<#ty>(address)),
        None => {
            let zeros = zeros(ty);
            quote! {
                match ::vdsokit_rt::private::latched::<#ty>(address) {
                    ::core::option::Option::Some(value) => value,
                    // A latch has an odd number of words, which the compiler knows.
                    ::core::option::Option::None => #zeros,
                }
            }
        }
    };
    let marker = format_ident!("{}", name.unraw());
    quote! {
        #(#docs)*
        #[allow(non_camel_case_types, reason = "it is used like a static")]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #marker;

        impl #marker {
            /// The value now, as one write left it. Acquire: all writes that the publisher
            /// made before this value are visible after the call.
            #[inline(always)]
            #[must_use]
            #visibility fn get(self) -> #ty {
                ::vdsokit_rt::__if_image! {
                    {
                        #[allow(unsafe_code, reason = "the address is the linker's")]
                        {
                            let address = ::vdsokit_rt::__address!(#symbol);
                            // SAFETY: `vdso build` lays out this very declaration, and
                            // defines the symbol as the variable's address.
                            unsafe { #load }
                        }
                    }
                    { #initial }
                }
            }
        }
    }
}

/// A value of zeros.
fn zeros(ty: &Type) -> TokenStream {
    match scalar_name(ty) {
        Some(_) => quote!(<#ty as ::vdsokit_rt::vvar::scalar::Scalar>::from_bits(0)),
        None => quote! {
            <#ty as ::vdsokit_rt::vvar::value::Value>::load(
                ::vdsokit_rt::vvar::latch::Copy::EMPTY,
            )
        },
    }
}

/// The initial value as a Rust expression, for builds that are no image.
fn initial(variable: &Variable) -> TokenStream {
    let zeros = zeros(&variable.ty);
    match &variable.init {
        None => zeros,
        Some(Expr::Struct(init)) => {
            let fields = init.fields.iter().map(|field| {
                let (member, init) = (&field.member, converted(&field.expr));
                quote!(value.#member = #init;)
            });
            quote!({
                let mut value = #zeros;
                #(#fields)*
                value
            })
        }
        Some(init) => converted(init),
    }
}

/// An initial value as a Rust expression: a string becomes a `Text`.
fn converted(init: &Expr) -> TokenStream {
    match init {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => quote!(::vdsokit_rt::vvar::value::Text::new(#text).unwrap_or_default()),
        init => quote!(#init),
    }
}

/// The name of a static in the declaration: in lower case, as in C.
fn declared_name(name: &Ident) -> String {
    name.unraw().to_string().to_lowercase()
}

fn declaration(variable: &Variable, records: &[Record]) -> Result<Lines> {
    let name = declared_name(&variable.name);
    let vvar = attributes::vvar(&variable.attributes)?;
    let mut text = Lines::table(&format!("var.{name}"));
    text.string("doc", &attributes::doc(&variable.attributes));
    text.string("kernel", &attributes::kernel(&variable.attributes)?);
    text.string(
        "unit",
        &vvar.unit.map(|unit| unit.value()).unwrap_or_default(),
    );
    text.string(
        "version",
        &vvar
            .version
            .map(|version| version.value())
            .unwrap_or_default(),
    );
    let record = match &variable.ty {
        Type::Path(path) => records
            .iter()
            .find(|record| path.path.is_ident(&record.name)),
        _ => None,
    };
    let Some(record) = record else {
        text.string("type", &type_name(&variable.ty)?);
        if let Some(init) = &variable.init {
            text.value("init", &value(init)?);
        }
        return Ok(text);
    };
    let init = match &variable.init {
        None => None,
        Some(Expr::Struct(init)) => Some(init),
        Some(other) => {
            return Err(Error::new_spanned(
                other,
                "write the record's fields: Name { field: value }",
            ));
        }
    };
    for field in &record.fields {
        let name_in_c = field.name.unraw();
        text.next_table(&format!("var.{name}.fields.{name_in_c}"));
        text.string("doc", &field.doc);
        text.string("unit", &field.unit);
        text.string("type", &type_name(&field.ty)?);
        if let Some(init) = init.and_then(|init| field_value(init, &field.name)) {
            text.value("init", &value(init)?);
        }
    }
    Ok(text)
}

fn field_value<'e>(init: &'e ExprStruct, name: &Ident) -> Option<&'e Expr> {
    let named = |member: &Member| matches!(member, Member::Named(member) if member == name);
    let field = init.fields.iter().find(|field| named(&field.member))?;
    Some(&field.expr)
}

/// The type in the notation of a declaration.
fn type_name(ty: &Type) -> Result<String> {
    types::check(ty)?;
    let unknown = || {
        Err(Error::new_spanned(
            ty,
            "a variable is a scalar (bool, i8 to i64, u8 to u64, f32, f64), an array of \
             scalars, a Text<N>, or a struct that is declared in the same vvars!",
        ))
    };
    match ty {
        Type::Array(array) => {
            let (Some(scalar), Some(length)) = (scalar_name(&array.elem), length(&array.len))
            else {
                return unknown();
            };
            Ok(format!("{scalar}[{length}]"))
        }
        Type::Path(path) => {
            if let Some(scalar) = scalar_name(ty) {
                return Ok(scalar);
            }
            let last = path.path.segments.last();
            let Some(PathArguments::AngleBracketed(arguments)) = last
                .filter(|last| last.ident == "Text")
                .map(|last| &last.arguments)
            else {
                return unknown();
            };
            match arguments.args.first() {
                Some(GenericArgument::Const(bytes)) => match length(bytes) {
                    Some(bytes) => Ok(format!("str[{bytes}]")),
                    None => unknown(),
                },
                _ => unknown(),
            }
        }
        _ => unknown(),
    }
}

/// The length, if it is a literal.
fn length(length: &Expr) -> Option<u64> {
    let Expr::Lit(ExprLit {
        lit: Lit::Int(number),
        ..
    }) = length
    else {
        return None;
    };
    number.base10_parse().ok()
}

/// An initial value in TOML's notation.
fn value(init: &Expr) -> Result<String> {
    match init {
        Expr::Lit(ExprLit { lit, .. }) => match lit {
            Lit::Bool(flag) => Ok(flag.value.to_string()),
            Lit::Int(number) => Ok(number.base10_digits().to_owned()),
            Lit::Float(number) => Ok(format!("{:?}", number.base10_parse::<f64>()?)),
            Lit::Str(text) => Ok(quoted(&LitStr::value(text))),
            other => Err(Error::new_spanned(
                other,
                "not an initial value: write a number, a bool or a string",
            )),
        },
        Expr::Unary(minus) if matches!(minus.op, UnOp::Neg(_)) => {
            Ok(format!("-{}", value(&minus.expr)?))
        }
        Expr::Array(array) => {
            let values = array.elems.iter().map(value).collect::<Result<Vec<_>>>()?;
            Ok(format!("[{}]", values.join(", ")))
        }
        other => Err(Error::new_spanned(
            other,
            "an initial value is a literal, or an array or struct of literals",
        )),
    }
}
