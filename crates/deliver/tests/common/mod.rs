//! What the tests share: the stand-in images, the program that delivers them, and programs
//! that no one here wrote.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]

pub(crate) mod attaching;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

use vdsokit_elf::Image;

/// The second that the stand-in images say it is: 2038-01-01 00:00:00 UTC.
pub(crate) const SECOND: u64 = 2_145_916_800;
/// The same as programs print it.
pub(crate) const SAID: &str = "2145916800";

/// The stand-in images.
pub(crate) struct Images {
    /// Without links: the kernel's vDSO goes.
    pub(crate) plain: PathBuf,
    /// With links: the kernel's vDSO stays, and is called.
    pub(crate) links: PathBuf,
    /// No clock, one function.
    pub(crate) beast: PathBuf,
}

impl Images {
    /// Those of a clock.
    pub(crate) fn each(&self) -> [&Path; 2] {
        [&self.plain, &self.links]
    }
}

pub(crate) fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let scratch = scratch("images");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image");
        let build = |name: &str, source_name: &str, define: &[&str]| {
            let path = scratch.join(name);
            let script = format!("-Wl,-T,{}", source.join("image.lds").display());
            let map = source.join(source_name).with_extension("map");
            let map = format!("-Wl,--version-script,{}", map.display());
            let flags = "-O2 -fPIC -fno-stack-protector -fcf-protection=none \
                         -fasynchronous-unwind-tables -nostdlib -shared -Wl,--eh-frame-hdr -Wl,--build-id=sha1 \
                         -Wl,--hash-style=both -Wl,-z,noexecstack -Wl,-soname,stand-in.so.1";
            succeed(
                Command::new("cc")
                    .args(flags.split_whitespace())
                    .args(define)
                    .args([script, map])
                    .arg("-o")
                    .arg(&path)
                    .arg(source.join(source_name)),
            );
            strip(&path);
            path
        };
        Images {
            plain: build("plain.so", "image.c", &[]),
            links: build("links.so", "image.c", &["-DLINKS"]),
            beast: build("beast.so", "beast.c", &[]),
        }
    })
}

/// Removes the section headers: in an image the vvar pages are the last bytes of the file.
fn strip(path: &Path) {
    let mut bytes = fs::read(path).expect("the image");
    let image = Image::parse(&bytes).expect("an image");
    let ends = image.segments().filter(|segment| segment.is_load());
    let end = ends.map(|segment| segment.offset + segment.filesz).max();
    bytes.truncate(end.expect("a loaded segment") as usize);
    // e_shoff; then e_shentsize, e_shnum and e_shstrndx (elf(5)).
    bytes[40..48].fill(0);
    bytes[58..64].fill(0);
    fs::write(path, bytes).expect("the image");
}

/// A directory of this test program's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let process = env::current_exe().expect("the path of this test");
    let process = process.file_name().expect("its name").to_owned();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(process)
        .join(name);
    fs::create_dir_all(&path).expect("a scratch directory");
    path
}

/// The example program `run`.
pub(crate) fn runner() -> PathBuf {
    example("run")
}

/// An example program, built as it is now: cargo builds examples for `cargo test`, not for
/// `cargo test --test NAME`.
pub(crate) fn example(name: &str) -> PathBuf {
    static PROFILE: OnceLock<PathBuf> = OnceLock::new();
    let profile = PROFILE.get_or_init(|| {
        let test = env::current_exe().expect("the path of this test");
        let profile = test
            .ancestors()
            .nth(2)
            .expect("the profile's directory")
            .to_owned();
        let name = match profile.file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples", "--profile", name]);
        succeed(cargo.current_dir(env!("CARGO_MANIFEST_DIR")));
        profile
    });
    profile.join("examples").join(name)
}

/// `run IMAGE PROGRAM ARGUMENTS…`, ready to be started.
pub(crate) fn on(image: &Path, command: &[&str]) -> Command {
    let mut runner = Command::new(runner());
    runner.arg(image).args(command);
    runner
}

/// What a command printed; it has to succeed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = finish(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn finish(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Compiles a C program of `tests/programs`.
pub(crate) fn compiled(name: &str, flags: &[&str]) -> PathBuf {
    // Two tests may want the same one.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let path = scratch("programs").join(format!("{name}{}", flags.concat().replace('/', "_")));
    let unfinished = path.with_extension("unfinished");
    succeed(
        Command::new("cc")
            .args(["-O1", "-o"])
            .arg(&unfinished)
            .arg(source.join(name).with_extension("c"))
            .args(flags),
    );
    fs::rename(unfinished, &path).expect("the program in its place");
    path
}

pub(crate) use vdsokit_test_support::{installed, skip, unpacked as debian};

/// A field of `/proc/PID/status`.
pub(crate) fn status_field(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.map(|value| value.trim().to_owned())
}

/// What `run` calls a program: text of an argument vector.
pub(crate) fn text(path: &(impl AsRef<OsStr> + ?Sized)) -> &str {
    path.as_ref().to_str().expect("a path of text")
}
