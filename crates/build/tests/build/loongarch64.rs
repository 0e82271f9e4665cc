//! The same for LoongArch, by a program under qemu-user that calls the functions of the image's file.

use crate::crates::everything;
use crate::support::probe::{Reader, live};
use crate::support::{built, declaration, shared};
use std::env;
use std::path::Path;
use std::process::Command;
use vdsokit_build::{Architecture, Declaration, write_file};
use vdsokit_elf::Image;
use vdsokit_test_support::compiles_for;
use vdsokit_test_support::loongarch64::{Program, Returned, SHARED};
use vdsokit_vvar::header::State;
use vdsokit_vvar::scalar::Scalar;

/// Bytes that a function can write to, all [`FILL`] before the call: more than a value has.
const BUFFER: usize = 0x12000;
const FILL: u8 = 0xee;

/// A program that has the image mapped.
pub(crate) struct Caller {
    program: Program,
    image: Vec<u8>,
    base: u64,
}

impl Caller {
    pub(crate) fn start(image: &Path) -> Self {
        let mut program = Program::start();
        let bytes = std::fs::read(image).unwrap();
        Self {
            base: program.map(image, 0, bytes.len()),
            program,
            image: bytes,
        }
    }

    /// Calls a function of the image by its name, with a pointer to [`BUFFER`] bytes of the shared memory.
    pub(crate) fn call(&mut self, name: &str) -> Returned {
        self.call_with(name, &[SHARED])
    }

    fn call_with(&mut self, name: &str, arguments: &[u64]) -> Returned {
        let image = Image::parse(&self.image).unwrap();
        let function = image.symbols().find(|symbol| symbol.name() == name);
        // One mapping of the file from its start has every segment in its place.
        let mut loaded = image.segments().filter(|one| one.is_load());
        let first = loaded.next().unwrap();
        assert_eq!(first.offset, 0);
        assert!(loaded.all(|one| one.vaddr - first.vaddr == one.offset));
        let offset = function.unwrap().value - first.vaddr;
        self.program.write(0, &[FILL; BUFFER]);
        self.program.call(self.base + offset, arguments)
    }

    /// Ends the program, which has to succeed.
    pub(crate) fn end(self) {
        self.program.end();
    }
}

/// The reader of [`declaration`]'s variables.
struct Variables<'d> {
    declaration: &'d Declaration,
    caller: Caller,
}

impl Reader for Variables<'_> {
    fn expect(&mut self, values: &[(String, bool, Vec<u8>)], state: u32, updated: u64) {
        let prefix = self.declaration.prefix();
        for (name, latched, value) in values {
            let returned = self.caller.call(&format!("{prefix}{name}"));
            let buffer = self.caller.program.read::<BUFFER>(0);
            let size = value.len();
            let written = if *latched {
                // The ABI extends also numbers without a sign by their bit 31.
                assert_eq!(returned.integer, state as i32 as u64, "{name}");
                assert_eq!(&buffer[..size], value, "{name}");
                size
            } else {
                let result = match name.as_str() {
                    "an_f32" | "an_f64" => returned.float,
                    _ => returned.integer,
                };
                assert_eq!(&result.to_le_bytes()[..size], value, "{name}");
                0
            };
            // No byte behind the value is written.
            let behind = &buffer[written..];
            assert!(behind.iter().all(|byte| *byte == FILL), "{name}");
        }
        let header = |caller: &mut Caller, name| caller.call(&format!("{prefix}{name}")).integer;
        assert_eq!(header(&mut self.caller, "state") as u32, state);
        assert_eq!(header(&mut self.caller, "updated"), updated);
    }

    fn end(self) {
        self.caller.end();
    }
}

#[test]
fn called_by_a_program_that_maps_the_image() {
    let declaration = declaration("every-type.toml");
    let (_directory, image) = built(&declaration, Architecture::Loongarch64);
    let reader = Variables {
        declaration: &declaration,
        caller: Caller::start(&image),
    };
    live(&declaration, &image, reader);
}

/// A crate's functions, which rustc compiles.
#[test]
fn a_crate_with_everything() {
    // Variables of this process's own environment can't be set beside other threads: the test runs itself.
    const AGAIN: &str = "VDSOKIT_TEST_COMPILES_FOR_LOONGARCH";
    if env::var_os(AGAIN).is_none() {
        if let Some(environment) = compiles_for("loongarch64-unknown-linux-gnu") {
            let mut command = Command::new(env::current_exe().unwrap());
            command
                .args(["--exact", "loongarch64::a_crate_with_everything"])
                .env(AGAIN, "1")
                .envs(environment.iter().copied());
            assert!(command.status().unwrap().success());
        }
        return;
    }
    let outputs = everything(Architecture::Loongarch64);
    let directory = tempfile::tempdir().unwrap();
    let path = outputs.image_path(directory.path());
    write_file(&path, &outputs.image).unwrap();
    let mut caller = Caller::start(&path);
    assert_eq!(caller.call("temperature").float, (-1.5f64).to_bits());
    let pages = shared::pages(&path);
    u64::store(pages.scalar::<u64>(64).unwrap(), 22.5f64.to_bits());
    assert_eq!(caller.call("temperature").float, 22.5f64.to_bits());
    let sum = caller.call_with("sum", &[10, SHARED]);
    assert_eq!(sum.integer, 9);
    assert_eq!(caller.program.words(0), [3.5f64.to_bits()]);
    assert_eq!(caller.call("name_length").integer, 5);
    let id = caller.program.id();
    assert_eq!(caller.call("process").integer, u64::from(id));
    assert_eq!(caller.call("life").integer, 0);
    u32::store(pages.scalar::<u32>(12).unwrap(), State::Live as u32);
    assert_eq!(caller.call("life").integer, State::Live as u64);
    caller.end();
}
