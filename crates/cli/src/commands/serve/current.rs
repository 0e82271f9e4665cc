//! `vdso serve current`: the running task's facts, written by the kernel.

use super::Arguments;
use super::report::Reporter;
use crate::{output, signals};
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use vdsokit_bpf::current::{Audience, Current, retire};
use vdsokit_bpf::{Kernel, privileges};
use vdsokit_build::write_file;
use vdsokit_current::DIRECTORY;
use vdsokit_current_library::{LIBRARY, SONAME};
use vdsokit_publish::place;

/// What the command is given in place of a file.
const CURRENT: &str = "current";

pub(crate) fn is_current(file: &Path) -> bool {
    file == Path::new(CURRENT) && !file.exists()
}

/// Attaches the programs and installs the library; retires the pages at the end, unless it is
/// `--detach`.
pub(super) fn run(arguments: &Arguments, reporter: &Reporter) -> Result<ExitCode> {
    if arguments.stdin {
        return Err(miette!("the kernel writes these pages: no `--stdin`"));
    }
    let audience = audience(arguments)?;
    let stop = signals::stop()?;
    check_bpf_fs(&audience)?;
    let kernel = Kernel::running()?;
    let directory = Path::new(DIRECTORY);
    // The pages of a publisher that was killed: their readers ask the kernel from now on.
    if directory.exists() {
        retire(directory)?;
    }
    let mut current = Current::start(&kernel, &audience)?;
    current.pin(directory)?;
    let library = match install(arguments.at.as_deref()) {
        Ok(library) => library,
        Err(error) => {
            current.retire()?;
            return Err(error);
        }
    };
    if let Some(reason) = current.no_cpu_time() {
        output::warn(format_args!(
            "vdso: CPU times are left to the kernel: {reason}"
        ));
    }
    let readers = match &audience {
        Audience::World => {
            output::warn(
                "vdso: every process on this machine can read now which task runs on which CPU, \
                 when, and for how long",
            );
            "everybody".to_owned()
        }
        Audience::Users(users) => {
            let numbers: Vec<String> = users.iter().map(u32::to_string).collect();
            format!("users {}", numbers.join(", "))
        }
    };
    let name = if arguments.detach { "detached" } else { "live" };
    let details = json!({
        "directory": DIRECTORY,
        "readers": match &audience {
            Audience::World => json!("world"),
            Audience::Users(users) => json!(users),
        },
        "cpu_time": current.no_cpu_time().is_none(),
    });
    let text = format!(", for {readers}, pages in {DIRECTORY}");
    reporter.event(name, &library, details, &text);
    if arguments.detach {
        return Ok(ExitCode::SUCCESS);
    }
    super::notify::notify("READY=1");
    // Retiring needs none.
    privileges::drop_all().into_diagnostic()?;
    // `vdso retire current` ends it too, and leaves no directory.
    stop.set_read_timeout(Some(Duration::from_secs(1)))
        .into_diagnostic()?;
    while (&stop).read(&mut [0]).is_err() && directory.exists() {}
    super::notify::notify("STOPPING=1");
    match current.retire() {
        Err(_) if !directory.exists() => {}
        result => result?,
    }
    reporter.event("retired", &library, json!({}), "");
    Ok(ExitCode::SUCCESS)
}

/// Ends a publication, also one that goes on without a process.
pub(crate) fn end() -> Result<ExitCode> {
    if !Path::new(DIRECTORY).exists() {
        return Err(miette!(
            help = "`vdso serve current` publishes it",
            "the running task is not published"
        ));
    }
    retire(Path::new(DIRECTORY))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the library to the given file, or to the place of this user.
fn install(at: Option<&Path>) -> Result<PathBuf> {
    let made;
    let path = match at {
        Some(at) => at.to_owned(),
        None => {
            made = place::make()?;
            made.path().join(SONAME)
        }
    };
    write_file(&path, LIBRARY)?;
    Ok(path)
}

fn audience(arguments: &Arguments) -> Result<Audience> {
    match (arguments.world, arguments.group.as_slice()) {
        (true, _) => Ok(Audience::World),
        (false, []) => Err(miette!(
            help = "`--group NAME` lets users read about their own tasks; `--world` lets everybody \
                    read about all",
            "who may read the pages?"
        )),
        (false, names) => {
            let read = |path: &str| {
                fs::read_to_string(path)
                    .into_diagnostic()
                    .wrap_err(path.to_owned())
            };
            let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
            let (users, groups) = (users.unwrap_or_default(), groups.unwrap_or_default());
            let mut all = Vec::new();
            for name in names {
                let found = users_of(name, &users, &groups);
                if found.is_empty() {
                    return Err(miette!(
                        help = "--group takes a user's name or number, or the name of a group with \
                                members, as /etc/passwd and /etc/group have them",
                        "no user and no group is called `{}`",
                        output::escaped(name)
                    ));
                }
                all.extend(found);
            }
            all.sort_unstable();
            all.dedup();
            Ok(Audience::Users(all))
        }
    }
}

/// The numbers of the user of this name or number, or of a group's members: passwd(5) and
/// group(5).
fn users_of(name: &str, users: &str, groups: &str) -> Vec<u32> {
    if let Ok(number) = name.parse() {
        return vec![number];
    }
    let lines = |text: &str| -> Vec<Vec<String>> {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect();
        text.lines().map(fields).collect()
    };
    let (users, groups) = (lines(users), lines(groups));
    let number = |user: &str| {
        let line = users.iter().find(|line| line[0] == user)?;
        line.get(2)?.parse().ok()
    };
    if let Some(user) = number(name) {
        return vec![user];
    }
    let Some(group) = groups.iter().find(|line| line[0] == name) else {
        return Vec::new();
    };
    let members = group.get(3).map_or("", String::as_str).split(',');
    let primary = users
        .iter()
        .filter(|line| line.get(3) == group.get(2))
        .map(|line| line[0].as_str());
    members.chain(primary).filter_map(number).collect()
}

/// Looks whether the pages can be pinned, and whether users will reach them.
fn check_bpf_fs(audience: &Audience) -> Result<()> {
    const BPF_FS: &str = "/sys/fs/bpf";
    if !vdsokit_sources::kernel::has_bpf_fs() {
        return Err(vdsokit_sources::Error::NoBpfFs.into());
    }
    let mode = fs::metadata(BPF_FS).into_diagnostic()?.permissions().mode();
    if mode & 0o001 == 0 && *audience != Audience::Users(vec![0]) {
        output::warn(format_args!(
            "vdso: only root can reach {BPF_FS}, so other users can't map the pages: `chmod a+x {BPF_FS}`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::users_of;

    #[test]
    fn users_are_found_by_name_number_and_group() {
        let users =
            "root:x:0:0::/:/bin/sh\napp:x:1000:100::/:/bin/sh\nother:x:1001:7::/:/bin/sh\nbroken\n";
        let groups = "staff:x:100:\npair:x:9:app,other,nobody\nempty:x:8:\n";
        let of = |name| users_of(name, users, groups);
        assert_eq!(of("app"), [1000]);
        assert_eq!(of("77"), [77]);
        assert_eq!(of("pair"), [1000, 1001]);
        assert_eq!(of("staff"), [1000]);
        assert!(of("empty").is_empty() && of("nobody").is_empty() && of("broken").is_empty());
    }
}
