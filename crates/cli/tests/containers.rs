//! What docs/containers.md says, in mount and PID namespaces with a root of the tests' own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use tempfile::TempDir;
use vdsokit_publish::place;
use vdsokit_test_support::skip;

const DECLARATION: &str =
    "[vdso]\nsoname = \"libflags.so.1\"\nversion = \"FLAGS\"\n[var.limit]\ntype = \"u32\"\n";

/// Makes the mounts of a container whose root is an overlay, and runs the command in it. The
/// arguments are a directory for the overlay, the publisher's directory, and the command.
const INSIDE: &str = r#"
set -eu
scratch=$1 published=$2
shift 2
mount -t tmpfs tmpfs "$scratch"
mkdir -p "$scratch/lower/proc" "$scratch/lower/run/vdso" "$scratch/lower/own" "$scratch/upper" "$scratch/changes" "$scratch/root"
cp "$VDSO" "$scratch/lower/vdso"
cp "$published/flags.toml" "$scratch/lower/flags.toml"
mount -t overlay overlay -o "lowerdir=$scratch/lower,upperdir=$scratch/upper,workdir=$scratch/changes" "$scratch/root"
mount --bind "$published" "$scratch/root/run/vdso"
mount -o remount,bind,ro "$scratch/root/run/vdso"
mount -t tmpfs -o mode=755 tmpfs "$scratch/root/own"
mount -t proc proc "$scratch/root/proc"
exec setpriv --inh-caps=-all --bounding-set=-sys_admin,-sys_ptrace,-dac_override,-dac_read_search,-bpf,-perfmon chroot "$scratch/root" "$@"
"#;

/// A publisher on the host.
struct Host {
    directory: TempDir,
    publisher: Child,
    input: Option<ChildStdin>,
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.publisher.kill();
        let _ = self.publisher.wait();
    }
}

fn vdso() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vdso"))
}

impl Host {
    /// `None` where no namespace can be made.
    fn new() -> Option<Self> {
        let mut probe = Command::new("unshare");
        probe.args(["--mount", "--pid", "--fork", "true"]);
        if !probe.status().is_ok_and(|status| status.success()) {
            skip("mount namespaces take root's rights");
            return None;
        }
        let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
        let mut mode = Command::new("chmod");
        assert!(
            mode.arg("755")
                .arg(directory.path())
                .status()
                .unwrap()
                .success()
        );
        let declaration = directory.path().join("flags.toml");
        fs::write(&declaration, DECLARATION).unwrap();
        let mut command = vdso();
        command.arg("serve").arg(&declaration).arg("--stdin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut publisher = command.spawn().unwrap();
        let mut live = String::new();
        BufReader::new(publisher.stdout.take().unwrap())
            .read_line(&mut live)
            .unwrap();
        assert!(live.starts_with("live"), "{live}");
        Some(Self {
            input: publisher.stdin.take(),
            directory,
            publisher,
        })
    }

    fn set(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    /// The command's output in a container without the capabilities that matter here.
    fn container(&self, command: &[&str]) -> Output {
        let work = tempfile::tempdir().unwrap();
        let mut unshare = Command::new("unshare");
        unshare
            .args(["--mount", "--pid", "--fork", "--propagation", "private"])
            .args(["sh", "-c", INSIDE, "sh"])
            .args([work.path(), self.directory.path()])
            .args(command)
            .env("VDSO", PathBuf::from(env!("CARGO_BIN_EXE_vdso")))
            .env("COLUMNS", "80");
        unshare.output().unwrap()
    }
}

#[track_caller]
fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_container_without_capabilities_reads_the_hosts_values() {
    let Some(mut host) = Host::new() else { return };
    host.set("limit=250");
    let file = "/run/vdso/libflags.so.1";
    // The line is applied by another process; nothing says when.
    while printed(&host.container(&["/vdso", "get", file, "limit"])) != "limit=250\n" {}
    let status = printed(&host.container(&["/vdso", "status", file]));
    assert!(status.starts_with("good"), "{status}");
    let metrics = ["/vdso", "export", file, "--textfile", "/own/flags.prom"];
    printed(&host.container(&metrics));
}

#[test]
fn a_container_cannot_write_the_hosts_values() {
    let Some(host) = Host::new() else { return };
    let output = host.container(&["/vdso", "set", "/run/vdso/libflags.so.1", "limit=1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = host.container(&["/vdso", "serve", "/run/vdso/libflags.so.1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn publishing_on_the_containers_root_is_refused_and_on_a_tmpfs_it_is_not() {
    let Some(host) = Host::new() else { return };
    let serve =
        |at: &str| host.container(&["/vdso", "serve", "/flags.toml", "--at", at, "--stdin"]);
    let refused = serve("/libflags.so.1");
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("overlay"), "{errors}");
    let published = printed(&serve("/own/libflags.so.1"));
    assert!(published.contains("retired"), "{published}");
    assert!(Path::new(env!("CARGO_BIN_EXE_vdso")).exists());
}
