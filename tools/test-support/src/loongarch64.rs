//! A program for LoongArch under qemu-user, which calls functions for a test.
//!
//! Debian 12 has no compiler for the architecture, so the program is machine code that is written here.
//! It calls what it is sent: an address and the arguments. The rest is system calls, which it makes on
//! request too.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use tempfile::TempDir;
use vdsokit_lab::debian;

const EMULATOR: &str = "qemu-loongarch64-static";

/// The page size of the emulator, to which mappings are aligned.
pub const PAGE: usize = 0x4000;

/// Numbers of system calls (asm-generic/unistd.h).
pub mod call {
    /// openat(2)
    pub const OPENAT: u64 = 56;
    /// kill(2)
    pub const KILL: u64 = 129;
    /// `rt_sigaction`: sigaction(2) with the size of the kernel's set of signals.
    pub const RT_SIGACTION: u64 = 134;
    /// mmap(2)
    pub const MMAP: u64 = 222;
}

/// Where the program lies.
const BASE: u64 = 0x1_2000_0000;
const HEADERS: u64 = 64 + 56;
/// The words of a request: the address of a function, and a0 to a6.
const REQUEST: usize = 8;
/// The words of an answer: a0, fa0, and the counter before and after the call.
const ANSWER: usize = 4;

/// Memory that the program and the test share.
pub const SHARED: u64 = 0x1_4000_0000;
/// Its bytes.
pub const SHARED_SIZE: usize = 0x10_0000;

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
    pub(super) const A6: u32 = 10;
    pub(super) const A7: u32 = 11;
    pub(super) const T0: u32 = 12;
    pub(super) const S0: u32 = 23;
    pub(super) const S1: u32 = 24;
    pub(super) const S2: u32 = 25;
}

/// `addi.d`
fn add(to: u32, from: u32, immediate: i32) -> u32 {
    0x02c0_0000 | (immediate as u32 & 0xfff) << 10 | from << 5 | to
}

fn set(register: u32, number: i32) -> u32 {
    add(register, register::ZERO, number)
}

fn copy(to: u32, from: u32) -> u32 {
    add(to, from, 0)
}

/// `lu12i.w`: `number` times 4096.
fn set_upper(register: u32, number: u32) -> u32 {
    0x1400_0000 | number << 5 | register
}

/// `slli.d`
fn shift_left(register: u32, bits: u32) -> u32 {
    0x0041_0000 | bits << 10 | register << 5 | register
}

/// `ld.d`
fn load(to: u32, base: u32, offset: u32) -> u32 {
    0x28c0_0000 | offset << 10 | base << 5 | to
}

/// `st.d`
fn store(from: u32, base: u32, offset: u32) -> u32 {
    0x29c0_0000 | offset << 10 | base << 5 | from
}

/// `fst.d` of fa0.
fn store_float(base: u32, offset: u32) -> u32 {
    0x2bc0_0000 | offset << 10 | base << 5
}

/// `rdtime.d` without the counter's id.
fn read_counter(to: u32) -> u32 {
    0x0000_6800 | to
}

/// `jirl`
fn jump(link: u32, to: u32) -> u32 {
    0x4c00_0000 | to << 5 | link
}

/// `bne`, by that many instructions.
fn branch_unequal(left: u32, right: u32, distance: i32) -> u32 {
    0x5c00_0000 | (distance as u32 & 0xffff) << 10 | left << 5 | right
}

const SYSCALL: u32 = 0x002b_0000;

/// The instructions of `program SHARED`, which maps the file and reads requests from its standard input
/// until that ends; and the place among them of a function that makes the system call with the number in
/// a6.
fn instructions() -> (Vec<u32>, usize) {
    use register::*;
    let (request, answer) = (REQUEST as i32 * 8, ANSWER as i32 * 8);
    let mut code = vec![
        load(A1, SP, 16), // argv[1]
        set(A0, -100),    // AT_FDCWD
        set(A2, 2),       // O_RDWR
        set(A7, call::OPENAT as i32),
        SYSCALL,
        copy(A4, A0),
        set(A0, (SHARED >> 28) as i32),
        shift_left(A0, 28),
        set_upper(A1, SHARED_SIZE as u32 >> 12),
        set(A2, 3),    // PROT_READ | PROT_WRITE
        set(A3, 0x11), // MAP_SHARED | MAP_FIXED
        set(A5, 0),
        set(A7, call::MMAP as i32),
        SYSCALL,
        add(SP, SP, -request),
    ];
    let next = code.len();
    code.extend([
        set(A0, 0),
        copy(A1, SP),
        set(A2, request),
        set(A7, 63), // read
        SYSCALL,
        set(T0, request),
    ]);
    let ended = code.len();
    code.push(0); // to the end
    code.push(load(S0, SP, 0));
    code.extend((0..7).map(|argument| load(A0 + argument, SP, 8 + argument * 8)));
    code.extend([
        read_counter(S1),
        jump(RA, S0),
        read_counter(S2),
        store(A0, SP, 0),
        store_float(SP, 8),
        store(S1, SP, 16),
        store(S2, SP, 24),
        set(A0, 1),
        copy(A1, SP),
        set(A2, answer),
        set(A7, 64), // write
        SYSCALL,
    ]);
    let distance = |from: usize, to: usize| to as i32 - from as i32;
    code.push(branch_unequal(SP, ZERO, distance(code.len(), next)));
    code[ended] = branch_unequal(A0, T0, distance(ended, code.len()));
    code.extend([
        // The read's result: 0 at the end of the input.
        set(A7, 94), // exit_group
        SYSCALL,
    ]);
    let system_call = code.len();
    code.extend([copy(A7, A6), SYSCALL, jump(ZERO, RA)]);
    (code, system_call)
}

/// A static executable of these instructions.
fn executable(code: &[u32]) -> Vec<u8> {
    let size = HEADERS + code.len() as u64 * 4;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    file.resize(16, 0);
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let double = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    half(&mut file, 2); // ET_EXEC
    half(&mut file, 258); // EM_LOONGARCH
    word(&mut file, 1);
    double(&mut file, BASE + HEADERS);
    double(&mut file, 64); // e_phoff
    double(&mut file, 0); // e_shoff
    word(&mut file, 0x43); // e_flags: lp64d
    for value in [64, 56, 1, 0, 0, 0] {
        half(&mut file, value);
    }
    word(&mut file, 1); // PT_LOAD
    word(&mut file, 5); // PF_R | PF_X
    for value in [0, BASE, BASE, size, size, 0x10000] {
        double(&mut file, value);
    }
    let bytes = code.iter().flat_map(|one| one.to_le_bytes());
    file.extend(bytes);
    file
}

/// What a function left.
#[derive(Clone, Copy, Debug)]
pub struct Returned {
    /// a0.
    pub integer: u64,
    /// The bits of fa0.
    pub float: u64,
    /// The counter before the call.
    pub before: u64,
    /// The counter after it.
    pub after: u64,
}

/// The program, running.
#[derive(Debug)]
pub struct Program {
    child: Child,
    requests: Option<ChildStdin>,
    answers: ChildStdout,
    shared: File,
    system_call: u64,
    _directory: TempDir,
}

impl Program {
    /// Starts it; the emulator is installed where it is missing.
    ///
    /// # Panics
    /// When there is no emulator, or the program does not start.
    #[must_use]
    pub fn start() -> Self {
        prepare();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (program, shared) = (
            directory.path().join("program"),
            directory.path().join("shared"),
        );
        let (code, system_call) = instructions();
        fs::write(&program, executable(&code)).expect("the program can be written");
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("its mode can be set");
        let memory = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&shared)
            .expect("a file can be made");
        memory
            .set_len(SHARED_SIZE as u64)
            .expect("its length can be set");
        let mut child = Command::new(EMULATOR)
            .args([&program, &shared])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{EMULATOR}: {error}"));
        Self {
            requests: child.stdin.take(),
            answers: child.stdout.take().expect("a pipe"),
            child,
            shared: memory,
            system_call: BASE + HEADERS + system_call as u64 * 4,
            _directory: directory,
        }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Calls the function at an address, with up to seven arguments.
    ///
    /// # Panics
    /// When the program has ended.
    pub fn call(&mut self, function: u64, arguments: &[u64]) -> Returned {
        let mut words = [0; REQUEST];
        words[0] = function;
        words[1..=arguments.len()].copy_from_slice(arguments);
        let request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut requests = self.requests.as_ref().expect("it runs until it is dropped");
        // At once, as the program reads it: a pipe takes that many bytes as a whole (pipe(7)).
        requests.write_all(&request).expect("the program runs");
        let mut answer = [[0; 8]; ANSWER];
        self.answers
            .read_exact(answer.as_flattened_mut())
            .expect("the program answers");
        let [integer, float, before, after] = answer.map(u64::from_le_bytes);
        Returned {
            integer,
            float,
            before,
            after,
        }
    }

    /// Makes a system call with up to six arguments.
    ///
    /// # Panics
    /// When the program has ended.
    pub fn system_call(&mut self, number: u64, arguments: &[u64]) -> i64 {
        let mut all = [0; 7];
        all[..arguments.len()].copy_from_slice(arguments);
        all[6] = number;
        self.call(self.system_call, &all).integer.cast_signed()
    }

    /// Writes at an offset of the shared memory.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let written = self.shared.write_all_at(bytes, offset as u64);
        written.expect("the shared memory can be written");
    }

    /// Reads `N` bytes at an offset of the shared memory.
    ///
    /// # Panics
    /// When that fails.
    pub fn read<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        let read = self.shared.read_exact_at(&mut bytes, offset as u64);
        read.expect("the shared memory can be read");
        bytes
    }

    /// Reads words of 8 bytes at an offset of the shared memory.
    ///
    /// # Panics
    /// When that fails.
    pub fn words<const N: usize>(&self, offset: usize) -> [u64; N] {
        std::array::from_fn(|index| u64::from_le_bytes(self.read(offset + index * 8)))
    }

    /// Maps a file from its start: `length` bytes, readable and executable, shared, at an address or, for
    /// 0, anywhere. Returns where.
    ///
    /// # Panics
    /// When the program can't.
    pub fn map(&mut self, file: &Path, at: u64, length: usize) -> u64 {
        let mut path = file.as_os_str().as_bytes().to_vec();
        path.push(0);
        self.write(0, &path);
        const AT_FDCWD: i64 = -100;
        let directory = AT_FDCWD.cast_unsigned();
        let opened = self.system_call(call::OPENAT, &[directory, SHARED, 0]);
        assert!(opened >= 0, "{}: error {opened}", file.display());
        // MAP_SHARED, and MAP_FIXED.
        let flags = if at == 0 { 1 } else { 0x11 };
        // PROT_READ | PROT_EXEC
        let arguments = [at, length as u64, 5, flags, opened.cast_unsigned(), 0];
        let mapped = self.system_call(call::MMAP, &arguments);
        assert!(mapped > 0, "{}: error {mapped}", file.display());
        mapped.cast_unsigned()
    }

    /// Ends the program.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn end(mut self) {
        drop(self.requests.take());
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "{EMULATOR}: {status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A program that has ended already, and one whose test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs the emulator where it is missing.
fn prepare() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let mut command = Command::new(EMULATOR);
    command.arg("--version").stdout(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        debian::install("a LoongArch emulator", &["qemu-user-static"])
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
