//! What it costs to build images, and to find a function in one, by their size.

use std::hint::black_box;
use std::process::ExitCode;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_elf::Image;
use vdsokit_figures::{Figure, finish, take_turns};

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

/// Builds an image of so many variables from its text.
fn building(variables: usize) -> impl FnMut() {
    let text = text(variables);
    move || {
        let declaration = Declaration::parse("many.toml", &text).expect("it is sound");
        black_box(image(&declaration, Architecture::X86_64).expect("it is small enough"));
    }
}

/// Looks functions up, spread over the whole image.
fn finding(image: &Image<'_>, variables: usize) -> impl FnMut() {
    let names: Vec<_> = (0..10)
        .map(|index| format!("many_v{}", index * variables / 10))
        .collect();
    let mut index = 0;
    move || {
        index = (index + 1) % names.len();
        let found = image.lookup_version(black_box(&names[index]), "MANY_1");
        black_box(found.expect("it is there"));
    }
}

fn main() -> ExitCode {
    let [few, many] = [10, 10_000];
    let [build_few, build_many] = take_turns([&mut building(few), &mut building(many)]);
    let bytes = [few, many].map(built);
    let [small, large] = [&bytes[0], &bytes[1]].map(|bytes| Image::parse(bytes).expect("an image"));
    let [find_few, find_many] = take_turns([&mut finding(&small, few), &mut finding(&large, many)]);
    finish(&[
        Figure::time("build an image of 10 variables", &build_few, None),
        Figure::time("build an image of 10000 variables", &build_many, None),
        Figure::ratio(
            "build, 10000 variables : 10",
            &build_many,
            &build_few,
            1000.0,
        ),
        Figure::time("look up one of 10 functions", &find_few, None),
        Figure::ratio("look up, 10000 functions : 10", &find_many, &find_few, 3.0),
    ])
}
