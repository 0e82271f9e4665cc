//! Looking functions up in this process's vDSO, beside the crates that do the same, and what a
//! hostile image costs.
//!
//! `cargo bench -p vdsokit-bench --bench lookup`
//!
//! What the others can be asked differs: enarx's `vdso` looks up by name without version;
//! `linux-raw-vdso` resolves its four functions at once, by name and version. rustix's look-up is
//! private: `first_call` measures it.
#![allow(unsafe_code, reason = "linux-raw-vdso takes an address")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use vdsokit_elf::{Image, own};
use vdsokit_figures::{Figure, finish, take_turns};

#[path = "../../../crates/elf/tests/common/mod.rs"]
mod common;

use common::hostile_images;

const NAME: &str = "__vdso_clock_gettime";
const VERSION: &str = "LINUX_2.6";
const FOUR: [&str; 4] = [NAME, "__vdso_getcpu", "__vdso_gettimeofday", "__vdso_time"];

fn main() -> ExitCode {
    let ours = own::image().expect("this process has a vDSO");
    let enarx = vdso::Vdso::locate().expect("this process has a vDSO");
    let [by_version, by_name, enarx_one] = take_turns([
        &mut || {
            black_box(ours.lookup_version(black_box(NAME), black_box(VERSION)));
        },
        &mut || {
            black_box(ours.lookup(black_box(NAME)));
        },
        &mut || {
            black_box(enarx.lookup(black_box(NAME)).map(std::ptr::from_ref));
        },
    ]);
    let [from_nothing, enarx_from_nothing] = take_turns([
        &mut || {
            let image = own::image().expect("this process has a vDSO");
            let symbol = image.lookup_version(black_box(NAME), black_box(VERSION));
            black_box(symbol.map(|symbol| image.address_of(&symbol)));
        },
        &mut || {
            let vdso = vdso::Vdso::locate().expect("this process has a vDSO");
            black_box(vdso.lookup(black_box(NAME)).map(std::ptr::from_ref));
        },
    ]);
    let [four, raw_four] = take_turns([
        &mut || {
            let image = own::image().expect("this process has a vDSO");
            for name in black_box(FOUR) {
                let symbol = image.lookup_version(name, black_box(VERSION));
                black_box(symbol.map(|symbol| image.address_of(&symbol)));
            }
        },
        &mut || {
            let address = own::address().expect("this process has a vDSO");
            // SAFETY: the address is AT_SYSINFO_EHDR's.
            black_box(unsafe { linux_raw_vdso::Vdso::from_ptr(address.cast()) });
        },
    ]);
    let mut rows = vec![
        Figure::ratio(
            "one by version / enarx's by name",
            &by_version,
            &enarx_one,
            1.0,
        ),
        Figure::ratio("one by name / enarx's", &by_name, &enarx_one, 1.0),
        // Its only way to look one up.
        Figure::ratio(
            "find, parse, one by version / linux-raw-vdso's",
            &from_nothing,
            &raw_four,
            1.0,
        ),
        Figure::ratio(
            "find, parse, four by version / linux-raw-vdso's",
            &four,
            &raw_four,
            None,
        ),
        Figure::ratio(
            "find, parse, one by version / enarx's by name",
            &from_nothing,
            &enarx_from_nothing,
            None,
        ),
    ];
    for (what, bytes) in hostile_images::all() {
        let [cost] = take_turns([&mut || {
            let image = Image::parse(black_box(&bytes)).expect("an image");
            let name = black_box(hostile_images::NAME);
            black_box(image.lookup_version(name, hostile_images::VERSION));
        }]);
        let limit = Duration::from_millis(1);
        rows.push(Figure::time(
            format!("look-up in 1 MiB: {what}"),
            &cost,
            Some(limit),
        ));
    }
    finish(&rows)
}
