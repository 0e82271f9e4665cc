//! The commands of the pages about declarations and languages, as they are printed there.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The fenced blocks of a language, in their order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let text = fs::read_to_string(path).unwrap();
    let opening = format!("```{language}\n");
    let parts = text.split(&opening).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect()
}

/// Runs each command of a console block. Lines below a command are what it prints.
fn run(directory: &Path, console: &str) {
    let programs = Path::new(env!("CARGO_BIN_EXE_vdso")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    for command in console.split("$ ").filter(|command| !command.is_empty()) {
        let (command, wanted) = command.split_once('\n').unwrap();
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(directory)
            .env("PATH", &path)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        if !wanted.is_empty() {
            assert_eq!(
                String::from_utf8(output.stdout).unwrap(),
                wanted,
                "{command}"
            );
        }
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(vdsokit_publish::place::base().unwrap()).unwrap()
}

#[test]
fn the_commands_about_declarations() {
    let directory = directory();
    let tomls = blocks("declaration.md", "toml");
    let [weather, record, ids] = tomls.as_slice() else {
        panic!("{} declarations", tomls.len());
    };
    fs::write(directory.path().join("weather.toml"), weather).unwrap();
    fs::write(directory.path().join("ids.toml"), ids).unwrap();
    for console in blocks("declaration.md", "console") {
        run(directory.path(), &console);
    }
    fs::write(
        directory.path().join("weather.toml"),
        format!("{weather}\n{record}"),
    )
    .unwrap();
    run(directory.path(), "$ vdso build weather.toml\n");
}

#[test]
fn the_commands_about_languages() {
    let directory = directory();
    let weather = &blocks("declaration.md", "toml")[0];
    fs::write(directory.path().join("weather.toml"), weather).unwrap();
    for console in blocks("languages.md", "console") {
        run(directory.path(), &console);
    }
}
