//! The kernel's list of symbols, and expressions about them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsokit_bpf::expression::{Cast, Expression};
use vdsokit_bpf::kallsyms::Symbols;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let symbols = Symbols::parse(&text);
    for name in symbols.names() {
        assert!(symbols.lists(name) && symbols.address(name).is_ok());
    }
    for line in text.lines() {
        let _ = (Expression::parse(line), Cast::parse(line));
    }
});
