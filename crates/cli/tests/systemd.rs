//! The units in `contrib/systemd` under a real systemd, which boots in namespaces of its own with
//! a copy-on-write view of this machine's root. It can't set the clock, load modules or change
//! kernel settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vdsokit_test_support::skip;

/// Makes the root and starts systemd in it, which runs `check.service` and exits. `$1` is an empty
/// directory, `$2` the program, `$3` the units and `$4` the directory with `check.sh`.
const BOOT: &str = r#"
set -eu
exec >&2
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
program=$2 units=$3 shared=$4
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm dev/pts dev/mqueue
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in null zero full random urandom tty; do
    : >dev/$node
    mount --bind /dev/$node dev/$node
done
# As Debian mounts it: nothing there can be loaded.
mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
cp "$program" usr/bin/vdso
mkdir run/check
mount --bind "$shared" run/check
# None of this machine's units starts.
mount -t tmpfs -o mode=755 tmpfs etc/systemd/system
cp "$units"/*.service "$units"/*.mount "$shared"/*.service etc/systemd/system/
pivot_root . mnt
cd /
umount -l mnt
: >run/check/made
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_boot,-sys_rawio \
    /lib/systemd/systemd --unit=check.service </dev/null >/dev/null 2>&1
"#;

const CHECK_SERVICE: &str = "\
[Unit]
Wants=vdso-clock.service vdso-system.service
After=vdso-clock.service vdso-system.service
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /run/check/check.sh
ExecStopPost=/bin/systemctl --no-block exit
StandardOutput=file:/run/check/output
StandardError=file:/run/check/errors
";

/// A publisher of a user's own, as `docs/operations.md` describes it.
const OWN_SERVICE: &str = "\
[Service]
Type=notify
NotifyAccess=main
User=nobody
RuntimeDirectory=vdso/own
RuntimeDirectoryPreserve=yes
ExecStart=/usr/bin/vdso serve /run/check/own.toml
";

/// As [`OWN_SERVICE`], in a directory that is mounted `noexec`.
const NOEXEC_SERVICE: &str = "\
[Service]
Type=notify
NotifyAccess=main
User=nobody
RuntimeDirectory=own
ExecStart=/usr/bin/vdso serve /run/check/own.toml
StandardError=file:/run/check/noexec
";

const DYNAMIC_SERVICE: &str = "\
[Service]
Type=notify
NotifyAccess=main
DynamicUser=yes
RuntimeDirectory=vdso
ExecStart=/usr/bin/vdso serve system
ExecStopPost=+/bin/chown root:root /run/vdso
";

const OWN_DECLARATION: &str =
    "[vdso]\nsoname = \"libown.so.1\"\nversion = \"OWN_1.0\"\n[var.a]\ntype = \"i32\"\n";

/// Each line of its output is a name and an exit status or value.
const CHECK: &str = r#"
user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
check() { name=$1; shift; "$@" >&2; echo "$name $?"; }
system=/run/vdso/libsystem.so.1
check active systemctl is-active vdso-clock vdso-system run-vdso.mount
check clock vdso status clock --max-age 5s
check system vdso status system
check user user vdso get system uptime
check user-clock user vdso run --clock --require-clock -- true
before=$(stat -c %i $system)
check restart systemctl restart vdso-system
echo "same $([ "$before" = "$(stat -c %i $system)" ] && echo file)"
check stop systemctl stop vdso-system
check stopped vdso status system
main() { systemctl show --property=MainPID --value vdso-clock; }
killed=$(main)
systemctl kill --signal=KILL vdso-clock
while [ "$(main)" = "$killed" ] || ! systemctl --quiet is-active vdso-clock; do sleep 0.1; done
check resumed vdso status clock
check own systemctl start own
check own-read user vdso get /run/vdso/own/libown.so.1 a
check noexec systemctl start noexec
systemctl stop own vdso-clock
rm -rf /run/vdso/*
check dynamic systemctl start dynamic
check dynamic-read user vdso get system uptime
check dynamic-root vdso get system uptime
systemctl stop dynamic
echo "dynamic-owner $(stat -c %u /run/vdso)"
"#;

const WANTED: &str = "\
active 0
clock 0
system 0
user 0
user-clock 0
restart 0
same file
stop 0
stopped 1
resumed 0
own 0
own-read 0
noexec 1
dynamic 0
dynamic-read 0
dynamic-root 1
dynamic-owner 0
";

/// A control group for what systemd starts, so that its own groups are below it.
struct Group(PathBuf);

impl Group {
    fn create() -> Option<Self> {
        // The second is where version 1 is mounted too.
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = roots.into_iter().find(|root| {
            root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists()
        })?;
        let group = root.join(format!("vdsokit-test-{}", std::process::id()));
        fs::create_dir(&group).ok()?;
        Some(Self(group))
    }
}

impl Drop for Group {
    /// A group can be removed when those below it are.
    fn drop(&mut self) {
        fn remove(group: &Path) {
            for below in fs::read_dir(group).into_iter().flatten().flatten() {
                if below.file_type().is_ok_and(|ty| ty.is_dir()) {
                    remove(&below.path());
                }
            }
            let _ = fs::remove_dir(group);
        }
        remove(&self.0);
    }
}

#[test]
fn the_units_start_restart_and_are_found_under_a_real_systemd() {
    if !rustix::process::geteuid().is_root() || !Path::new("/lib/systemd/systemd").exists() {
        skip("booting systemd takes root's rights and Debian's systemd");
        return;
    }
    // README lists this test among those that may be skipped under CI, too.
    let Some(group) = Group::create() else {
        eprintln!("skipped: no control group of version 2 can be made here");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let shared = directory.path().join("check");
    fs::create_dir(&root).unwrap();
    fs::create_dir(&shared).unwrap();
    for (name, text) in [
        ("check.service", CHECK_SERVICE),
        ("own.service", OWN_SERVICE),
        ("noexec.service", NOEXEC_SERVICE),
        ("dynamic.service", DYNAMIC_SERVICE),
        ("check.sh", CHECK),
        ("own.toml", OWN_DECLARATION),
    ] {
        fs::write(shared.join(name), text).unwrap();
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/systemd");
    // The shell enters the group before the namespace makes it the root of all groups.
    let enter = "echo 0 >\"$1/cgroup.procs\" && shift && exec \"$@\"";
    let booted = Command::new("sh")
        .args(["-c", enter, "sh"])
        .arg(&group.0)
        .args([
            "timeout",
            "--kill-after=1",
            "300",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
        ])
        .args([
            "--kill-child",
            "--uts",
            "--ipc",
            "--net",
            "--cgroup",
            "sh",
            "-c",
            BOOT,
            "sh",
        ])
        .args([
            &root,
            Path::new(env!("CARGO_BIN_EXE_vdso")),
            &units,
            &shared,
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let read = |name: &str| fs::read_to_string(shared.join(name)).unwrap_or_default();
    let errors = format!(
        "{}{}",
        String::from_utf8_lossy(&booted.stderr),
        read("errors")
    );
    if !shared.join("made").exists() {
        eprintln!("skipped: no root for systemd can be made here: {errors}");
        return;
    }
    assert_eq!(read("output"), WANTED, "{errors}");
    let noexec = read("noexec");
    assert!(
        noexec.contains("/run/own: nothing can be published here"),
        "{noexec}"
    );
    assert!(noexec.contains("noexec"), "{noexec}");
}
