//! A vDSO takes the place of functions of the C library: programs that know nothing of it call it.

mod common;

use common::printed;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use vdsokit_publish::{Publisher, assign, place};

/// `getppid`, with or without `interpose`, and a name that no C library has.
fn declaration(interpose: bool) -> String {
    format!(
        "[vdso]\nsoname = \"libids.so.1\"\nversion = \"IDS_1.0\"\nprefix = \"\"\n\
         interpose = {interpose}\n[var.getppid]\ntype = \"i32\"\ninit = 42\n\
         [var.nobody_has_this]\ntype = \"i32\"\ninit = 7\n"
    )
}

fn vdso(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vdso"))
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The image, and what `vdso build` said on standard error.
fn built(interpose: bool) -> (TempDir, PathBuf, String) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    fs::write(directory.path().join("ids.toml"), declaration(interpose)).unwrap();
    let (status, _, errors) = vdso(directory.path(), &["build", "ids.toml"]);
    assert_eq!(status, 0, "{errors}");
    let library = directory.path().join("libids.so.1");
    (directory, library, errors)
}

/// Programs that print what `getppid` returns.
fn programs() -> Vec<Command> {
    let program = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(name);
        command.args(arguments);
        command
    };
    vec![
        program("bash", &["-c", "echo $PPID"]),
        program("perl", &["-e", "print getppid()"]),
        program("python3", &["-c", "import os; print(os.getppid())"]),
    ]
}

#[test]
fn preloaded_into_bash_perl_and_python() {
    let (_directory, library, errors) = built(true);
    assert_eq!(errors, "");
    let preloaded = |mut command: Command| printed(command.env("LD_PRELOAD", &library));
    for program in programs() {
        assert_eq!(preloaded(program), "42", "without a publisher");
    }
    let publisher = Publisher::open(&library).unwrap();
    publisher
        .assign(&assign::parse("getppid=4711").unwrap())
        .unwrap();
    for program in programs() {
        assert_eq!(preloaded(program), "4711");
    }
    drop(publisher);
    for program in programs() {
        assert_eq!(
            preloaded(program),
            "4711",
            "retired, and still the last value"
        );
    }
}

/// glibc's loader wants the version that the program was linked with.
#[test]
fn without_interpose_the_c_library_is_called_and_build_and_check_say_so() {
    let (directory, library, errors) = built(false);
    assert!(errors.contains("getppid"), "{errors}");
    assert!(errors.contains("interpose = true"), "{errors}");
    let (status, found, _) = vdso(directory.path(), &["check", "libids.so.1"]);
    assert_eq!(status, 0, "{found}");
    assert!(found.contains("getppid"), "{found}");
    let (_, found, _) = vdso(directory.path(), &["check", "libids.so.1", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["findings"], serde_json::json!([]));
    assert_eq!(found["not_interposing"], serde_json::json!(["getppid"]));
    for mut program in programs() {
        let parent = printed(program.env("LD_PRELOAD", &library));
        assert_eq!(parent, std::process::id().to_string());
    }
}

#[test]
fn an_interposing_image_passes_the_check() {
    let (directory, _, _) = built(true);
    let (status, found, _) = vdso(directory.path(), &["check", "libids.so.1"]);
    assert_eq!((status, found.as_str()), (0, ""));
}

const APP: &str = r#"
    #include <stdio.h>
    #include <unistd.h>
    int main(void) { printf("%d\n", (int) getppid()); }
"#;

fn compiled(compiler: &str, directory: &Path, source: &str, arguments: &[&str]) -> Command {
    fs::write(directory.join("app.c"), source).unwrap();
    printed(
        Command::new(compiler)
            .current_dir(directory)
            .args(["-Wall", "-Werror", "-o", "app", "app.c"])
            .args(arguments),
    );
    Command::new(directory.join("app"))
}

/// The linker takes the first library that has the name, and the C library comes last.
#[test]
fn linked_before_the_c_library() {
    let (directory, _, _) = built(true);
    let arguments = ["-L.", "-Wl,--no-as-needed", "-lids", "-Wl,-rpath,$ORIGIN"];
    let mut app = compiled("cc", directory.path(), APP, &arguments);
    assert_eq!(printed(&mut app), "42");
}

/// musl's loader takes a name in any version.
#[test]
fn preloaded_into_a_program_of_musl() {
    for interpose in [true, false] {
        let (directory, library, _) = built(interpose);
        let mut app = compiled("musl-gcc", directory.path(), APP, &[]);
        assert_eq!(printed(app.env("LD_PRELOAD", &library)), "42");
    }
}

/// What is opened with RTLD_GLOBAL comes behind the C library, which was there before: its own
/// names are found by what is loaded later, and the C library's stay the C library's.
#[test]
fn opened_with_rtld_global() {
    let (directory, library, _) = built(true);
    fs::write(
        directory.path().join("plugin.c"),
        "#include <stdio.h>\n#include <unistd.h>\nint nobody_has_this(void);\n\
         void show(void) { printf(\"%d %d\\n\", nobody_has_this(), (int) getppid()); }\n",
    )
    .unwrap();
    printed(Command::new("cc").current_dir(&directory).args([
        "-shared",
        "-fPIC",
        "-o",
        "plugin.so",
        "plugin.c",
    ]));
    let source = r#"
        #include <dlfcn.h>
        #include <stdio.h>
        int main(int count, char **arguments) {
            void *image = dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL);
            void *plugin = dlopen(arguments[2], RTLD_NOW);
            if (count != 3 || !image || !plugin) { puts(dlerror()); return 1; }
            void (*show)(void) = (void (*)(void)) dlsym(plugin, "show");
            show();
            return 0;
        }
    "#;
    let mut app = compiled("cc", directory.path(), source, &[]);
    let app = app.arg(&library).arg(directory.path().join("plugin.so"));
    assert_eq!(printed(app), format!("7 {}", std::process::id()));
}

/// A program that was linked with one image runs with a newer and an older one.
#[test]
fn beside_an_older_and_a_newer_image() {
    let (directory, library, _) = built(true);
    let arguments = ["-L.", "-Wl,--no-as-needed", "-lids", "-Wl,-rpath,$ORIGIN"];
    let mut app = compiled("cc", directory.path(), APP, &arguments);
    let newer = declaration(true) + "[var.getpgrp]\ntype = \"i32\"\ninit = 1\n";
    let older = declaration(true).replace("[var.nobody_has_this]\ntype = \"i32\"\ninit = 7\n", "");
    for text in [newer, older] {
        fs::write(directory.path().join("ids.toml"), text).unwrap();
        let (status, _, errors) = vdso(directory.path(), &["build", "ids.toml"]);
        assert_eq!(status, 0, "{errors}");
        assert_eq!(printed(&mut app), "42");
        for mut program in programs() {
            assert_eq!(printed(program.env("LD_PRELOAD", &library)), "42");
        }
    }
}

/// The same for a function of a crate.
#[test]
fn a_function_of_a_crate() {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let package = directory.path().join("ids");
    fs::create_dir_all(package.join("src")).unwrap();
    let rt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rt");
    fs::write(
        package.join("Cargo.toml"),
        format!(
            "[package]\nname = \"ids\"\nversion = \"1.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\nvdsokit-rt = {{ path = {rt:?} }}\n\
             [package.metadata.vdso]\nsoname = \"libids.so.1\"\nversion = \"IDS_1.0\"\n"
        ),
    )
    .unwrap();
    fs::write(
        package.join("src/lib.rs"),
        "#![no_std]\nuse vdsokit_rt::virtual_syscall;\n\
         /// Always 42.\n#[virtual_syscall(interpose)]\npub fn getppid() -> i32 { 42 }\n",
    )
    .unwrap();
    let (status, _, errors) = vdso(directory.path(), &["build", "ids"]);
    assert_eq!(status, 0, "{errors}");
    assert!(!errors.contains("interpose"), "{errors}");
    let library = directory.path().join("libids.so.1");
    for mut program in programs() {
        assert_eq!(printed(program.env("LD_PRELOAD", &library)), "42");
    }
}

/// The clock's image has the kernel's convention, an error being a negative number, where a C function returns
/// -1 and sets `errno`. So it must not take the place of the C library's functions: glibc's loader passes it
/// over, and musl's, which compares names alone, does not.
#[test]
fn the_clock_s_image_has_no_errno_and_is_not_for_preloading() {
    const SOURCE: &str = r#"
        #include <errno.h>
        #include <stdio.h>
        #include <time.h>
        int main(void) {
            struct timespec time;
            int result = clock_gettime(12345, &time);
            printf("%d %s\n", result, errno == EINVAL ? "EINVAL" : "unset");
        }
    "#;
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let image = directory.path().join("linux-vdso.so.1");
    fs::write(&image, vdsokit_virtual_time::IMAGE).unwrap();
    let (_, found, _) = vdso(directory.path(), &["check", "linux-vdso.so.1", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let passed_over = found["not_interposing"].as_array().unwrap();
    assert!(passed_over.contains(&"clock_gettime".into()), "{found}");
    for (compiler, preloaded) in [("cc", "-1 EINVAL"), ("musl-gcc", "-22 unset")] {
        let mut app = compiled(compiler, directory.path(), SOURCE, &[]);
        assert_eq!(printed(&mut app), "-1 EINVAL", "{compiler}");
        assert_eq!(printed(app.env("LD_PRELOAD", &image)), preloaded);
    }
}
