//! `#[virtual_syscall]`.

use crate::attributes;
use crate::declare::{self, Lines};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{
    Error, FnArg, GenericArgument, ItemFn, LitStr, Pat, PathArguments, PointerMutability, Result,
    ReturnType, Type, TypePath, parse_quote,
};

/// The attribute's arguments.
#[derive(Default)]
struct Arguments {
    version: Option<LitStr>,
    interpose: bool,
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut parsed = Arguments::default();
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("version") {
            parsed.version = Some(meta.value()?.parse()?);
            return Ok(());
        }
        if meta.path.is_ident("interpose") {
            parsed.interpose = true;
            return Ok(());
        }
        Err(meta.error("unknown key: the keys are `version = \"…\"` and `interpose`"))
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    let mut function: ItemFn = syn::parse2(item)?;
    check(&function)?;
    function.sig.abi = Some(parse_quote!(extern "C"));
    let name = function.sig.ident.unraw().to_string();
    let exported = format!("__vdso_{name}");

    let mut text = Lines::table(&format!("function.{name}"));
    text.string("doc", &attributes::doc(&function.attrs));
    if let Some(version) = parsed.version {
        text.string("version", &version.value());
    }
    if parsed.interpose {
        text.value("interpose", "true");
    }
    text.string("c", &prototype(&name, &function));
    let declaration = declare::section(text);
    Ok(quote! {
        ::vdsokit_rt::__if_image! {
            {
                #[allow(unsafe_code, reason = "the name is chosen for the image's users")]
                #[unsafe(export_name = #exported)]
                #function
                #declaration
            }
            {
                #function
            }
        }
    })
}

/// Refuses functions that C can't call.
fn check(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    let refuse =
        |tokens: &dyn ToTokens, what| Err(Error::new_spanned(tokens.to_token_stream(), what));
    if !signature.generics.params.is_empty() {
        return refuse(
            &signature.generics,
            "a virtual system call can't be generic: C calls it",
        );
    }
    if let Some(asyncness) = &signature.asyncness {
        return refuse(
            asyncness,
            "a virtual system call can't be async: C calls it",
        );
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(
            variadic,
            "a virtual system call takes a fixed number of arguments",
        );
    }
    let is_other = |abi: &&syn::Abi| abi.name.as_ref().is_some_and(|name| name.value() != "C");
    if let Some(abi) = signature.abi.as_ref().filter(is_other) {
        return refuse(
            abi,
            "a virtual system call has the C ABI: write `extern \"C\"` or no ABI",
        );
    }
    for argument in &signature.inputs {
        let FnArg::Typed(typed) = argument else {
            return refuse(argument, "a virtual system call can't be a method");
        };
        if !matches!(*typed.pat, Pat::Ident(_) | Pat::Wild(_)) {
            return refuse(
                &typed.pat,
                "an argument of a virtual system call has a plain name, not a pattern",
            );
        }
    }
    Ok(())
}

/// The function's C declaration; empty where a type has none in C.
fn prototype(name: &str, function: &ItemFn) -> String {
    let in_c = || {
        let result = match &function.sig.output {
            ReturnType::Default => "void".to_owned(),
            ReturnType::Type(_, ty) => c_type(ty)?,
        };
        let arguments = function
            .sig
            .inputs
            .iter()
            .filter_map(|argument| match argument {
                FnArg::Typed(typed) => Some(typed),
                FnArg::Receiver(_) => None,
            })
            .map(|typed| {
                let ty = c_type(&typed.ty)?;
                Some(match &*typed.pat {
                    Pat::Ident(name) => declare(&ty, &name.ident.unraw().to_string()),
                    _ => ty,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let arguments = match arguments.as_slice() {
            [] => "void".to_owned(),
            arguments => arguments.join(", "),
        };
        Some(format!("{}({arguments})", declare(&result, name)))
    };
    in_c().unwrap_or_default()
}

fn declare(ty: &str, name: &str) -> String {
    let space = if ty.ends_with('*') { "" } else { " " };
    format!("{ty}{space}{name}")
}

/// The C type of a Rust type; `None` where C has none.
fn c_type(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => named_type(path),
        Type::Tuple(tuple) if tuple.elems.is_empty() => Some("void".into()),
        Type::Never(_) => Some("void".into()),
        Type::Ptr(pointer) => Some(pointer_type(
            &pointer.elem,
            matches!(pointer.mutability, PointerMutability::Mut(_)),
        )),
        Type::Reference(to) => Some(pointer_type(&to.elem, to.mutability.is_some())),
        Type::Paren(inner) => c_type(&inner.elem),
        _ => None,
    }
}

fn pointer_type(to: &Type, mutable: bool) -> String {
    let target = c_type(to).unwrap_or_else(|| "void".into());
    let constant = if mutable { "" } else { "const " };
    declare(&format!("{constant}{target}"), "*")
}

fn named_type(path: &TypePath) -> Option<String> {
    let last = path.path.segments.last()?;
    let name = match last.ident.to_string().as_str() {
        "bool" => "bool",
        "i8" => "int8_t",
        "i16" => "int16_t",
        "i32" => "int32_t",
        "i64" => "int64_t",
        "u8" => "uint8_t",
        "u16" => "uint16_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "f32" | "c_float" => "float",
        "f64" | "c_double" => "double",
        "usize" => "size_t",
        "isize" => "ptrdiff_t",
        "c_void" => "void",
        "c_char" => "char",
        "c_int" => "int",
        "c_uint" => "unsigned int",
        "c_long" => "long",
        "c_ulong" => "unsigned long",
        "c_longlong" => "long long",
        "c_ulonglong" => "unsigned long long",
        // A nullable pointer.
        "Option" => {
            let PathArguments::AngleBracketed(inner) = &last.arguments else {
                return None;
            };
            let GenericArgument::Type(inner @ Type::Reference(_)) = inner.args.first()? else {
                return None;
            };
            return c_type(inner);
        }
        _ => return None,
    };
    Some(name.to_owned())
}
