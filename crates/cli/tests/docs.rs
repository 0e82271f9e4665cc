//! The commands of the pages in `docs`, as they are printed there.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

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

/// A command that ends in `&`. It is killed at the end of the page.
struct Background(Child);

impl Background {
    /// Starts a publisher, and returns when it has printed its first line: the vDSO is live.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let background = Self(child);
        assert!(line.starts_with("live: "), "{command:?}: {line}");
        background
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell that runs `command` in the directory, with `vdso` in its PATH.
fn shell(directory: &Path, command: &str) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_vdso")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .current_dir(directory)
        .env("PATH", &path)
        .env("VDSOKIT", sources);
    shell
}

/// Runs each command of a console block. Lines below a command are what it prints. Returns those
/// that go on in the background.
fn run(directory: &Path, console: &str) -> Vec<Background> {
    let mut background = Vec::new();
    for command in console.split("$ ").filter(|command| !command.is_empty()) {
        let (command, wanted) = command.split_once('\n').unwrap();
        if let Some(command) = command.strip_suffix(" &") {
            let shell = shell(directory, &format!("exec {command}"));
            background.push(Background::start(shell));
            continue;
        }
        let output = shell(directory, command).output().unwrap();
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
    background
}

/// Runs the commands of a page, with the first declaration of the page about declarations.
fn run_page(directory: &Path, page: &str) {
    let weather = &blocks("declaration.md", "toml")[0];
    fs::write(directory.join("weather.toml"), weather).unwrap();
    let mut background = Vec::new();
    for console in blocks(page, "console") {
        background.extend(run(directory, &console));
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

/// README.md's first vDSO: built, published from lines that are typed, and read.
#[test]
fn the_commands_of_the_readme_make_publish_and_read_a_vdso() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("weather.toml"), &blocks("../README.md", "toml")[0]).unwrap();
    let app = "#include \"weather.h\"\nint main(void) { return weather_temperature() != 21.5; }\n";
    fs::write(at("app.c"), app).unwrap();
    let consoles = blocks("../README.md", "console");
    let console = consoles
        .iter()
        .find(|console| console.starts_with("$ vdso build weather.toml "))
        .unwrap();
    let (build, rest) = console.split_once("$ vdso serve ").unwrap();
    let (serve, rest) = rest.split_once('\n').unwrap();
    run(directory.path(), build);

    let mut server = shell(directory.path(), &format!("exec vdso serve {serve}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let live = lines.next().unwrap().unwrap();
    assert!(live.starts_with("live: "), "{live}");
    let mut typed = server.stdin.take().unwrap();
    typed.write_all(b"temperature=21.5\n").unwrap();
    let reader = vdsokit_publish::Vdso::open(at("libweather.so.1")).unwrap();
    while reader.get("temperature").unwrap().to_string() != "21.5" {
        std::thread::yield_now();
    }
    // What Python prints, and a table that ends.
    let rest = rest
        .replace("print(f())'\n", "print(f())'\n21.5\n")
        .replace("vdso watch ", "vdso watch --count 1 ");
    run(directory.path(), &rest);
    drop(typed);
    assert!(server.wait().unwrap().success());
}

#[test]
fn the_commands_about_languages() {
    run_page(directory().path(), "languages.md");
}

/// The page's way to open a replaced file without a module, in Python and, as the page says, by
/// open(2) and dlopen(3) in C. By the same path the loader returns the old library.
#[test]
fn a_replaced_file_is_opened_by_the_name_of_its_descriptor() {
    let load = &blocks("languages.md", "python")[1];
    let program = format!(
        "{load}
import sys
path, newer = sys.argv[1:]
old = load(path)
os.rename(newer, path)
again, new = load(path), load(path)
print(hasattr(old, 'weather_humidity'), hasattr(again, 'weather_humidity'))
print(again.weather_humidity() == new.weather_humidity() == 60)
"
    );
    let c = "
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
static void *load(const char *path) {
    char name[32];
    snprintf(name, sizeof name, \"/proc/self/fd/%d\", open(path, O_RDONLY | O_CLOEXEC));
    return dlopen(name, RTLD_NOW);
}
int main(int count, char **path) {
    void *old = load(path[1]);
    if (count != 3 || !old || rename(path[2], path[1])) return 1;
    void *new = load(path[1]);
    int has[] = {!!dlsym(old, \"weather_humidity\"), !!dlsym(new, \"weather_humidity\")};
    printf(\"%s %s\\nTrue\\n\", has[0] ? \"True\" : \"False\", has[1] ? \"True\" : \"False\");
}
";
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("load.py"), program).unwrap();
    fs::write(at("load.c"), c).unwrap();
    run(directory.path(), "$ cc -o load load.c\n");
    let weather = &blocks("declaration.md", "toml")[0];
    let newer = format!("{weather}\n[var.humidity]\ntype = \"i32\"\ninit = 60\n");
    fs::write(at("weather.toml"), weather).unwrap();
    fs::create_dir(at("new")).unwrap();
    fs::write(at("new/weather.toml"), newer).unwrap();
    for program in ["python3 -B load.py", "./load"] {
        let console = format!(
            "$ vdso build weather.toml >built.txt\n\
             $ vdso build new/weather.toml -o new >built.txt\n\
             $ {program} ./libweather.so.1 new/libweather.so.1\nFalse True\nTrue\n"
        );
        run(directory.path(), &console);
    }
}

#[test]
fn the_commands_about_operations() {
    run_page(directory().path(), "operations.md");
}

/// README.md's programs at another time: each line is run as it is printed, with programs of those names.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_commands_of_the_readme_about_time() {
    use std::os::unix::fs::PermissionsExt;

    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    let program = |name: &str, script: &str| {
        fs::write(at(name), format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    // Each waits for a minute, an hour or until it is ended, and then says when it is.
    program(
        "app",
        "[ -z \"$APP_STAYS\" ] || exec sleep 1000000\n[ -n \"$APP_ENDS\" ] || sleep 60\nexec date +%s\n",
    );
    program("pytest", "sleep 3600; exec date +%s\n");
    fs::write(
        at("Makefile"),
        "test: made\nmade:\n\ttouch made; stat -c %Y made\n",
    )
    .unwrap();
    let toml = "[vdso]\nsoname = \"libbeast.so.1\"\nversion = \"BEAST_1.0\"\n[var.number]\ntype = \"i32\"\n";
    fs::write(at("beast.toml"), toml).unwrap();
    run(directory.path(), "$ vdso build beast.toml >built.txt\n");
    let consoles = blocks("../README.md", "console");
    let console = consoles
        .iter()
        .find(|console| console.contains("$ vdso run --time "))
        .unwrap();
    let line = |words: &str| {
        let mut lines = console.lines().filter_map(|line| line.strip_prefix("$ "));
        let line = lines.find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("no line has {words}"));
        // Another run of this test may have the name.
        line.replace("payday", &format!("payday-{}", std::process::id()))
    };
    let now = || {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        i64::try_from(now.as_secs()).unwrap()
    };
    let in_path = |command: &str| shell(directory.path(), &format!("PATH=$PWD:$PATH; {command}"));
    let said = |mut command: Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let seconds = |command: Command| said(command).parse::<i64>().unwrap();
    const DAY: i64 = 86_400;

    assert!(said(in_path(&line("2038-01-19"))).contains("2038"));
    let then = seconds(in_path(&line("--offset -30d")));
    assert!((-31 * DAY..-29 * DAY).contains(&(then - now())), "{then}");
    let made = said(in_path(&line("make test")));
    let (_, made) = made.split_once('\n').unwrap();
    assert!((946_598_400..946_857_600).contains(&made.parse::<i64>().unwrap()));
    let start = now();
    let skipped = seconds(in_path(&line("pytest")));
    assert!((3600..3600 + DAY).contains(&(skipped - start)), "{skipped}");
    seconds(in_path(&line("--require")));
    let mut beast = in_path(&line("--object"));
    beast.env("APP_ENDS", "1");
    seconds(beast);

    // Its wait ends with the machine's time, or with the test.
    let mut waits = in_path(&format!("exec {}", line("--name payday")));
    waits.env("APP_STAYS", "1");
    let waits = Background(waits.stdout(Stdio::null()).spawn().unwrap());
    let step = line("vdso clock payday");
    let mut clock = in_path(&step);
    // It has the name once it runs.
    while !clock.output().unwrap().status.success() {
        std::thread::yield_now();
    }
    let mut join = in_path(&line("--join"));
    join.env("APP_ENDS", "1");
    let ahead = seconds(join) - now() - DAY;
    assert!((-3600..2 * 3600 + 100).contains(&(ahead - 3600)), "{ahead}");
    drop(waits);

    let sleeper = Background(Command::new("sleep").arg("1000000").spawn().unwrap());
    let attach = line("vdso attach").replace("1234", &sleeper.0.id().to_string());
    said(in_path(&attach));
}

/// The machine's counter is needed: README.md lists that as a reason to skip.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_commands_about_the_clock() {
    if let Err(untrusted) = vdsokit_sources::clock::Counter::new(Default::default()) {
        eprintln!("skipped: {untrusted}");
        return;
    }
    let directory = directory();
    let [bound] = blocks("clock.md", "c").try_into().unwrap();
    let bound: String = bound;
    fs::write(directory.path().join("bound.c"), bound).unwrap();
    run_page(directory.path(), "clock.md");
}
