//! File systems on which nothing can be published, mounted in a namespace of the test's
//! own, and users who may read only.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use vdsokit_publish::place;
use vdsokit_test_support::skip;

const WEATHER: &str = r#"
[vdso]
soname = "libweather.so.1"
version = "WEATHER_1.0"

[var.temperature]
type = "f64"
init = 1.5

[var.history]
type = "f64[4096]"
"#;

/// `$DIR`, mounted by `mount`, in a namespace that ends with the script; then what the
/// rest of the script says, without blanks. `None` when this user may not mount.
fn mounted(directory: &TempDir, mount: &str, script: &str) -> Option<String> {
    let own = if rustix::process::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args([own, "--propagation", "private", "sh", "-c", script])
            .env("VDSO", env!("CARGO_BIN_EXE_vdso"))
            .env("DIR", directory.path())
            .output()
    };
    for part in ["mnt", "lower", "upper", "work"] {
        fs::create_dir_all(directory.path().join(part)).unwrap();
    }
    fs::write(directory.path().join("weather.toml"), WEATHER).unwrap();
    match unshare(&format!("cd $DIR && {mount}")) {
        Ok(output) if output.status.success() => {}
        other => {
            skip(&format!("this user may not mount: {other:?}"));
            return None;
        }
    }
    let script = format!("set -e; cd $DIR; {mount}; {script}");
    let output = unshare(&script).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(said.replace(|c: char| c.is_whitespace() || c == '│', ""))
}

fn place() -> TempDir {
    tempfile::tempdir_in(place::base().unwrap()).unwrap()
}

/// A place that other users read, with the declaration and a copy of the program: the build directory
/// may be closed to them.
fn place_for_all() -> TempDir {
    let directory = place();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_vdso"), directory.path().join("vdso")).unwrap();
    fs::write(directory.path().join("weather.toml"), WEATHER).unwrap();
    directory
}

/// The program in that place, as root or as another user.
fn vdso_in(directory: &TempDir, is_root: bool, arguments: &[&str]) -> Output {
    let program = directory.path().join("vdso");
    let mut command = match is_root {
        true => Command::new(program),
        false => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            command.arg(program);
            command
        }
    };
    let command = command.args(arguments).current_dir(directory.path());
    command.output().unwrap()
}

/// `script` of `shell` in that place, as root and with mounts of its own.
fn with_own_mounts(directory: &TempDir, shell: &str, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-m", "--propagation", "private", shell, "-c", script])
        .current_dir(directory.path())
        .env_remove("XDG_RUNTIME_DIR");
    command
}

const SERVE: &str = "exec \"$VDSO\" serve weather.toml --at mnt/libweather.so.1 </dev/null";

fn refused(mount: &str, why: &str) {
    let directory = place();
    let Some(said) = mounted(&directory, mount, SERVE) else {
        return;
    };
    assert!(said.contains(why), "{said}");
    let works = place::propose().unwrap();
    let works = format!("Publishin{}:itworksthere", works.display());
    assert!(said.contains(&works), "{said}");
}

#[test]
fn overlayfs_is_refused_with_a_place_that_works() {
    refused(
        "mount -t overlay o -o lowerdir=lower,upperdir=upper,workdir=work mnt",
        "itisonoverlayfs:acopy-uppartsreadersfromthepublisher",
    );
}

#[test]
fn noexec_is_refused_with_a_place_that_works() {
    refused(
        "mount -t tmpfs -o mode=755,noexec t mnt",
        "itismountednoexec",
    );
}

#[test]
fn a_read_only_mount_is_refused_with_a_place_that_works() {
    refused(
        "mount -t tmpfs -o mode=755,ro t mnt",
        "itismountedread-only",
    );
}

/// On a full disk an overwrite in a file whose blocks may be shared needs a block that there
/// is not, which would be a SIGBUS in the publisher.
#[test]
fn file_systems_that_copy_on_write_are_refused_with_a_place_that_works() {
    for (make, name) in [
        ("mkfs.btrfs -q -f disk", "itisonbtrfs:"),
        ("mkfs.xfs -q -f disk", "itisonXFSwithreflinks:"),
    ] {
        let mount = format!(
            "truncate -s 320M disk && {make} >&2 && mount -o loop disk mnt && chmod 755 mnt"
        );
        refused(&mount, name);
    }
}

/// A lock needs no block, and a full disk leaves no empty lock file behind.
#[test]
fn a_vdso_on_a_full_file_system_is_published() {
    let mount = "mount -t tmpfs -o mode=755,size=128k t mnt";
    let script = "\"$VDSO\" build weather.toml -o mnt >/dev/null; \
                  cat /dev/zero >mnt/fill 2>/dev/null || true; \
                  echo temperature=3 | \"$VDSO\" serve mnt/libweather.so.1 --stdin >&2; \
                  \"$VDSO\" get mnt/libweather.so.1 temperature >&2 || true; ls -A mnt >&2; exit 1";
    let Some(said) = mounted(&place(), mount, script) else {
        return;
    };
    assert!(said.contains("temperature=3"), "{said}");
    assert!(!said.contains(".lock"), "{said}");
}

#[test]
fn a_full_file_system_is_told_before_anybody_reads() {
    let mount = "mount -t tmpfs -o mode=755,size=16k t mnt";
    let Some(said) = mounted(&place(), mount, SERVE) else {
        return;
    };
    assert!(said.contains("nospaceleftfor"), "{said}");
}

/// A hole in the file would be a SIGBUS in the publisher, later.
#[test]
fn a_hole_that_can_not_be_filled_is_told_before_anybody_reads() {
    // The pages go over the disk's end, and so does nothing else.
    let script = "\"$VDSO\" build weather.toml -o lower >&2; \
                  size=$(stat -c %s lower/libweather.so.1); \
                  head -c 8192 lower/libweather.so.1 >mnt/libweather.so.1; \
                  truncate -s $size mnt/libweather.so.1; \
                  exec \"$VDSO\" serve mnt/libweather.so.1 </dev/null";
    let mount = "mount -t tmpfs -o mode=755,size=32k t mnt";
    let Some(said) = mounted(&place(), mount, script) else {
        return;
    };
    assert!(said.contains("nospaceleftfor"), "{said}");
}

#[test]
fn who_may_only_read_reads_and_does_not_publish() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can become another user");
    }
    let directory = place_for_all();
    let build = || {
        let built = vdso_in(&directory, true, &["build", "weather.toml"]);
        assert!(built.status.success(), "{built:?}");
    };
    let other_user = |arguments: &[&str]| vdso_in(&directory, false, arguments);
    build();
    let read = other_user(&["get", "libweather.so.1", "temperature"]);
    assert_eq!(read.stdout, b"temperature=1.5\n", "{read:?}");
    for arguments in [&["serve"][..], &["set"], &["retire"]] {
        let mut all = vec![arguments[0], "libweather.so.1"];
        if arguments[0] == "set" {
            all.push("temperature=2");
        }
        let refused = other_user(&all);
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("no permission to publish"), "{said}");
    }
    // The file's mode says who may read, also after it was replaced.
    let file = directory.path().join("libweather.so.1");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    for text in [
        WEATHER.to_owned(),
        format!("{WEATHER}\n[var.more]\ntype = \"u8\"\n"),
    ] {
        fs::write(directory.path().join("weather.toml"), text).unwrap();
        build();
        let refused = other_user(&["get", "libweather.so.1"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stdout.is_empty());
    }
    let locks = fs::read_dir(directory.path()).unwrap().flatten();
    let locks = locks.filter(|entry| entry.file_name().to_string_lossy().contains("lock"));
    assert_eq!(locks.count(), 0);
}

#[test]
fn another_users_process_is_neither_changed_nor_traced() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can become another user");
    }
    let directory = place_for_all();
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo; read line"]);
    let mut process = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it has written, it maps nothing more.
    process.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let pid = process.id().to_string();
    let maps = || fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let before = maps();
    let commands: [&[&str]; 3] = [
        &["attach", &pid, "--offset", "1d"],
        &["detach", &pid],
        &["trace", "-p", &pid],
    ];
    let outputs = commands.map(|arguments| vdso_in(&directory, false, arguments));
    let after = maps();
    process.kill().unwrap();
    process.wait().unwrap();
    for output in outputs {
        assert!(!output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no permission"), "{said}");
    }
    assert_eq!(after, before);
}

/// A process that `/proc` hides is not said to have ended.
#[test]
fn a_process_that_proc_hides_is_told_from_one_that_is_gone() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can mount /proc with hidepid");
    }
    let directory = place_for_all();
    let script = "set -e; mount -t proc -o hidepid=2 proc /proc; \
                  try() { setpriv --reuid 65534 --regid 65534 --clear-groups ./vdso \"$@\" || echo $?; }; \
                  try ls $$; try attach $$ --offset 1d; try ls 4194303; try attach 4194303 --offset 1d";
    let output = with_own_mounts(&directory, "sh", script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("hidepid").count(), 2, "{output:?}");
    assert!(said.contains("no process 4194303"), "{said}");
}

/// A name leads to a directory of another user's by a symbolic link that this user changes all the time,
/// between it and one of root's.
#[test]
fn root_finds_nothing_by_a_link_that_another_user_changes() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can become another user");
    }
    let directory = place_for_all();
    let script = "set -e; umask 022
        mount -t tmpfs -o mode=755 run /run; cp vdso /run; sed s/libweather/linux-vdso/ weather.toml >/run/weather.toml
        mount -t tmpfs -o mode=1777 shm /dev/shm; vdso=/run/vdso
        user() { setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; }
        mkdir /dev/shm/other; chown 65534 /dev/shm/other; cd /dev/shm/other
        user $vdso build /run/weather.toml -o . >/dev/null
        $vdso get /dev/shm/other/linux-vdso.so.1 temperature || true
        setpriv --reuid 65534 --regid 65534 --clear-groups perl -e 'my $link = \"/dev/shm/vdso-0\";
            while (1) { for (\"/etc\", \"/dev/shm/other\") { symlink $_, \"$link.new\"; rename \"$link.new\", $link } }' &
        link=$!; trap 'kill $link' EXIT
        until test -L /dev/shm/vdso-0; do :; done
        for i in $(seq 60); do $vdso get clock temperature || true; done
        kill $link; wait $link || true; trap - EXIT; rm /dev/shm/vdso-0*
        mkdir -m 755 /dev/shm/vdso-0; cp linux-vdso.so.1 /dev/shm/vdso-0
        $vdso get clock temperature || true";
    let output = with_own_mounts(&directory, "bash", script)
        .output()
        .unwrap();
    // By its path the file is read once, and by its name once in root's own directory.
    assert_eq!(
        output.stdout, b"temperature=1.5\ntemperature=1.5\n",
        "{output:?}"
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.matches('×').count() >= 60, "{said}");
}

/// In a namespace with a `/run` of its own, which has `/run/vdso` as systemd makes it for a service with
/// `RuntimeDirectory=vdso`, `owner` serves `system` without a path. Returns what `reader` then gets by name.
fn served_in_run_vdso(owner: u32, reader: u32) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give a directory to another user");
        return None;
    }
    let directory = place_for_all();
    let script = "set -e; mount -t tmpfs -o mode=755 run /run; mkdir /run/vdso; chown $OWNER /run/vdso; \
                  mkfifo ready; export RUNTIME_DIRECTORY=/run/vdso; \
                  setpriv --reuid $OWNER --regid $OWNER --clear-groups \
                  ./vdso serve system --json >ready & \
                  server=$!; trap 'kill $server' EXIT; read -r line <ready; \
                  setpriv --reuid $READER --regid $READER --clear-groups ./vdso get system uptime";
    let mut command = with_own_mounts(&directory, "sh", script);
    command
        .env("OWNER", owner.to_string())
        .env("READER", reader.to_string());
    Some(command.output().unwrap())
}

/// The ids of systemd's dynamic users are 61184 to 65519.
#[test]
fn a_services_dynamic_user_publishes_without_a_path_and_is_found_by_name() {
    let Some(found) = served_in_run_vdso(61184, 1001) else {
        return;
    };
    assert!(found.status.success(), "{found:?}");
    assert!(found.stdout.starts_with(b"uptime="), "{found:?}");
}

#[test]
fn root_and_other_users_directories_are_not_trusted_with_a_services_files() {
    for (owner, reader) in [(61184, 0), (1001, 1002)] {
        let Some(found) = served_in_run_vdso(owner, reader) else {
            return;
        };
        assert!(!found.status.success(), "{owner} {reader} {found:?}");
        assert!(found.stdout.is_empty(), "{found:?}");
    }
}
