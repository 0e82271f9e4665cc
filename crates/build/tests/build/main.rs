//! Tests of the crate as its users have it: declarations in, images and messages out,
//! real programs around them.

mod aarch64;
mod bindings;
mod builder;
mod c_programs;
mod condition;
mod crates;
mod dump;
mod i386;
mod images;
mod libc;
mod loongarch64;
mod messages;
mod riscv64;
mod support;
mod text;
mod unsound;

mod unwinding;
