//! Declarations as TOML in a section of the object file, from which `vdso build` reads
//! them. So declarations in files and in Rust have one parser and one layout.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// TOML under construction.
pub(crate) struct Lines(String);

impl Lines {
    /// Begins with `[NAME]`.
    pub(crate) fn table(name: &str) -> Self {
        let mut lines = Self(String::new());
        lines.next_table(name);
        lines
    }

    /// `[NAME]`.
    pub(crate) fn next_table(&mut self, name: &str) {
        self.0 += &format!("[{name}]\n");
    }

    /// `key = value`, a value in TOML's own notation.
    pub(crate) fn value(&mut self, key: &str, value: &str) {
        self.0 += &format!("{key} = {value}\n");
    }

    /// `key = "text"`, unless it is empty.
    pub(crate) fn string(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.value(key, &quoted(text));
        }
    }

    /// Appends tables.
    pub(crate) fn append(&mut self, other: &Self) {
        self.0 += &other.0;
    }
}

/// A TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control.is_control() => {
                quoted += &format!("\\u{:04x}", u32::from(control));
            }
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// An item that puts the text into the section.
pub(crate) fn section(text: Lines) -> TokenStream {
    let length = text.0.len();
    let bytes = Literal::byte_string(text.0.as_bytes());
    quote! {
        const _: () = {
            #[allow(unsafe_code, reason = "only `vdso build` reads this section")]
            #[used]
            #[unsafe(link_section = ".vdsokit.declaration")]
            static DECLARATION: [u8; #length] = *#bytes;
        };
    }
}
