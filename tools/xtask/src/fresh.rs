//! The step `fresh`, with `--all` only: the whole test command, from an empty cache, in a root
//! that debootstrap makes, so that nothing works only because it was installed by hand.
//!
//! The root has what README.md requires and nothing else: Debian 12, a C compiler for Rust to
//! link with, and this machine's Rust toolchains, which are mounted read-only. It shares the
//! kernel and the network with this machine. Its mounts and processes are in namespaces of their own,
//! which end with the step, and so does the directory, also when the step is interrupted or killed.
//! Debian's packages come from where this machine's apt has them from.

use crate::steps::{self, End, Outcome, check, root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use vdsokit_lab::Workshop;

/// The release that README.md names.
const RELEASE: &str = "bookworm";

/// What is in the root before the first command: certificates for cargo's downloads, and the
/// linker that Rust needs.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev";

/// Where the root has this machine's certificates, which may have a proxy's beside Debian's.
const CERTIFICATES: &str = "/opt/certificates.crt";

/// Steps to run in the root instead of all, separated by spaces.
const STEPS: &str = "VDSOKIT_FRESH_STEPS";

/// Makes the mounts that the tests expect, and runs the command in the root. The arguments are
/// the root, the toolchains, and the command. The shell stays, as the process 1 that reaps orphans.
const INSIDE: &str = r#"
set -eu
root=$1 toolchains=$2
shift 2
mount --bind "$root" "$root"
mount --bind -o ro "$toolchains" "$root/opt/rustup"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
chroot "$root" "$@"
exit 0
"#;

/// Removes a directory after the end of standard input, which is that of the process that holds the
/// other end, however it ends. Processes that are killed with it may still write for a moment. What is
/// mounted in the directory is left alone.
const REMOVE: &str = r#"
trap '' HUP INT QUIT TERM
read -r _
attempt=1
until rm -rf --one-file-system -- "$1"; do
    [ $attempt -lt 20 ] || exit 1
    attempt=$((attempt + 1))
    sleep 1
done
"#;

/// A directory that does not outlive this process: another process removes it.
pub(crate) struct Temporary {
    path: PathBuf,
    remover: Child,
}

impl Temporary {
    /// Makes an empty directory at `path`.
    pub(crate) fn new(path: PathBuf) -> Result<Self, String> {
        let error = |error| format!("{}: {error}", path.display());
        if path.exists() {
            fs::remove_dir_all(&path).map_err(error)?;
        }
        fs::create_dir_all(&path).map_err(error)?;
        let remover = Command::new("sh")
            .args(["-c", REMOVE, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        Ok(Self { path, remover })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory. If it is dropped instead, its removal is not waited for.
    pub(crate) fn remove(mut self) -> Result<(), String> {
        // `wait` closes the pipe.
        let status = self.remover.wait().map_err(|error| error.to_string())?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("{} could not be removed", self.path.display())),
        }
    }
}

pub(crate) fn step() -> Outcome {
    if !steps::all() {
        return Ok(End::Skipped(
            "it takes hours: `cargo xtask test --all fresh` runs it".into(),
        ));
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(End::Skipped("making a root takes root's rights".into()));
    }
    let workshop = Workshop::new(root()).map_err(|error| error.to_string())?;
    let fresh = Temporary::new(workshop.cache.join("fresh"))?;
    let result = in_a_fresh_root(fresh.path());
    // Gigabytes; what went wrong is in the output.
    fresh.remove()?;
    result
}

/// Makes the directory a root with Debian 12 and what apt has sources for on this machine.
pub(crate) fn debootstrap(fresh: &Path) -> Result<(), String> {
    let sources = sources()?;
    let mirror = sources
        .iter()
        .find(|source| source.suite == RELEASE)
        .ok_or_else(|| format!("apt has no source for {RELEASE}"))?;
    println!("debootstrap {RELEASE}");
    check(
        isolated()
            .args(["debootstrap", "--variant=minbase"])
            .arg(format!("--include={PACKAGES}"))
            .arg(RELEASE)
            .arg(fresh)
            .arg(&mirror.uri)
            .stdout(Stdio::null()),
    )?;
    let lines: String = sources.iter().map(Source::line).collect();
    write(&fresh.join("etc/apt/sources.list"), &lines)?;
    // Installing a package starts no service.
    write(&fresh.join("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n")?;
    check(
        Command::new("chmod")
            .arg("+x")
            .arg(fresh.join("usr/sbin/policy-rc.d")),
    )?;
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        // A machine that has none resolves names in another way.
        let _ = fs::copy(file, fresh.join(file.trim_start_matches('/')));
    }
    Ok(())
}

/// A command that enters the root, with mounts of its own, and runs what is added to it. The second
/// directory is mounted at `/opt/rustup`.
pub(crate) fn inside(fresh: &Path, toolchains: &Path) -> Command {
    let mut command = isolated();
    command
        .args(["sh", "-c", INSIDE, "sh"])
        .args([fresh, toolchains]);
    command
}

/// A command that runs what is added to it with mounts and process ids of its own. All its processes
/// are killed, and its mounts go, when this process ends.
fn isolated() -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--kill-child"])
        .args(["--pid", "--mount-proc", "--propagation", "private", "--"]);
    command
}

fn in_a_fresh_root(fresh: &Path) -> Outcome {
    debootstrap(fresh)?;
    let (cargo, toolchains) = (
        home("CARGO_HOME", ".cargo")?,
        home("RUSTUP_HOME", ".rustup")?,
    );
    for directory in ["opt/rustup", "opt/cargo/bin", "src"] {
        fs::create_dir_all(fresh.join(directory)).map_err(|error| error.to_string())?;
    }
    check(
        Command::new("cp")
            .arg("--archive")
            .arg(cargo.join("bin/."))
            .arg(fresh.join("opt/cargo/bin")),
    )?;
    // A machine may fetch crates from a mirror, or have no such file.
    let _ = fs::copy(
        cargo.join("config.toml"),
        fresh.join("opt/cargo/config.toml"),
    );
    let certificates = std::env::var_os("SSL_CERT_FILE");
    if let Some(file) = &certificates {
        let copy = fresh.join(CERTIFICATES.trim_start_matches('/'));
        fs::copy(file, copy).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    check(
        Command::new("sh")
            .args(["-c", "git archive HEAD | tar --extract --directory \"$0\""])
            .arg(fresh.join("src"))
            .current_dir(root()),
    )?;
    let steps = std::env::var(STEPS).unwrap_or_default();
    let mut command = inside(fresh, &toolchains);
    command
        .args(["env", "--chdir=/src", "cargo", "xtask", "test"])
        .args(steps.split_whitespace())
        .env_clear()
        .envs(certificates.map(|_| ("SSL_CERT_FILE", CERTIFICATES)))
        .envs(std::env::vars().filter(|(name, _)| is_of_the_network(name)))
        .envs([
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("CI", "true"),
            ("CARGO_HOME", "/opt/cargo"),
            ("RUSTUP_HOME", "/opt/rustup"),
            (
                "PATH",
                "/opt/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
        ]);
    check(&mut command)
}

/// One of Debian's own archives that apt uses on this machine.
struct Source {
    uri: String,
    suite: String,
    component: String,
}

impl Source {
    fn line(&self) -> String {
        format!("deb {} {} {}\n", self.uri, self.suite, self.component)
    }
}

/// apt-get(8), `indextargets`: each index that apt downloads, with where it is from.
fn sources() -> Result<Vec<Source>, String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format"])
        .arg("$(REPO_URI) $(RELEASE) $(COMPONENT)")
        .args(["Created-By: Packages", "Origin: Debian"])
        .output()
        .map_err(|error| format!("apt-get: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let source = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Source {
            uri: words.next()?,
            suite: words.next()?,
            component: words.next()?,
        })
    };
    Ok(text.lines().filter_map(source).collect())
}

/// A directory of Rust's tools.
fn home(variable: &str, otherwise: &str) -> Result<PathBuf, String> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(otherwise)))
        .ok_or_else(|| format!("neither {variable} nor HOME is set"))
}

/// Whether a variable says how this machine reaches the network.
fn is_of_the_network(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
