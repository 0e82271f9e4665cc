//! Real images, extracted from Debian's kernels for other architectures, which the first test that
//! needs them downloads into the cache.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vdsokit_elf::Header;
use vdsokit_elf::constants::ET_DYN;
use vdsokit_lab::Workshop;
use vdsokit_lab::debian::{self, Archive};

/// Debian's names: the architecture, and the package that depends on its current kernel.
const KERNELS: [(&str, &str); 6] = [
    ("arm64", "linux-image-cloud-arm64"),
    ("armhf", "linux-image-armmp"),
    ("i386", "linux-image-686-pae"),
    ("mips64el", "linux-image-mips64r2el"),
    ("ppc64el", "linux-image-powerpc64le"),
    ("s390x", "linux-image-s390x"),
];

/// An image and its file, for tools that need a file.
pub(crate) struct Real {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// The images of all kernels. If they can't be downloaded, the reason is printed and the list is
/// empty; under CI that fails the test.
pub(crate) fn images() -> Vec<Real> {
    match fetch_all() {
        Ok(images) => images,
        Err(reason) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: no kernels of other architectures: {reason}");
            vec![]
        }
    }
}

fn fetch_all() -> Result<Vec<Real>, String> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workshop = Workshop::new(checkout).map_err(|error| error.to_string())?;
    let root = &workshop.cache;
    fs::create_dir_all(root).map_err(|error| error.to_string())?;
    let mut all = vec![];
    for (arch, package) in KERNELS {
        let directory = root.join("vdso").join(arch);
        if !directory.is_dir() {
            // The first process renames its whole directory into place.
            let work = tempfile::tempdir_in(root).map_err(|error| error.to_string())?;
            let images = work.path().join("images");
            fs::create_dir_all(&images).map_err(|error| error.to_string())?;
            let archive = Archive {
                architecture: arch,
                // Updates are not there for each of these architectures.
                release: Some("bookworm"),
            };
            let kernel = debian::kernel_behind(&workshop, archive, package, work.path());
            let kernel = kernel.map_err(|error| error.to_string())?;
            extract(&kernel, work.path(), &images)?;
            fs::create_dir_all(root.join("vdso")).map_err(|error| error.to_string())?;
            if let Err(error) = fs::rename(&images, &directory)
                && !directory.is_dir()
            {
                return Err(format!("{}: {error}", directory.display()));
            }
        }
        let entries = fs::read_dir(&directory).map_err(|error| error.to_string())?;
        for entry in entries {
            let path = entry.map_err(|error| error.to_string())?.path();
            let bytes = fs::read(&path).map_err(|error| error.to_string())?;
            all.push(Real { path, bytes });
        }
    }
    Ok(all)
}

/// Writes the images inside a kernel, which may be compressed, to `directory`.
fn extract(kernel: &Path, work: &Path, directory: &Path) -> Result<(), String> {
    let bytes = fs::read(kernel).map_err(|error| error.to_string())?;
    let mut found = images_in(&bytes);
    for (magic, program) in [(&b"\x1f\x8b\x08"[..], "gzip"), (b"\xfd7zXZ\0", "xz")] {
        let starts = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(magic));
        for start in starts.take(40) {
            if !found.is_empty() {
                break;
            }
            found = images_in(&decompress(kernel, start as u64, program, work)?);
        }
    }
    if found.is_empty() {
        return Err(format!("no image found in {}", kernel.display()));
    }
    for (index, image) in found.iter().enumerate() {
        fs::write(directory.join(format!("{index}.so")), image).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The output of a decompressor for the kernel's bytes from `start` on. Its exit status is ignored:
/// other bytes follow the compressed ones, and not every magic number starts compressed bytes.
fn decompress(kernel: &Path, start: u64, program: &str, work: &Path) -> Result<Vec<u8>, String> {
    let result = work.join("decompressed");
    let streams = || -> std::io::Result<_> {
        let mut input = File::open(kernel)?;
        input.seek(SeekFrom::Start(start))?;
        Ok((input, File::create(&result)?))
    };
    let (input, output) = streams().map_err(|error| error.to_string())?;
    Command::new(program)
        .arg("-dc")
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    fs::read(&result).map_err(|error| error.to_string())
}

/// The ELF shared objects of less than 1 MiB that lie in `bytes`, up to the end of their section
/// headers.
fn images_in(bytes: &[u8]) -> Vec<Vec<u8>> {
    (0..bytes.len())
        .step_by(8)
        .filter_map(|at| {
            let header = Header::read(&bytes[at..]).ok()?;
            let sections = u64::from(header.shnum) * u64::from(header.shentsize);
            let length = usize::try_from(header.shoff.checked_add(sections)?).ok()?;
            let is_image = header.kind == ET_DYN && length < 1 << 20;
            is_image
                .then(|| bytes.get(at..at.checked_add(length)?))
                .flatten()
                .map(<[u8]>::to_vec)
        })
        .collect()
}
