//! Real images: taken out of Debian's kernels for other architectures, fetched into the cache
//! when a test first asks for them.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vdsokit_elf::Header;
use vdsokit_elf::constants::ET_DYN;

/// Debian's names: the architecture, and the package that depends on its current kernel.
const KERNELS: [(&str, &str); 6] = [
    ("arm64", "linux-image-cloud-arm64"),
    ("armhf", "linux-image-armmp"),
    ("i386", "linux-image-686-pae"),
    ("mips64el", "linux-image-mips64r2el"),
    ("ppc64el", "linux-image-powerpc64le"),
    ("s390x", "linux-image-s390x"),
];

/// An image and its file, for tools that want one.
pub(crate) struct Real {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// The images of all kernels. Where they can't be had the reason is printed and the list is
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
    let root = cache()?;
    let mut all = vec![];
    for (arch, package) in KERNELS {
        let directory = root.join("vdso").join(arch);
        if !directory.is_dir() {
            // Whoever comes first publishes the whole directory at once.
            let work = tempfile::tempdir_in(&root).map_err(|error| error.to_string())?;
            let images = work.path().join("images");
            fs::create_dir_all(&images).map_err(|error| error.to_string())?;
            extract(&fetch(work.path(), arch, package)?, work.path(), &images)?;
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

fn cache() -> Result<PathBuf, String> {
    let from = |variable: &str, rest: &str| {
        std::env::var_os(variable).map(|value| Path::new(&value).join(rest))
    };
    let root = from("VDSOKIT_CACHE", "")
        .or_else(|| from("XDG_CACHE_HOME", "vdsokit"))
        .or_else(|| from("HOME", ".cache/vdsokit"))
        .ok_or("neither VDSOKIT_CACHE nor HOME is set")?;
    fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    Ok(root)
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{command:?}: {}: {errors}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Downloads the kernel of an architecture with apt, whose state for it lies in `work`: the
/// machine's own architectures stay as they are. Yields the kernel's file.
fn fetch(work: &Path, arch: &str, package: &str) -> Result<PathBuf, String> {
    // The machine's own archive of Debian.
    let format = "$(REPO_URI) $(CODENAME) $(COMPONENT)";
    let targets = run(Command::new("apt-get").args([
        "indextargets",
        "--format",
        format,
        "Created-By: Packages",
    ]))?;
    let (site, suite) = targets
        .lines()
        .find_map(|line| {
            let mut fields = line.split(' ');
            let (site, suite) = (fields.next()?, fields.next()?);
            let is_main = fields.next()? == "main";
            (is_main && site.ends_with("/debian/") && !suite.contains('-')).then_some((site, suite))
        })
        .ok_or("apt knows no archive of Debian's main component")?;
    let source = work.join("sources.list");
    let write = |path: &Path, text: String| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write(&source, format!("deb [arch={arch}] {site} {suite} main\n"))?;
    for directory in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join(directory)).map_err(|error| error.to_string())?;
    }
    write(&work.join("status"), String::new())?;
    let at = |name: &str| work.join(name).display().to_string();
    let options = [
        format!("Dir::State::lists={}", at("lists")),
        format!("Dir::State::status={}", at("status")),
        format!("Dir::Cache={}", at("cache")),
        format!("Dir::Etc::sourcelist={}", at("sources.list")),
        "Dir::Etc::sourceparts=-".into(),
        format!("APT::Architecture={arch}"),
        format!("APT::Architectures::={arch}"),
        "APT::Sandbox::User=root".into(),
        "Acquire::Languages=none".into(),
    ];
    let apt = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        for option in &options {
            command.args(["-o", option]);
        }
        run(command.args(arguments).current_dir(work))
    };
    apt("apt-get", &["-q", "update"])?;
    let depends = apt("apt-cache", &["depends", package])?;
    let kernel = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .ok_or_else(|| format!("{package} depends on no kernel"))?;
    apt("apt-get", &["-q", "download", kernel])?;
    let entries = fs::read_dir(work).map_err(|error| error.to_string())?;
    let deb = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| format!("apt left no {kernel}"))?;
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(&deb)
        .arg(work.join("unpacked")))?;
    let boot = work.join("unpacked/boot");
    let entries = fs::read_dir(&boot).map_err(|error| format!("{}: {error}", boot.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinu"))
        })
        .ok_or_else(|| format!("{kernel} has no kernel in /boot"))
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

/// What a program makes of the kernel from `start` on. Its exit status says nothing: other bytes
/// follow the compressed ones, and not every magic number begins any.
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
