//! The generated modules of other languages, file by file.

use crate::support::declaration;
use vdsokit_build::bindings;

fn generated(path: &str) -> String {
    let all = bindings(&declaration("weather.toml"));
    let mut found = all
        .into_iter()
        .filter(|file| file.path.to_str() == Some(path));
    found.next().expect("a file of that path").text
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
