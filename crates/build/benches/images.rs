//! What it costs to build images, and to find a function in one, by their size.
#![allow(
    missing_docs,
    reason = "criterion's macros make functions without them"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_elf::Image;

/// A declaration of so many variables, as text.
fn text(variables: usize) -> String {
    let mut text = String::from("[vdso]\nsoname = \"libmany.so\"\nversion = \"MANY_1\"\n");
    for index in 0..variables {
        text +=
            &format!("[var.v{index}]\ntype = \"f64\"\nunit = \"1\"\ndoc = \"Number {index}\"\n");
    }
    text
}

fn built(variables: usize) -> Vec<u8> {
    let declaration = Declaration::parse("many.toml", &text(variables)).expect("it is sound");
    image(&declaration, Architecture::X86_64).expect("it is small enough")
}

fn images(criterion: &mut Criterion) {
    for count in [10, 10_000] {
        let text = text(count);
        criterion.bench_function(&format!("build/{count}"), |bencher| {
            bencher.iter(|| {
                let declaration = Declaration::parse("many.toml", &text).expect("it is sound");
                image(&declaration, Architecture::X86_64).expect("it is small enough")
            });
        });
    }
    for count in [10, 10_000] {
        let bytes = built(count);
        let image = Image::parse(&bytes).expect("it is an image");
        let mut index = 0;
        let names: Vec<_> = (0..10)
            .map(|index| format!("many_v{}", index * count / 10))
            .collect();
        criterion.bench_function(&format!("look up/{count}"), |bencher| {
            bencher.iter(|| {
                index = (index + 1) % names.len();
                image
                    .lookup_version(black_box(&names[index]), "MANY_1")
                    .expect("it is there")
            });
        });
    }
}

criterion_group!(benches, images);
criterion_main!(benches);
