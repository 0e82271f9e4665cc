//! The generated modules of other languages, file by file.

use crate::support::declaration;
use vdsokit_build::{bindings, write_loader_bindings};

fn generated(path: &str) -> String {
    let all = bindings(&declaration("weather.toml"));
    let mut found = all
        .into_iter()
        .filter(|file| file.path.to_str() == Some(path));
    found.next().expect("a file of that path").text
}

/// Those of a library whose values lie elsewhere: Go's and Rust's modules map the pages of its file.
#[test]
fn modules_that_call_the_librarys_functions_are_written_alone() {
    let declaration = declaration("weather.toml");
    let directory = tempfile::tempdir().unwrap();
    let mut written = write_loader_bindings(&declaration, directory.path()).unwrap();
    let mut expected = vec![];
    for binding in bindings(&declaration) {
        let path = directory.path().join(&binding.path);
        if binding.path.starts_with("go") || binding.path.starts_with("rust") {
            assert!(!path.exists(), "{}", path.display());
            continue;
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), binding.text);
        expected.push(path);
    }
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
    assert!(!written.is_empty());
}

macro_rules! golden {
    ($($name:ident: $path:literal;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(generated($path));
            }
        )*

        #[test]
        fn no_other_file_is_generated() {
            let all = bindings(&declaration("weather.toml"));
            let paths: Vec<_> = all.iter().map(|file| file.path.to_str().unwrap()).collect();
            assert_eq!(paths, [$($path),*]);
        }
    };
}

golden! {
    python: "python/weather/__init__.py";
    python_is_typed: "python/weather/py.typed";
    javascript: "javascript/weather.js";
    typescript: "javascript/weather.d.ts";
    go: "go/weather/weather.go";
    go_module: "go/weather/go.mod";
    java_with_jna: "java/jna/weather/Weather.java";
    java_with_ffm: "java/ffm/weather/Weather.java";
    ruby: "ruby/weather.rb";
    cpp: "cpp/weather.hpp";
    rust: "rust/weather.rs";
}
