//! Real images beside readelf: this machine's own, a 32-bit program's, and those of Debian's
//! kernels for other architectures.

#[path = "common/kernels.rs"]
mod kernels;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use vdsokit_elf::arch::Function;
use vdsokit_elf::check::{self, Profile};
use vdsokit_elf::constants::*;
use vdsokit_elf::{Binding, Image, Kind, arch, own, process};

/// What readelf prints, each line's fields separated by one space.
fn readelf(path: &Path, options: &[&str]) -> Vec<String> {
    let output = Command::new("readelf")
        .args(options)
        .arg(path)
        .output()
        .expect("readelf runs");
    assert!(output.status.success(), "readelf {}", path.display());
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// Symbols as readelf lists them: value, size, type, binding, section, name and version.
fn symbols(image: &Image<'_>) -> Vec<String> {
    image
        .symbols()
        .map(|symbol| {
            let kind = match symbol.kind {
                Kind::NoType => "NOTYPE",
                Kind::Object => "OBJECT",
                Kind::Function => "FUNC",
                Kind::Section => "SECTION",
                Kind::Other(_) => "OTHER",
            };
            let binding = match symbol.binding {
                Binding::Local => "LOCAL",
                Binding::Global => "GLOBAL",
                Binding::Weak => "WEAK",
                Binding::Other(_) => "OTHER",
            };
            let section = match symbol.section {
                SHN_UNDEF => "UND".to_owned(),
                SHN_ABS => "ABS".to_owned(),
                index => index.to_string(),
            };
            let mut line = format!(
                "{:x} {} {kind} {binding} {section}",
                symbol.value, symbol.size
            );
            if !symbol.name().is_empty() && symbol.kind != Kind::Section {
                write!(line, " {}", symbol.name()).expect("a String takes all");
            }
            // readelf doesn't repeat the name of a version's own symbol.
            if let Some(version) = symbol.version.filter(|v| v.name() != symbol.name()) {
                let at = if symbol.is_hidden_version { "@" } else { "@@" };
                write!(line, "{at}{}", version.name()).expect("a String takes all");
            }
            line
        })
        .collect()
}

/// The same from readelf's lines "Num: Value Size Type Bind Vis Ndx Name".
fn symbols_by_readelf(path: &Path) -> Vec<String> {
    readelf(path, &["--wide", "--dyn-syms"])
        .iter()
        .filter_map(|line| {
            // PowerPC and MIPS add what st_other says in brackets after the visibility.
            let line = match (line.find('['), line.find(']')) {
                (Some(start), Some(end)) => format!("{}{}", &line[..start], &line[end + 2..]),
                _ => line.clone(),
            };
            let fields: Vec<&str> = line.split(' ').collect();
            fields.first()?.strip_suffix(':')?.parse::<u32>().ok()?;
            let value = u64::from_str_radix(fields.get(1)?, 16).ok()?;
            let size = fields.get(2)?;
            let size = match size.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok()?,
                None => size.parse().ok()?,
            };
            let mut known = format!("{value:x} {size} {} {} {}", fields[3], fields[4], fields[6]);
            if fields[3] != "SECTION" {
                for field in &fields[7..] {
                    write!(known, " {field}").expect("a String takes all");
                }
            }
            Some(known)
        })
        .collect()
}

/// Asserts that we and readelf see the same symbols, versions, segments, soname and build id.
fn assert_agrees(path: &Path, bytes: &[u8]) {
    let image = Image::parse(bytes).expect("an image");
    let name = path.display();
    let found = symbols(&image);
    assert_eq!(found, symbols_by_readelf(path), "{name}");
    assert!(found.len() > 1, "{name} has symbols");

    let versions = readelf(path, &["--wide", "-V"]);
    let mut count = 0;
    for version in image.versions() {
        let flags = if version.is_base { "BASE" } else { "none" };
        let wanted = format!("Flags: {flags} Index: {} Cnt: ", version.index);
        let named = format!("Name: {}", version.name());
        let is_there = versions
            .iter()
            .any(|line| line.contains(&wanted) && line.ends_with(&named));
        assert!(is_there, "{name}: {version:?} in {versions:#?}");
        count += 1;
    }
    let defined = versions
        .iter()
        .filter(|line| line.contains("Flags: "))
        .count();
    assert_eq!(count, defined, "{name}");

    let segments = readelf(path, &["--wide", "-l"]);
    for segment in image.segments() {
        let word = 2 * image.header().class.word();
        let wanted = format!("0x{:06x} 0x{:0word$x} ", segment.offset, segment.vaddr);
        assert!(
            segments.iter().any(|line| line.contains(&wanted)),
            "{name}: {wanted}"
        );
    }
    let soname = image.soname().expect("a soname").to_string();
    let dynamic = readelf(path, &["--wide", "-d"]);
    let wanted = format!("soname: [{soname}]");
    assert!(
        dynamic.iter().any(|line| line.ends_with(&wanted)),
        "{name}: {wanted}"
    );
    if let Some(id) = image.build_id() {
        let id = id
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let notes = readelf(path, &["--wide", "-n"]);
        assert!(notes.iter().any(|line| line.ends_with(&id)), "{name}: {id}");
    }
}

/// Asserts that every export is found by each way of asking, and that the table of architectures
/// has it.
fn assert_lookups(path: &Path, image: &Image<'_>) {
    let name = path.display();
    let abi = arch::of(image.header()).unwrap_or_else(|| panic!("{name}: an ABI"));
    assert_eq!(
        image.soname().and_then(|soname| soname.to_str()),
        abi.soname,
        "{name}"
    );
    for symbol in image.symbols().filter(|symbol| symbol.is_export()) {
        let text = symbol.name().to_str().expect("ASCII");
        let version = symbol
            .version
            .expect("a version")
            .name()
            .to_str()
            .expect("ASCII");
        let found = image
            .lookup_version(text, version)
            .expect("found by version");
        assert_eq!(
            (found.index, found.value),
            (symbol.index, symbol.value),
            "{name}: {text}"
        );
        let found = image.lookup_in_file(text, version, abi.soname.expect("a soname"));
        assert_eq!(
            found.map(|found| found.index),
            Some(symbol.index),
            "{name}: {text}"
        );
        assert_eq!(
            image.lookup(text).map(|found| found.index),
            Some(symbol.index),
            "{name}"
        );
        let is_known = |name: &str| {
            abi.functions
                .iter()
                .any(|f| f.name == name && f.version == version)
        };
        assert!(
            is_known(text) || is_known(&format!("__vdso_{text}")),
            "{name}: {text} is not in the table"
        );
    }
    assert_eq!(check::check(image, Profile::Foreign), [], "{name}");
}

/// Asserts that the table promises nothing that a kernel with Debian's configuration lacks.
fn assert_is_all_of_the_table(path: &Path, image: &Image<'_>) {
    let abi = arch::of(image.header()).expect("an ABI");
    for function in abi.functions.iter().filter(|function| is_in_6_1(function)) {
        let found = image.lookup_version(function.name, function.version);
        assert!(
            found.is_some(),
            "{}: {} is missing",
            path.display(),
            function.name
        );
    }
}

/// Whether the table says that Linux 6.1, the oldest kernel that these tests meet, has a function.
fn is_in_6_1(function: &Function) -> bool {
    let number = |linux: &str| {
        let mut parts = linux.split('.').map(|part| part.parse().expect("a number"));
        [parts.next().unwrap_or(0), parts.next().unwrap_or(0)]
    };
    function.since.is_none_or(|since| number(since) <= [6, 1])
        && function.until.is_none_or(|until| number(until) > [6, 1])
}

#[test]
fn images_of_debians_kernels_read_as_readelf_reads_them() {
    for real in kernels::images() {
        assert_agrees(&real.path, &real.bytes);
        let image = Image::parse(&real.bytes).expect("an image");
        assert_lookups(&real.path, &image);
        assert_is_all_of_the_table(&real.path, &image);
    }
}

/// A program that waits until its input ends.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the program starts");
        // Its first byte says that exec is over.
        let mut byte = [0];
        let output = child.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(output, &mut byte).expect("the program runs");
        Self(child)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("the program ends");
    }
}

fn assert_process(waiting: &Waiting, directory: &Path) {
    let vdso = process::of(waiting.0.id()).expect("the process has a vDSO");
    assert_eq!(vdso.mapping.name, "[vdso]");
    assert!(!vdso.data.is_empty(), "the kernel's data pages");
    let image = vdso.image().expect("an image");
    let path = directory.join("dump.so");
    fs::write(&path, &vdso.bytes).expect("written");
    assert_agrees(&path, &vdso.bytes);
    assert_lookups(&path, &image);
}

#[test]
fn another_process_has_the_image_that_readelf_sees() {
    let directory = tempfile::tempdir().expect("a directory");
    let waiting = Waiting::start(Command::new("sh").args(["-c", "echo; read line"]));
    assert_process(&waiting, directory.path());
    // All processes of a kernel and ABI have the same image.
    let vdso = process::of(waiting.0.id()).expect("the process has a vDSO");
    let own = own::image().expect("this process has one").bytes();
    assert_eq!(&vdso.bytes[..own.len()], own);
}

#[test]
fn a_32_bit_process_has_the_image_that_readelf_sees() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: only x86-64 executes i386 programs");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("waits");
    let source = directory.path().join("waits.c");
    fs::write(
        &source,
        "#include <unistd.h>\nint main(void){char c=1;write(1,&c,1);read(0,&c,1);}",
    )
    .expect("written");
    let compile = || {
        Command::new("cc")
            .arg("-m32")
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .output()
    };
    let mut output = compile().expect("cc runs");
    if !output.status.success() {
        let install = [
            "install",
            "--yes",
            "--no-install-recommends",
            "gcc-12-multilib",
        ];
        let _ = Command::new("apt-get").args(install).output();
        output = compile().expect("cc runs");
    }
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        assert!(std::env::var("CI").is_err(), "cc -m32: {reason}");
        eprintln!("skipped: cc -m32: {reason}");
        return;
    }
    let waiting = Waiting::start(&mut Command::new(&program));
    let vdso = process::of(waiting.0.id()).expect("the process has a vDSO");
    let image = vdso.image().expect("an image");
    assert_eq!(arch::of(image.header()).map(|abi| abi.name), Some("i386"));
    assert_process(&waiting, directory.path());
}

#[test]
fn an_unreadable_process_is_refused_with_the_reason() {
    let pid = std::process::id();
    let message = process::at(pid, 8).expect_err("the null page").to_string();
    assert_eq!(message, format!("process {pid} has nothing mapped at 0x8"));
    // The kernel's process numbers end at 2^22.
    let message = process::of(u32::MAX)
        .expect_err("no such process")
        .to_string();
    assert_eq!(message, format!("can't read /proc/{}/auxv", u32::MAX));
}
