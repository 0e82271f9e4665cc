//! Programs that guests of 64-bit Arm run beside the workspace's own.

use crate::checks::Need;
use crate::workshop::output_of;
use crate::{Architecture, Error, Workshop, programs};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the programs' sources lie.
const SOURCES: &str = "tools/lab/tests/architectures";

/// A program in C or assembly, linked statically.
macro_rules! program {
    ($name:literal, $source:literal $(, $option:literal)*) => {
        Need::File {
            at: concat!("/bin/", $name),
            make: |workshop| {
                let source = Path::new(SOURCES).join($source);
                let options = ["-static", $($option),*].map(OsStr::new);
                programs::compile_for(workshop, Architecture::Aarch64, $name, &source, options)
            },
        }
    };
}

/// What the rows need.
pub(crate) const NEEDS: &[Need] = &[
    Need::Program {
        package: "vdsokit-cli",
        name: "vdso",
    },
    Need::Test {
        package: "vdsokit-lab",
        name: "architectures",
    },
    program!("waits", "waits.c"),
    program!("guarded", "guarded.S", "-nostdlib"),
    Need::File {
        at: "/bin/profiled",
        make: profiled,
    },
];

/// A static program in Go. Debian's Go looks for the clock of AArch64's vDSO by the hashes of another
/// name, finds nothing, and makes system calls (runtime/vdso_linux_arm64.go). So it gets the right
/// ones.
fn profiled(workshop: &Workshop) -> Result<PathBuf, Error> {
    const FILE: &str = "src/runtime/vdso_linux_arm64.go";
    let directory = workshop.output().join("own/go");
    fs::create_dir_all(&directory).map_err(Error::file(&directory))?;
    let root = output_of(Command::new("go").args(["env", "GOROOT"]))?;
    let original = Path::new(root.trim()).join(FILE);
    let text = fs::read_to_string(&original).map_err(Error::file(&original))?;
    let text = text.replace("0xd35ec75, 0x6e43a318", "0xb0cd725, 0xdfa941fd");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(Error::file(&path))?;
        Ok::<_, Error>(path)
    };
    let replacement = write("vdso_linux_arm64.go", &text)?;
    let overlay = serde_json::json!({ "Replace": { original.display().to_string(): replacement } });
    let overlay = write("overlay.json", &overlay.to_string())?;
    let program = directory.join("profiled");
    let mut go = Command::new("go");
    go.args(["build", "-overlay"])
        .arg(&overlay)
        .arg("-o")
        .arg(&program)
        .arg(workshop.root.join(SOURCES).join("profiled.go"))
        .envs([
            ("GOARCH", "arm64"),
            ("CGO_ENABLED", "0"),
            ("GO111MODULE", "off"),
        ]);
    output_of(&mut go)?;
    Ok(program)
}
