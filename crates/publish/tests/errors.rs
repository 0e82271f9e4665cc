//! What each error says, and what it advises.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use vdsokit_publish::Error;
use vdsokit_publish::place::Unfit;

/// Every error with a part of its message and of its hint.
fn errors() -> Vec<(Error, &'static str, &'static str)> {
    let path = || PathBuf::from("/dir/lib.so");
    let text = |text: &str| text.to_owned();
    let unfit = |reason| Error::Unfit {
        directory: "/dir".into(),
        reason,
        help: text("Publish in /run"),
    };
    let busy = |pid, name: Option<&str>| Error::Busy {
        path: path(),
        pid,
        name: name.map(text),
    };
    vec![
        (
            Error::Missing { path: path() },
            "there is no such file",
            "`vdso build`",
        ),
        (
            Error::NoDirectory {
                path: "/dir".into(),
            },
            "there is no such directory",
            "`mkdir -p /dir`",
        ),
        (
            Error::NotWritable {
                path: "/dir".into(),
                help: text("publish in /run"),
            },
            "no permission to create files in this directory",
            "publish in /run",
        ),
        (
            Error::LockFile {
                path: path(),
                why: text("it is a directory"),
            },
            "this lock file cannot be used: it is a directory",
            "remove it",
        ),
        (
            Error::Layout {
                path: path(),
                name: text("a"),
                found: text("u8 at byte 64"),
                wanted: text("absent"),
            },
            "`a` is u8 at byte 64 in this file and absent in the new image",
            "append variables instead",
        ),
        (
            Error::Denied {
                doing: "publish",
                path: path(),
            },
            "no permission to publish it",
            "`ls -l /dir/lib.so`",
        ),
        (
            Error::NoSpace {
                path: path(),
                bytes: 4096,
            },
            "no space left for 4096 bytes",
            "make room",
        ),
        (
            Error::Foreign {
                path: path(),
                why: text("no note"),
            },
            "this is no vDSO with vvar pages: no note",
            "`vdso check /dir/lib.so`",
        ),
        (
            Error::Truncated {
                path: path(),
                has: 7,
                needs: 9,
            },
            "its vvar pages end at byte 9, the file at 7",
            "install it by renaming",
        ),
        (
            Error::Torn {
                path: path(),
                pages: 1,
                directory: 2,
            },
            "its pages have layout 0x0000000000000001, its directory 0x0000000000000002",
            "build it again",
        ),
        (
            busy(Some(7), Some("vdso")),
            "process 7 (`vdso`) is its publisher",
            "end that one",
        ),
        (
            busy(Some(7), None),
            "process 7 is its publisher",
            "end that one",
        ),
        (
            busy(None, None),
            "another process is its publisher",
            "end that one",
        ),
        (
            Error::Unknown {
                path: path(),
                name: text("b"),
                help: text("it has a"),
            },
            "no variable is called `b`",
            "it has a",
        ),
        (
            Error::Mismatch {
                path: path(),
                name: text("a"),
                found: text("u8"),
                wanted: text("f64"),
            },
            "`a` is u8, not f64",
            "ask for the type",
        ),
        (
            Error::Value {
                name: text("a"),
                text: text("x"),
                ty: text("u8"),
                why: text("no number"),
            },
            "`x` is no value for `a`: no number",
            "`a` is of type u8",
        ),
        (
            Error::Line {
                line: text("=1"),
                why: "it has no name",
            },
            "`=1`: it has no name",
            "write `name=value`",
        ),
        (
            Error::Taken { name: text("a") },
            "`a` has a writer already",
            "one writer",
        ),
        (
            Error::Image {
                soname: text("lib.so"),
                why: text("no name"),
            },
            "no image of lib.so can be built: no name",
            "`vdso build`",
        ),
        (
            unfit(Unfit::Owner {
                directory: "/dir".into(),
                uid: 7,
            }),
            "/dir: nothing can be published here: /dir belongs to user 7",
            "Publish in /run",
        ),
        (
            unfit(Unfit::File { uid: 7 }),
            "the file belongs to user 7",
            "Publish",
        ),
        (
            unfit(Unfit::Writable {
                directory: "/dir".into(),
                mode: 0o41777,
            }),
            "others may write to /dir (mode 1777)",
            "Publish",
        ),
        (
            unfit(Unfit::FileSystem {
                name: "proc",
                why: "it holds no ordinary files",
            }),
            "it is on proc: it holds no ordinary files",
            "Publish",
        ),
        (unfit(Unfit::NoExec), "it is mounted noexec", "Publish"),
        (unfit(Unfit::ReadOnly), "it is mounted read-only", "Publish"),
        (
            unfit(Unfit::Incoherent),
            "a private mapping does not show",
            "Publish",
        ),
    ]
}

#[test]
fn an_error_says_what_happened_where_and_what_to_do() {
    for (error, message, hint) in errors() {
        let (said, advised) = (error.to_string(), error.hint().expect("a hint"));
        assert!(said.contains(message), "{said}");
        assert!(advised.contains(hint), "{said}: {advised}");
        assert_eq!(format!("{error:?}"), format!("{said}\n  help: {advised}"));
        assert!(error.source().is_none(), "{said}");
        #[cfg(feature = "miette")]
        {
            let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
            assert_eq!(help, Some(advised));
        }
    }
}

#[test]
fn a_failed_call_is_a_missing_file_a_missing_right_or_the_kernels_answer() {
    let error = |kind: io::ErrorKind| Error::io("read", Path::new("/lib.so"), kind);
    assert!(matches!(
        error(io::ErrorKind::NotFound),
        Error::Missing { .. }
    ));
    let denied = error(io::ErrorKind::PermissionDenied);
    assert_eq!(denied.to_string(), "/lib.so: no permission to read it");
    let other = error(io::ErrorKind::StorageFull);
    assert_eq!(other.to_string(), "/lib.so: cannot read it");
    let cause = other.source().expect("the kernel's answer").to_string();
    assert_eq!(format!("{other:?}"), format!("{other}\n  cause: {cause}"));
    assert_eq!(other.hint(), None);
}
