//! A C program that prints every variable, byte by byte, whenever it is asked.

use crate::support::shared;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use vdsokit_build::Declaration;
use vdsokit_build::declaration::Kind;
use vdsokit_elf::Image;
use vdsokit_vvar::directory::Entry;
use vdsokit_vvar::header::Publication;
use vdsokit_vvar::layout::Type;
use vdsokit_vvar::scalar::ScalarType;

/// How the program comes to the functions.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum By {
    /// The linker: `-l`.
    Linking,
    /// `dlopen` and, with the version, `dlvsym`.
    Dlopen,
}

const HEAD: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "HEADER"

static void show(const char *name, unsigned state, const void *value, size_t size) {
    const unsigned char *bytes = value;
    printf("%s %u ", name, state);
    for (size_t i = 0; i < size; i++) printf("%02x", bytes[i]);
    puts("");
}

static unsigned char out[70000];
static void clear(void) { memset(out, 0xee, sizeof out); }
/* Nothing behind the value may have been touched. */
static void check(const char *name, size_t size) {
    for (size_t i = size; i < sizeof out; i++) if (out[i] != 0xee) {
        printf("%s wrote byte %zu\n", name, i);
        exit(1);
    }
}
"#;

/// The program's source.
pub(crate) fn source(declaration: &Declaration, by: By) -> String {
    let prefix = declaration.prefix();
    let mut code = String::new();
    let mut setup = String::new();
    let mut globals = String::new();
    for variable in declaration.variables() {
        let name = &variable.name;
        let mut function = format!("{prefix}{name}");
        if by == By::Dlopen {
            globals += &format!("static __typeof__(&{function}) p_{name};\n");
            setup += &format!(
                "    p_{name} = (__typeof__(p_{name})) dlvsym(image, \"{function}\", \"{}\");\n    \
                 if (!p_{name}) {{ puts(dlerror()); return 1; }}\n",
                variable.version
            );
            function = format!("p_{name}");
        }
        if matches!(variable.kind, Kind::Plain(Type::Scalar(_))) {
            code += &format!(
                "        {{ __typeof__({function}()) v = {function}(); \
                 show(\"{name}\", 0, &v, sizeof v); }}\n"
            );
        } else {
            let size = variable.init.len();
            code += &format!(
                "        clear(); {{ unsigned state = {function}((void *) out); \
                 check(\"{name}\", {size}); show(\"{name}\", state, out, {size}); }}\n"
            );
        }
    }
    let (state, updated) = match by {
        By::Linking => (format!("{prefix}state"), format!("{prefix}updated")),
        By::Dlopen => {
            for name in ["state", "updated"] {
                globals += &format!("static __typeof__(&{prefix}{name}) p_{name};\n");
                setup += &format!(
                    "    p_{name} = (__typeof__(p_{name})) dlsym(image, \"{prefix}{name}\");\n"
                );
            }
            setup.insert_str(
                0,
                &format!(
                    "    void *image = dlopen(\"{}\", RTLD_NOW | RTLD_LOCAL);\n    \
                     if (!image) {{ puts(dlerror()); return 1; }}\n",
                    declaration.soname()
                ),
            );
            ("p_state".into(), "p_updated".into())
        }
    };
    let head = HEAD.replace("HEADER", &format!("{}.h", declaration.library()));
    format!(
        "{head}\n{globals}\nint main(void) {{\n{setup}    setvbuf(stdout, NULL, _IOFBF, 1 << 20);\n    \
         while (getchar() != EOF) {{\n{code}        \
         printf(\"end %u %llu\\n\", {state}(), (unsigned long long) {updated}());\n        \
         fflush(stdout);\n    }}\n    return 0;\n}}\n"
    )
}

/// A program that reads every variable.
pub(crate) trait Reader {
    /// Reads all variables and compares them with `values`: name, whether it is latched, and bytes.
    fn expect(&mut self, values: &[(String, bool, Vec<u8>)], state: u32, updated: u64);
    /// Ends the program, which has to succeed.
    fn end(self);
}

/// The program, running.
pub(crate) struct Probe {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Probe {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            ask: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }
}

impl Reader for Probe {
    fn expect(&mut self, values: &[(String, bool, Vec<u8>)], state: u32, updated: u64) {
        self.ask.write_all(b"\n").unwrap();
        let mut line = String::new();
        for (name, latched, value) in values {
            line.clear();
            self.answers.read_line(&mut line).unwrap();
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            let state = if *latched { state } else { 0 };
            assert_eq!(line.trim_end(), format!("{name} {state} {hex}"));
        }
        line.clear();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), format!("end {state} {updated}"));
    }

    fn end(mut self) {
        drop(self.ask);
        assert!(self.child.wait().unwrap().success());
    }
}

/// Leads `probe` through a vDSO's life: initial values, published ones, a publisher that
/// died in the middle of every latch, its successor, retirement.
pub(crate) fn live(declaration: &Declaration, image: &Path, mut probe: impl Reader) {
    let bytes = std::fs::read(image).unwrap();
    let parsed = Image::parse(&bytes).unwrap();
    let directory = vdsokit_build::directory(&parsed).unwrap();
    let entries: Vec<Entry<'_>> = directory.iter().collect();
    let variables = entries.iter().zip(declaration.variables());
    let mut values: Vec<_> = variables
        .clone()
        .map(|(entry, variable)| {
            (
                variable.name.clone(),
                entry.is_latched(),
                variable.init.clone(),
            )
        })
        .collect();
    probe.expect(&values, 0, 0);

    let pages = shared::pages(image);
    for seed in 1..=3 {
        for ((entry, variable), value) in variables.clone().zip(&mut values) {
            value.2 = some_value(&variable.kind, variable.init.len(), seed);
            shared::store(&pages, entry, &value.2);
        }
        pages.header().publish(Publication {
            publisher: 1,
            boot: 0,
            now: 1000 + u64::from(seed),
            stale_after: 0,
        });
        probe.expect(&values, 1, 1000 + u64::from(seed));
        for entry in entries.iter().filter(|entry| entry.is_latched()) {
            shared::store_half(&pages, entry);
        }
        probe.expect(&values, 1, 1000 + u64::from(seed));
    }
    pages.header().stop();
    probe.expect(&values, 2, 1003);

    // Whatever a publisher leaves there, C sees a bool.
    let flag = |entry: &Entry<'_>| {
        entry.is(&vdsokit_vvar::layout::Shape::Plain(Type::Scalar(
            ScalarType::Bool,
        )))
    };
    for (entry, value) in entries.iter().zip(&mut values) {
        if flag(entry) {
            shared::store(&pages, entry, &[0x80]);
            value.2 = vec![1];
        }
    }
    probe.expect(&values, 2, 1003);
    probe.end();
}

/// A value that differs from byte to byte and from seed to seed.
fn some_value(kind: &Kind, size: usize, seed: u8) -> Vec<u8> {
    if let Kind::Plain(Type::Scalar(ScalarType::Bool)) = kind {
        return vec![seed & 1];
    }
    (0..size)
        .map(|index| {
            (index as u8)
                .wrapping_mul(31)
                .wrapping_add(seed.wrapping_mul(97))
        })
        .collect()
}
