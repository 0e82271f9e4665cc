//! Looking a function up in this process's vDSO, beside the crates that do the same.
//!
//! `cargo bench -p vdsokit-bench --bench lookup`
//!
//! What the others can be asked differs: enarx's `vdso` looks up by name without version;
//! `linux-raw-vdso` resolves its four functions at once, by name and version. rustix's look-up is
//! private: `first_call` measures it.
#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]
#![allow(unsafe_code, reason = "linux-raw-vdso takes an address")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use vdsokit_elf::{Image, own};

#[path = "../../crates/elf/tests/common/mod.rs"]
mod common;
#[path = "../../crates/elf/tests/common/exercise.rs"]
mod exercise;

const NAME: &str = "__vdso_clock_gettime";
const VERSION: &str = "LINUX_2.6";

fn lookup(criterion: &mut Criterion) {
    let ours = own::image().expect("this process has a vDSO");
    let enarx = vdso::Vdso::locate().expect("this process has a vDSO");
    let mut group = criterion.benchmark_group("look up one symbol");
    group.bench_function("vdsokit-elf, by version", |bencher| {
        bencher.iter(|| ours.lookup_version(black_box(NAME), black_box(VERSION)));
    });
    group.bench_function("vdsokit-elf, by name", |bencher| {
        bencher.iter(|| ours.lookup(black_box(NAME)));
    });
    group.bench_function("vdso (enarx), by name", |bencher| {
        bencher.iter(|| enarx.lookup(black_box(NAME)).map(std::ptr::from_ref));
    });
    group.finish();

    let mut group = criterion.benchmark_group("find, parse, look up one");
    group.bench_function("vdsokit-elf, by version", |bencher| {
        bencher.iter(|| {
            let image = own::image()?;
            image
                .lookup_version(black_box(NAME), black_box(VERSION))
                .map(|s| image.address_of(&s))
        });
    });
    group.bench_function("vdso (enarx), by name", |bencher| {
        bencher.iter(|| {
            vdso::Vdso::locate()?
                .lookup(black_box(NAME))
                .map(std::ptr::from_ref)
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("find, parse, look up all");
    group.bench_function("vdsokit-elf, five functions", |bencher| {
        bencher.iter(own::find)
    });
    group.bench_function("linux-raw-vdso, four functions", |bencher| {
        bencher.iter(|| {
            // SAFETY: the address is AT_SYSINFO_EHDR's.
            unsafe { linux_raw_vdso::Vdso::from_ptr(own::address()?.cast()) }
        });
    });
    group.finish();
}

fn hostile(criterion: &mut Criterion) {
    let bytes = exercise::mebibyte_of_chain(&common::Recipe::default().build());
    let mut group = criterion.benchmark_group("hostile image of 1 MiB");
    group.bench_function("parse and look up a missing name", |bencher| {
        bencher.iter(|| {
            let image = Image::parse_memory(black_box(&bytes), 0x7fff_0000).expect("an image");
            image.lookup(black_box("missing")).is_some()
        });
    });
    group.finish();
}

criterion_group!(benches, lookup, hostile);
criterion_main!(benches);
