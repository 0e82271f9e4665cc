//! What a read costs in each language, with the modules that `vdso build --bindings` writes.
//!
//! A language that is not installed is a figure that is skipped.

use super::programs::{number, program, succeed};
use crate::steps::root;
use std::fs;
use std::path::Path;
use std::process::Command;
use vdsokit_figures::{Figure, Turns};
use vdsokit_lab::Workshop;

const GAUGE: &str = "[vdso]\nsoname = \"libgauge.so.1\"\nversion = \"GAUGE_1.0\"\n\n\
                     [var.level]\ntype = \"f64\"\ninit = 1.5\n";
const TURNS: usize = 5;

/// How a language's reader is made and started. Its arguments are the vDSO's file and the number of
/// reads; it prints the nanoseconds of one.
struct Language {
    name: &'static str,
    /// Its file, and where that lies below the modules.
    source: (&'static str, &'static str),
    /// Run by a shell in the directory of the modules, with `$NPM` and `$JNA`.
    make: &'static str,
    run: &'static str,
    reads: u32,
}

const LANGUAGES: [Language; 6] = [
    Language {
        name: "read-c",
        source: ("read.c", include_str!("languages/read.c")),
        make: "cc -O2 read.c -o read",
        run: "./read",
        reads: 20_000_000,
    },
    Language {
        name: "read-go",
        source: ("reader/read.go", include_str!("languages/read.go")),
        make: "cd reader && printf 'module reader\\n\\ngo 1.19\\n\\nrequire gauge v0.0.0\\n\\n\
               replace gauge => ../go/gauge\\n' >go.mod && CGO_ENABLED=0 go build -o reader .",
        run: "reader/reader",
        reads: 20_000_000,
    },
    Language {
        name: "read-node-koffi",
        source: ("javascript/read.js", include_str!("languages/read.js")),
        make: "test -d $NPM/koffi || { echo 'koffi: the test `bindings` brings it' >&2; exit 1; }",
        run: "NODE_PATH=$NPM node javascript/read.js",
        reads: 2_000_000,
    },
    Language {
        name: "read-java-jna",
        source: ("Read.java", include_str!("languages/Read.java")),
        make: "javac -cp $JNA -d classes java/jna/gauge/Gauge.java Read.java",
        run: "java -cp classes:$JNA Read",
        reads: 1_000_000,
    },
    Language {
        name: "read-python-ctypes",
        source: ("read.py", include_str!("languages/read.py")),
        make: "true",
        run: "PYTHONPATH=python python3 -B read.py",
        reads: 1_000_000,
    },
    Language {
        name: "read-ruby-fiddle",
        source: ("read.rb", include_str!("languages/read.rb")),
        make: "true",
        run: "ruby -I ruby read.rb",
        reads: 200_000,
    },
];

/// Builds a vDSO with its modules and reads it in each language.
pub(super) fn measure(vdso: Option<&Path>) -> Result<Vec<Figure>, String> {
    let vdso = match vdso {
        Some(vdso) => vdso.canonicalize().map_err(|error| error.to_string())?,
        None => program()?,
    };
    let scratch = std::env::temp_dir().join(format!("vdsokit-languages-{}", std::process::id()));
    let modules = scratch.join("modules");
    fs::create_dir_all(&modules).map_err(|error| error.to_string())?;
    let declaration = scratch.join("gauge.toml");
    fs::write(&declaration, GAUGE).map_err(|error| error.to_string())?;
    let mut build = Command::new(&vdso);
    build.arg("build").arg(&declaration).arg("--bindings");
    succeed(build.arg(&modules).current_dir(&scratch))?;
    let figures = LANGUAGES.iter().map(|language| {
        eprintln!("{}", language.name);
        let read = read(language, &modules, &scratch.join("libgauge.so.1"));
        read.unwrap_or_else(|why| Figure::skipped(language.name, why))
    });
    let figures = figures.collect();
    fs::remove_dir_all(&scratch).map_err(|error| error.to_string())?;
    Ok(figures)
}

fn read(language: &Language, modules: &Path, library: &Path) -> Result<Figure, String> {
    let (path, text) = language.source;
    let path = modules.join(path);
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| error.to_string())?;
    let workshop = Workshop::new(root()).map_err(|error| error.to_string())?;
    let cache = workshop.cache;
    let shell = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(library);
        shell.arg(language.reads.to_string()).current_dir(modules);
        shell.env("JNA", "/usr/share/java/jna.jar");
        shell.env("NPM", cache.join("npm-bindings/node_modules"));
        succeed(&mut shell)
    };
    shell(language.make)?;
    let run = format!("{} \"$@\"", language.run);
    let turns = (0..TURNS).map(|_| number(&shell(&run)?));
    let turns: Turns = turns
        .collect::<Result<Vec<f64>, String>>()?
        .into_iter()
        .collect();
    Ok(Figure::number(language.name, turns.least(), "ns", None))
}
