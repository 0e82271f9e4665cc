//! Programs of other architectures, from Debian's cross compilers, under qemu-user.

use super::probe::{By, Probe, live, source};
use super::{built, compile, declaration};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use vdsokit_build::Architecture;
use vdsokit_lab::debian;

/// How programs of an architecture are made and run.
pub(crate) struct Emulated {
    pub(crate) architecture: Architecture,
    pub(crate) compiler: &'static str,
    pub(crate) emulator: &'static str,
    /// Where Debian's cross libraries lie.
    pub(crate) root: &'static str,
    /// Debian's packages with the compiler, its C library and the emulator.
    pub(crate) packages: [&'static str; 3],
}

impl Emulated {
    /// Gets compiler and emulator where they are missing.
    pub(crate) fn prepare(&self) {
        let there = |program: &str| {
            let mut command = Command::new(program);
            command.arg("--version").stdout(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock();
        if !there(self.compiler) || !there(self.emulator) {
            let what = format!("a compiler and emulator for {}", self.architecture.name());
            debian::install(&what, &self.packages).unwrap();
        }
    }

    /// `program` under emulation.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut emulator = Command::new(self.emulator);
        emulator.args(["-L", self.root]).arg(program);
        emulator
    }

    /// Leads every type through its life, seen by a program that finds the functions in that way.
    pub(crate) fn every_type(&self, by: By, library: &str) {
        self.prepare();
        let declaration = declaration("every-type.toml");
        let (directory, image) = built(&declaration, self.architecture);
        let source = source(&declaration, by);
        let flags = ["-Wl,-rpath,$ORIGIN", library];
        let program = compile(self.compiler, directory.path(), &source, &flags);
        live(&declaration, &image, Probe::start(self.command(&program)));
    }
}
