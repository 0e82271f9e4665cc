//! Which directories are refused, which one is proposed, and how a published vDSO is found by name.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::place::{self, Unfit};
use vdsokit_publish::{Condition, Error, Publisher, Vdso};

const SONAME: &str = "libplaces.so.1";

fn built() -> Vec<u8> {
    let text = format!(
        "[vdso]\nsoname = \"{SONAME}\"\nversion = \"PLACES_1.0\"\n\
         [var.limit]\ntype = \"f64\"\n[var.mode]\ntype = \"u8\"\n"
    );
    let declaration = Declaration::parse("test.toml", &text).unwrap();
    image(&declaration, Architecture::host().unwrap()).unwrap()
}

/// A directory of this test's own in which publishing works.
fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = fs::canonicalize(directory.path()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    (directory, path)
}

fn reason(directory: &Path) -> Option<Unfit> {
    match place::check(directory) {
        Ok(()) => None,
        Err(Error::Unfit { reason, help, .. }) => {
            assert!(help.to_lowercase().contains("publish "), "{help}");
            Some(reason)
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_directory_in_which_others_may_put_a_file_is_refused_and_one_below_a_sticky_one_is_not() {
    let (_directory, path) = directory();
    assert_eq!(reason(&path), None);
    let below = path.join("below");
    fs::create_dir(&below).unwrap();
    let writable = |at: &Path, mode: u32| {
        Some(Unfit::Writable {
            directory: at.to_owned(),
            mode: 0o40_000 | mode,
        })
    };
    for (mode, here, under) in [
        (0o755, None, None),
        (0o700, None, None),
        (0o775, writable(&path, 0o775), writable(&path, 0o775)),
        (0o757, writable(&path, 0o757), writable(&path, 0o757)),
        (0o1777, writable(&path, 0o1777), None),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(reason(&path), here, "{mode:o}");
        assert_eq!(reason(&below), under, "{mode:o}");
    }
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&path, Some(54_321), None).unwrap();
        let owner = Unfit::Owner {
            directory: path.clone(),
            uid: 54_321,
        };
        assert_eq!(reason(&below), Some(owner));
    }
}

#[test]
fn a_file_system_without_ordinary_files_is_refused() {
    for (directory, name) in [("/proc/self", "proc"), ("/sys/kernel", "sysfs")] {
        let found = reason(Path::new(directory));
        assert!(
            matches!(found, Some(Unfit::FileSystem { name: found, .. }) if found == name),
            "{found:?}"
        );
    }
}

#[test]
fn what_is_no_directory_is_said_to_be_none() {
    let (_directory, path) = directory();
    fs::write(path.join("file"), "").unwrap();
    for missing in [path.join("missing"), path.join("file/below")] {
        let refused = place::check(&missing);
        assert!(
            matches!(refused, Err(Error::NoDirectory { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_path_is_resolved_though_its_file_does_not_exist() {
    let (_directory, path) = directory();
    fs::create_dir(path.join("real")).unwrap();
    symlink("real", path.join("link")).unwrap();
    let resolved = path.join("real").join(SONAME);
    assert_eq!(
        place::resolve(&path.join("link").join(SONAME)).unwrap(),
        resolved
    );
    // A link to the file leads to its own name.
    fs::write(&resolved, "").unwrap();
    symlink(&resolved, path.join("alias")).unwrap();
    assert_eq!(place::resolve(&path.join("alias")).unwrap(), resolved);
    let here = std::env::current_dir().unwrap().join("not-there");
    assert_eq!(place::resolve(Path::new("not-there")).unwrap(), here);
    assert!(place::resolve(Path::new("/")).is_err());
    let refused = place::resolve(&path.join("missing/file"));
    assert!(matches!(refused, Err(Error::NoDirectory { .. })));

    let lock = place::beside(&resolved, "lock");
    assert_eq!(lock, path.join("real").join(format!(".{SONAME}.lock")));
}

/// The places come from the environment, so they are asked for in a process with another one.
fn in_environment(role: &str, variable: &str, value: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "with_environment", "--ignored", "--nocapture"])
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("RUNTIME_DIRECTORY")
        .env(variable, value)
        .env("VDSOKIT_ROLE", role)
        .env("VDSOKIT_PATH", value)
        .status();
    assert!(status.unwrap().success(), "{role}");
}

#[test]
#[ignore = "run by the tests below, each in an environment of its own"]
fn with_environment() {
    let path = PathBuf::from(std::env::var_os("VDSOKIT_PATH").unwrap());
    match std::env::var("VDSOKIT_ROLE").unwrap().as_str() {
        "user" => of_a_user(&path),
        "service" => of_a_service(&path),
        role => panic!("{role}"),
    }
}

#[test]
fn a_vdso_is_published_in_the_directory_that_is_proposed_and_found_there_by_name() {
    let (_directory, path) = directory();
    in_environment("user", "XDG_RUNTIME_DIR", &path);
}

fn of_a_user(base: &Path) {
    assert_eq!(place::base().as_deref(), Some(base));
    let proposed = base.join("vdso");
    assert_eq!(place::propose(), Some(proposed.clone()));
    // One that nothing was published in does not stay.
    let made = place::make().unwrap();
    assert_eq!(made.path(), proposed);
    drop(made);
    assert!(!proposed.exists());

    let made = place::make().unwrap();
    let mode = fs::metadata(&proposed).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert!(place::find(SONAME).is_none());
    let file = proposed.join(SONAME);
    let publisher = Publisher::create(&file, &built()).unwrap();
    drop(made);
    let live = |found: Option<place::Found>| {
        let found = found.expect("it is published");
        assert_eq!(found.path(), file);
        assert_eq!(found.open().unwrap().status().condition, Condition::Live);
    };
    live(place::find(SONAME));
    live(place::find_for_machine(SONAME));
    assert!(place::find("libothers.so.1").is_none());
    // One that exists is kept, and is proposed.
    assert_eq!(place::propose(), Some(proposed.clone()));
    drop(place::make().unwrap());
    assert!(file.exists());
    drop(publisher);
    assert!(place::find(SONAME).is_some(), "it is still there");

    // What others may write to, or what is no file, is not found.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o646)).unwrap();
    assert!(place::find(SONAME).is_none());
    fs::remove_file(&file).unwrap();
    fs::write(base.join("elsewhere"), built()).unwrap();
    symlink(base.join("elsewhere"), &file).unwrap();
    assert!(place::find(SONAME).is_none());
    fs::set_permissions(&proposed, fs::Permissions::from_mode(0o777)).unwrap();
    assert_ne!(place::propose(), Some(proposed));
}

#[test]
fn a_service_publishes_in_its_runtime_directory() {
    let (_directory, path) = directory();
    in_environment("service", "RUNTIME_DIRECTORY", &path);
}

fn of_a_service(directory: &Path) {
    let declaration = Path::new("/etc/places.toml");
    assert_eq!(place::propose().as_deref(), Some(directory));
    let file = place::of_declaration(declaration, SONAME);
    assert_eq!(file, directory.join(SONAME));
    let made = place::make().unwrap();
    drop(made);
    assert!(directory.exists(), "it was there before");
    // The first one is named in the error where none works.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
    assert_ne!(place::propose().as_deref(), Some(directory));
    assert_eq!(place::of_declaration(declaration, SONAME), file);
}

#[test]
fn without_a_service_a_vdso_is_published_beside_its_declaration() {
    if std::env::var_os("RUNTIME_DIRECTORY").is_none() {
        let place = place::of_declaration(Path::new("/etc/places.toml"), SONAME);
        assert_eq!(place, Path::new("/etc").join(SONAME));
    }
}

#[test]
fn an_unknown_variable_is_answered_with_those_that_exist() {
    let (_directory, path) = directory();
    let file = path.join(SONAME);
    fs::write(&file, built()).unwrap();
    let vdso = Vdso::open(&file).unwrap();
    let error = vdso.get("limits").unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("it has limit, mode"));
    // A program that was built with other variables.
    let expected = vdso.directory().layout();
    vdso.expect(expected, &[]).unwrap();
    let variable = |name, ty| vdsokit_vvar::directory::Variable {
        name,
        unit: "",
        doc: "",
        version: "",
        shape: vdsokit_vvar::layout::Shape::Plain(ty),
    };
    use vdsokit_vvar::layout::Type;
    use vdsokit_vvar::scalar::ScalarType;
    let (f64, u8) = (Type::Scalar(ScalarType::F64), Type::Scalar(ScalarType::U8));
    vdso.expect(1, &[variable("limit", f64), variable("mode", u8)])
        .unwrap();
    vdso.expect(expected, &[variable("limit", f64), variable("mode", u8)])
        .unwrap();
    let unknown = vdso.expect(1, &[variable("limit", f64), variable("gone", u8)]);
    assert!(matches!(unknown, Err(Error::Unknown { .. })), "{unknown:?}");
    let other = vdso.expect(1, &[variable("limit", u8)]);
    assert!(matches!(other, Err(Error::Mismatch { .. })), "{other:?}");
}

#[test]
fn a_file_larger_than_any_vdso_is_not_read() {
    let (_directory, path) = directory();
    let file = path.join(SONAME);
    fs::write(&file, built()).unwrap();
    let open = fs::File::options().write(true).open(&file).unwrap();
    // Nothing of it is stored.
    open.set_len((1 << 30) + 1).unwrap();
    let refused = Vdso::open(&file).unwrap_err().to_string();
    assert!(refused.contains("larger than any vDSO"), "{refused}");
}
