//! `cargo xtask dist`: a Debian package, a tarball of the same files, and their checksums.
//!
//! The package is put together from `contrib/debian` with dpkg-deb: the files come from cargo, and what
//! debhelper would add for services is a dozen lines. All times in it are that of the last commit, so the
//! same source and compiler give the same bytes.

use crate::fresh::Temporary;
use crate::steps::{End, Outcome, check, root};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of all crates.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The shared library's name in programs that link to it, as `crates/capi/build.rs` has it.
const SONAME: &str = "libvdsokit.so.0";

/// The units of `contrib/systemd`, and where systemd looks for each kind.
const UNITS: [(&str, &str); 6] = [
    ("run-vdso.mount", "lib/systemd/system/run-vdso.mount"),
    (
        "vdso-clock.service",
        "lib/systemd/system/vdso-clock.service",
    ),
    (
        "vdso-system.service",
        "lib/systemd/system/vdso-system.service",
    ),
    (
        "vdso-feed@.service",
        "lib/systemd/system/vdso-feed@.service",
    ),
    ("vdsokit.sysusers", "usr/lib/sysusers.d/vdsokit.conf"),
    ("vdsokit.tmpfiles", "usr/lib/tmpfiles.d/vdsokit.conf"),
];

/// A shell, and the file that its completions are in.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/vdso"),
    ("zsh", "usr/share/zsh/vendor-completions/_vdso"),
    ("fish", "usr/share/fish/vendor_completions.d/vdso.fish"),
];

/// What was made.
pub(crate) struct Made {
    /// The Debian package.
    pub(crate) package: PathBuf,
    /// The same files.
    pub(crate) tarball: PathBuf,
}

/// Makes all of it in `target/dist`, from a build with this profile.
pub(crate) fn run(profile: &str) -> Result<Made, String> {
    let root = root();
    build(profile)?;
    let built = root.join("target").join(match profile {
        "dev" => "debug",
        profile => profile,
    });
    let dist = root.join("target/dist-files");
    let tree = dist.join("tree");
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(|error| format!("{}: {error}", dist.display()))?;
    }
    let time = output(Command::new("git").args(["log", "-1", "--format=%ct"]))?;
    install(&tree, &built)?;
    let package = package(&dist, &tree, time.trim())?;
    let tarball = tarball(&dist, &tree, time.trim())?;
    let names = [&package, &tarball].map(|file| file.file_name().unwrap_or_default());
    let sums = output(Command::new("sha256sum").args(names).current_dir(&dist))?;
    write(&dist.join("SHA256SUMS"), &sums, 0o644)?;
    print!("{sums}");
    Ok(Made { package, tarball })
}

fn build(profile: &str) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--locked", "--profile", profile])
        .args(["--package", "vdsokit-cli", "--package", "vdsokit-capi"])
        .current_dir(root());
    check(&mut command).map(drop)
}

/// Puts every file into the tree.
fn install(tree: &Path, built: &Path) -> Result<(), String> {
    let root = root();
    let libraries = format!("usr/lib/{}", architecture()?.1);
    let program = tree.join("usr/bin/vdso");
    copy(&built.join("vdso"), &program, 0o755)?;
    let file = format!("libvdsokit.so.{VERSION}");
    let library = tree.join(&libraries).join(&file);
    copy(&built.join("libvdsokit.so"), &library, 0o644)?;
    for file in [&program, &library] {
        check(
            Command::new("strip")
                .args(["--strip-unneeded", "--remove-section=.comment"])
                .arg(file),
        )?;
    }
    for (name, to) in [(SONAME, file.as_str()), ("libvdsokit.so", SONAME)] {
        symlink(to, tree.join(&libraries).join(name)).map_err(|error| error.to_string())?;
    }
    for (header, name) in [
        ("crates/capi/include/vdsokit.h", "vdsokit.h"),
        ("crates/clock-image/include/vdso_clock.h", "vdso_clock.h"),
        ("crates/current/include/vdso_current.h", "vdso_current.h"),
    ] {
        copy(
            &root.join(header),
            &tree.join("usr/include").join(name),
            0o644,
        )?;
    }
    let pc = read(&root.join("crates/capi/vdsokit.pc.in"))?
        .replace("@version@", VERSION)
        .replace("@includedir@", "/usr/include")
        .replace("@libdir@", &format!("/{libraries}"));
    write(
        &tree.join(&libraries).join("pkgconfig/vdsokit.pc"),
        &pc,
        0o644,
    )?;
    for (file, to) in UNITS {
        copy(
            &root.join("contrib/systemd").join(file),
            &tree.join(to),
            0o644,
        )?;
    }
    for (shell, to) in SHELLS {
        let text = output(Command::new(&program).args(["completions", shell]))?;
        write(&tree.join(to), &text, 0o644)?;
    }
    let manual = tree.join("usr/share/man/man1");
    check(
        Command::new(&program)
            .args(["man", "--output"])
            .arg(&manual)
            .stdout(Stdio::null()),
    )?;
    let pages = fs::read_dir(&manual).map_err(|error| error.to_string())?;
    for page in pages {
        let page = page.map_err(|error| error.to_string())?.path();
        check(Command::new("gzip").args(["-9n"]).arg(page))?;
    }
    documents(&tree.join("usr/share/doc/vdsokit"))
}

fn documents(directory: &Path) -> Result<(), String> {
    let root = root();
    let licence = read(&root.join("LICENSE"))?;
    let paragraphs: Vec<String> = licence
        .lines()
        .map(|line| match line.trim_end() {
            "" => " .".to_owned(),
            line => format!(" {line}"),
        })
        .collect();
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Source: https://github.com/vdsokit/vdsokit\n\n\
         Files: *\nCopyright: 2026 The vdsokit authors\nLicense: MIT\n{}\n",
        paragraphs.join("\n")
    );
    write(&directory.join("copyright"), &copyright, 0o644)?;
    let date = output(Command::new("git").args(["log", "-1", "--format=%cD"]))?;
    let changes = format!(
        "vdsokit ({VERSION}) unstable; urgency=medium\n\n  * CHANGELOG.md.gz lists what users see.\n\n \
         -- The vdsokit authors <vdsokit@users.noreply.github.com>  {date}"
    );
    let changelog = directory.join("changelog");
    write(&changelog, changes, 0o644)?;
    let list = directory.join("CHANGELOG.md");
    copy(&root.join("CHANGELOG.md"), &list, 0o644)?;
    check(Command::new("gzip").arg("-9n").args([changelog, list])).map(drop)
}

/// Debian's name of this architecture, and the GNU triplet.
fn architecture() -> Result<(&'static str, &'static str), String> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(("amd64", "x86_64-linux-gnu")),
        "aarch64" => Ok(("arm64", "aarch64-linux-gnu")),
        other => Err(format!("there is no package for {other}")),
    }
}

fn package(dist: &Path, tree: &Path, time: &str) -> Result<PathBuf, String> {
    let (architecture, triplet) = architecture()?;
    let contrib = root().join("contrib/debian");
    let all = dist.join("package");
    check(Command::new("cp").args(["--archive"]).arg(tree).arg(&all))?;
    let size = output(
        Command::new("du")
            .args(["--summarize", "--apparent-size", "--block-size=1K"])
            .arg(&all),
    )?;
    let library = all.join(format!("usr/lib/{triplet}/libvdsokit.so.{VERSION}"));
    let control = read(&contrib.join("control"))?
        .replace("@version@", VERSION)
        .replace("@architecture@", architecture)
        .replace("@libc@", &newest_glibc(&library)?)
        .replace("@size@", size.split_whitespace().next().unwrap_or("0"));
    let debian = all.join("DEBIAN");
    write(&debian.join("control"), &control, 0o644)?;
    write(&debian.join("shlibs"), "libvdsokit 0 vdsokit\n", 0o644)?;
    write(
        &debian.join("triggers"),
        "activate-noawait ldconfig\n",
        0o644,
    )?;
    for script in ["postinst", "prerm", "postrm"] {
        copy(&contrib.join(script), &debian.join(script), 0o755)?;
    }
    let overrides = all.join("usr/share/lintian/overrides/vdsokit");
    copy(&contrib.join("lintian-overrides"), &overrides, 0o644)?;
    let sums = "find usr lib -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums";
    check(Command::new("sh").args(["-c", sums]).current_dir(&all))?;
    fs::set_permissions(debian.join("md5sums"), fs::Permissions::from_mode(0o644))
        .map_err(|error| error.to_string())?;
    let file = dist.join(format!("vdsokit_{VERSION}_{architecture}.deb"));
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--root-owner-group", "--build"])
        .args([&all, &file])
        .env("SOURCE_DATE_EPOCH", time)
        .stdout(Stdio::null());
    check(&mut command)?;
    Ok(file)
}

/// The newest version of glibc whose symbols the library needs.
fn newest_glibc(library: &Path) -> Result<String, String> {
    let symbols = output(Command::new("objdump").arg("-T").arg(library))?;
    let number = |version: &str| -> Option<(u32, u32)> {
        let (major, minor) = version.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let versions = symbols.split("GLIBC_").skip(1);
    let newest = versions
        .filter_map(|rest| {
            number(
                rest.split(|c: char| c != '.' && !c.is_ascii_digit())
                    .next()?,
            )
        })
        .max();
    newest
        .map(|(major, minor)| format!("{major}.{minor}"))
        .ok_or_else(|| format!("{}: it needs no glibc", library.display()))
}

fn tarball(dist: &Path, tree: &Path, time: &str) -> Result<PathBuf, String> {
    let name = format!("vdsokit-{VERSION}-{}-linux", std::env::consts::ARCH);
    let file = dist.join(format!("{name}.tar.gz"));
    for page in ["README.md", "LICENSE", "CHANGELOG.md"] {
        copy(&root().join(page), &tree.join(page), 0o644)?;
    }
    let mut command = Command::new("tar");
    command
        .args([
            "--create",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .arg(format!("--mtime=@{time}"))
        .arg(format!("--transform=flags=r;s,^\\./,{name}/,"))
        .args(["--use-compress-program", "gzip -9n", "--file"])
        .arg(&file)
        .arg("--directory")
        .arg(tree)
        .arg(".");
    check(&mut command)?;
    Ok(file)
}

/// What the test in a fresh root does, after `$1`, the package, was copied to `/`.
const INSIDE: &str = r#"
set -eu
apt-get install --yes --no-install-recommends /vdsokit.deb >/dev/null
vdso --version
mkdir -p /run/vdso
mount -t tmpfs -o mode=755 tmpfs /run/vdso
vdso serve system --at /run/vdso/libsystem.so.1 >/live &
until grep -q live /live; do sleep 0.1; done
vdso get system >/values
grep -q = /values
vdso status system
printf '#include <vdsokit.h>\nint main(void) { return 0; }\n' >/t.c
kill $!
wait $!
umount /run/vdso
dpkg --verify vdsokit
files=$(dpkg --listfiles vdsokit)
apt-get purge --yes vdsokit >/dev/null
for file in $files; do
    if [ -e "$file" ] && [ ! -d "$file" ]; then
        echo "$file is left" >&2
        exit 1
    fi
done
"#;

/// The step of `cargo xtask test`: lintian has no complaint; with `--all` the package is also installed,
/// used and purged in a root that debootstrap makes.
pub(crate) fn step() -> Outcome {
    if !crate::steps::all() {
        return Ok(End::Skipped(
            "it builds with link-time optimisation: `cargo xtask test --all dist` runs it".into(),
        ));
    }
    let made = run("dist")?;
    check(
        Command::new("lintian")
            .args(["--fail-on", "error,warning", "--allow-root"])
            .arg(&made.package),
    )?;
    for (unit, _) in UNITS.iter().filter(|(unit, _)| unit.ends_with(".service")) {
        // Exposure in tenths: "OK" ends at 5.0.
        check(
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", "--threshold=25", "--no-pager"])
                .arg(root().join("contrib/systemd").join(unit))
                .stdout(Stdio::null()),
        )?;
    }
    for file in [&made.package, &made.tarball] {
        println!("    {}", file.display());
    }
    in_a_fresh_root(&made.package)
}

fn in_a_fresh_root(package: &Path) -> Outcome {
    let temporary = Temporary::new(root().join("target/dist-files/root"))?;
    let fresh = temporary.path();
    crate::fresh::debootstrap(fresh)?;
    copy(package, &fresh.join("vdsokit.deb"), 0o644)?;
    fs::create_dir_all(fresh.join("opt/rustup")).map_err(|error| error.to_string())?;
    // It needs no toolchain; an empty directory takes its place.
    let empty = fresh.join("opt/rustup");
    let mut command = crate::fresh::inside(fresh, &empty);
    let result = check(command.args(["sh", "-c", INSIDE]));
    temporary.remove()?;
    result
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let bytes = fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
    write(to, bytes, mode)
}

fn write(file: &Path, contents: impl AsRef<[u8]>, mode: u32) -> Result<(), String> {
    let written = || -> std::io::Result<()> {
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, contents)?;
        fs::set_permissions(file, fs::Permissions::from_mode(mode))
    };
    written().map_err(|error| format!("{}: {error}", file.display()))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => String::from_utf8(output.stdout).map_err(|error| error.to_string()),
        false => Err(format!("{command:?}: {}", output.status)),
    }
}
