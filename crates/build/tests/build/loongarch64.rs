//! The same for LoongArch, under qemu-user. Debian 12 has no compiler for it, so the program is written
//! here, in machine code: it maps the image's file and calls functions whose offsets it is sent.

use crate::support::probe::{Reader, live};
use crate::support::{built, declaration};
use object::elf;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use vdsokit_build::{Architecture, CrateError, Declaration, build_crate};
use vdsokit_elf::Image;
use vdsokit_lab::debian;

const EMULATOR: &str = "qemu-loongarch64-static";

/// Installs the emulator where it is missing.
fn prepare() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let mut command = Command::new(EMULATOR);
    command.arg("--version").stdout(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        debian::install("a LoongArch emulator", &["qemu-user-static"]).unwrap();
    }
}

/// Bytes that a function can write to, all [`FILL`] before the call: more than a value has.
const BUFFER: usize = 0x12000;
const FILL: u8 = 0xee;

/// Where the program lies.
const BASE: u64 = 0x1_2000_0000;
const HEADERS: u64 = 64 + 56;

/// Numbers of registers.
mod register {
    pub(super) const ZERO: u32 = 0;
    pub(super) const RA: u32 = 1;
    pub(super) const SP: u32 = 3;
    pub(super) const A0: u32 = 4;
    pub(super) const A1: u32 = 5;
    pub(super) const A2: u32 = 6;
    pub(super) const A3: u32 = 7;
    pub(super) const A4: u32 = 8;
    pub(super) const A5: u32 = 9;
    pub(super) const A7: u32 = 11;
    pub(super) const T0: u32 = 12;
    pub(super) const T1: u32 = 13;
    pub(super) const T2: u32 = 14;
    pub(super) const S0: u32 = 23;
    pub(super) const S1: u32 = 24;
    pub(super) const S2: u32 = 25;
    pub(super) const S3: u32 = 26;
}

fn add_immediate(to: u32, from: u32, immediate: i32) -> u32 {
    0x02c0_0000 | (immediate as u32 & 0xfff) << 10 | from << 5 | to
}

fn set(register: u32, number: i32) -> u32 {
    add_immediate(register, register::ZERO, number)
}

fn add(to: u32, left: u32, right: u32) -> u32 {
    0x0010_8000 | right << 10 | left << 5 | to
}

fn subtract(to: u32, left: u32, right: u32) -> u32 {
    0x0011_8000 | right << 10 | left << 5 | to
}

/// `lu12i.w`: `number` times 4096.
fn set_upper(register: u32, number: u32) -> u32 {
    0x1400_0000 | number << 5 | register
}

/// `ld.d`
fn load(to: u32, base: u32, offset: u32) -> u32 {
    0x28c0_0000 | offset << 10 | base << 5 | to
}

/// `bne`, by that many instructions.
fn branch_unequal(left: u32, right: u32, distance: i32) -> u32 {
    0x5c00_0000 | (distance as u32 & 0xffff) << 10 | left << 5 | right
}

const SYSCALL: u32 = 0x002b_0000;

/// `program IMAGE`: maps the file and, for each offset of eight bytes that it reads from its standard
/// input, calls the function there with a pointer to the buffer, and writes a0, fa0 and the buffer.
/// Numbers of system calls: asm-generic/unistd.h.
fn program() -> Vec<u8> {
    use register::*;
    let mut code = vec![
        load(A1, SP, 16), // argv[1]
        set(A0, -100),    // AT_FDCWD
        set(A2, 0),       // O_RDONLY
        set(A7, 56),      // openat
        SYSCALL,
        add_immediate(A4, A0, 0),
        set(A0, 0),
        set_upper(A1, 0x1000), // 16 MiB, more than the file
        set(A2, 5),            // PROT_READ | PROT_EXEC
        set(A3, 1),            // MAP_SHARED
        set(A5, 0),
        set(A7, 222), // mmap
        SYSCALL,
        add_immediate(S0, A0, 0),
        // The buffer, and below it a0 and fa0.
        set_upper(T0, BUFFER as u32 >> 12),
        add_immediate(S1, SP, 0),
        subtract(SP, SP, T0),
        add_immediate(SP, SP, -16),
    ];
    let next = code.len();
    code.extend([
        set(A0, 0),
        add_immediate(A1, SP, 0),
        set(A2, 8),
        set(A7, 63), // read
        SYSCALL,
        set(T0, 8),
    ]);
    let ended = code.len();
    code.extend([
        0, // to the end
        load(S2, SP, 0),
        add(S2, S2, S0),
        set_upper(T1, 0xeeeee),
        0x0380_0000 | 0xeee << 10 | T1 << 5 | T1, // ori t1, t1, 0xeee
        add_immediate(T2, SP, 0),
        0x2980_0000 | T2 << 5 | T1, // st.w t1, t2, 0
        add_immediate(T2, T2, 4),
        branch_unequal(T2, S1, -2),
        add_immediate(A0, SP, 16),
        0x4c00_0000 | S2 << 5 | RA,      // jirl ra, s2, 0
        0x29c0_0000 | SP << 5 | A0,      // st.d a0, sp, 0
        0x2bc0_0000 | 8 << 10 | SP << 5, // fst.d fa0, sp, 8
        add_immediate(S3, SP, 0),
    ]);
    let write = code.len();
    code.extend([
        set(A0, 1),
        add_immediate(A1, S3, 0),
        subtract(A2, S1, S3),
        set(A7, 64), // write
        SYSCALL,
        add(S3, S3, A0),
    ]);
    let back = |from: usize, to: usize| to as i32 - from as i32;
    code.push(branch_unequal(S3, S1, back(code.len(), write)));
    code.push(branch_unequal(SP, ZERO, back(code.len(), next)));
    code[ended] = branch_unequal(A0, T0, back(ended, code.len()));
    code.extend([
        // The read's result: 0 at the end of the input.
        set(A7, 94), // exit_group
        SYSCALL,
    ]);
    executable(&code)
}

/// A static executable of these instructions.
fn executable(code: &[u32]) -> Vec<u8> {
    let size = HEADERS + code.len() as u64 * 4;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let double = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    half(&mut file, elf::ET_EXEC.0);
    half(&mut file, elf::EM_LOONGARCH.0);
    word(&mut file, 1);
    double(&mut file, BASE + HEADERS);
    double(&mut file, 64); // e_phoff
    double(&mut file, 0); // e_shoff
    word(&mut file, 0x43); // e_flags: lp64d
    for value in [64, 56, 1, 0, 0, 0] {
        half(&mut file, value);
    }
    word(&mut file, elf::PT_LOAD.0);
    word(&mut file, (elf::PF_R | elf::PF_X).0);
    for value in [0, BASE, BASE, size, size, 0x10000] {
        double(&mut file, value);
    }
    file.extend(
        code.iter()
            .flat_map(|instruction| instruction.to_le_bytes()),
    );
    file
}

/// What a function left.
pub(crate) struct Returned {
    /// a0.
    pub(crate) integer: u64,
    /// The bits of fa0.
    float: u64,
    buffer: Vec<u8>,
}

/// The program, running.
pub(crate) struct Caller {
    child: Child,
    requests: ChildStdin,
    answers: ChildStdout,
    image: Vec<u8>,
    _directory: tempfile::TempDir,
}

impl Caller {
    pub(crate) fn start(image: &Path) -> Self {
        prepare();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        std::fs::write(&path, program()).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(EMULATOR)
            .arg(path)
            .arg(image)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            requests: child.stdin.take().unwrap(),
            answers: child.stdout.take().unwrap(),
            child,
            image: std::fs::read(image).unwrap(),
            _directory: directory,
        }
    }

    /// Calls a function of the image by its name.
    pub(crate) fn call(&mut self, name: &str) -> Returned {
        let image = Image::parse(&self.image).unwrap();
        let function = image.symbols().find(|symbol| symbol.name() == name);
        // One mapping of the file from its start has every segment in its place.
        let mut loaded = image.segments().filter(|one| one.is_load());
        let first = loaded.next().unwrap();
        assert_eq!(first.offset, 0);
        assert!(loaded.all(|one| one.vaddr - first.vaddr == one.offset));
        let offset = function.unwrap().value - first.vaddr;
        self.requests.write_all(&offset.to_le_bytes()).unwrap();
        let mut bytes = vec![0; 16 + BUFFER];
        self.answers.read_exact(&mut bytes).unwrap();
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        Returned {
            integer: word(0),
            float: word(8),
            buffer: bytes.split_off(16),
        }
    }

    /// Ends the program, which has to succeed.
    pub(crate) fn end(mut self) {
        drop(self.requests);
        assert!(self.child.wait().unwrap().success());
    }
}

/// The reader of [`declaration`]'s variables.
struct Variables<'d> {
    declaration: &'d Declaration,
    caller: Caller,
}

impl Reader for Variables<'_> {
    fn expect(&mut self, values: &[(String, bool, Vec<u8>)], state: u32, updated: u64) {
        let prefix = self.declaration.prefix();
        for (name, latched, value) in values {
            let returned = self.caller.call(&format!("{prefix}{name}"));
            let size = value.len();
            let written = if *latched {
                // The ABI extends also numbers without a sign by their bit 31.
                assert_eq!(returned.integer, state as i32 as u64, "{name}");
                assert_eq!(&returned.buffer[..size], value, "{name}");
                size
            } else {
                let result = match name.as_str() {
                    "an_f32" | "an_f64" => returned.float,
                    _ => returned.integer,
                };
                assert_eq!(&result.to_le_bytes()[..size], value, "{name}");
                0
            };
            // No byte behind the value is written.
            let behind = &returned.buffer[written..];
            assert!(behind.iter().all(|byte| *byte == FILL), "{name}");
        }
        let header = |caller: &mut Caller, name| caller.call(&format!("{prefix}{name}")).integer;
        assert_eq!(header(&mut self.caller, "state") as u32, state);
        assert_eq!(header(&mut self.caller, "updated"), updated);
    }

    fn end(self) {
        self.caller.end();
    }
}

#[test]
fn called_by_a_program_that_maps_the_image() {
    let declaration = declaration("every-type.toml");
    let (_directory, image) = built(&declaration, Architecture::Loongarch64);
    let reader = Variables {
        declaration: &declaration,
        caller: Caller::start(&image),
    };
    live(&declaration, &image, reader);
}

#[test]
fn crates_are_refused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/beast");
    let error = build_crate(&directory, Architecture::Loongarch64).unwrap_err();
    assert!(
        matches!(error, CrateError::DeclarationsOnly { .. }),
        "{error}"
    );
}
