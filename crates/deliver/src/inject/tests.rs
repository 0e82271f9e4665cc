//! Changes of programs in their exec stop, and launches.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use super::*;
use crate::link::Link;
use crate::stop::Stop;
use crate::sys::Resume;

/// A process in the exec stop of `program`, whose tracer is this thread.
fn executed(program: &str) -> Child {
    let mut child = Command::new("sh")
        .args(["-c", &format!("echo ready; read line; exec {program}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    // Its own exec is over then, and not what will be reported.
    let output = child.stdout.as_mut().expect("a pipe");
    output.read_exact(&mut [0; 6]).expect("it is ready");
    let pid = child.id() as Pid;
    sys::seize(pid, libc::PTRACE_O_TRACEEXEC).expect("a child may be traced");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"\nas it was").expect("it listens");
    loop {
        let (_, status) = sys::wait(pid).expect("a child").expect("it is there");
        match Stop::decode(status) {
            Stop::Executed => return child,
            Stop::Ended => panic!("it ended"),
            _ => sys::resume(pid, Resume::Continue, 0).expect("it goes on"),
        }
    }
}

/// An object without links, and one whose only link is led to `link`.
fn object(link: Option<&str>) -> Object {
    let mut object = Object::join(Vec::new()).expect("an object of nothing");
    object.links.extend(link.map(|name| Link {
        // The last word of the image's page.
        word: PAGE - 8,
        name: name.to_owned(),
        version: "LINUX_2.6".to_owned(),
        own: None,
    }));
    object
}

/// The memory map of a program that is launched with `object` and let go at once.
fn launched(object: Object) -> String {
    let child = executed("cat - /proc/self/maps");
    let pid = child.id() as Pid;
    let mut injector = Injector::new(object);
    let (start, memory) = injector.look(pid).expect("a program that can be served");
    let launched = injector.launch(pid, &start, &memory);
    assert!(launched.expect("a launch"), "the kernel's vDSO has room");
    sys::resume(pid, Resume::Detach, 0).expect("it goes on");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    let (input, maps) = said.split_at("as it was".len());
    assert!(output.status.success() && input == "as it was", "{said}");
    assert!(maps.contains("[vdso]"), "{maps}");
    maps.to_owned()
}

#[test]
fn a_launched_program_gets_the_object_without_its_tracer() {
    let maps = launched(object(Some("__vdso_time")));
    let ours = |line: &&str| line.contains("/memfd:vdso") && line.contains(" r-xp ");
    assert_eq!(maps.lines().filter(ours).count(), 1, "{maps}");
}

#[test]
fn a_launched_program_gets_an_object_at_a_fixed_address_without_its_tracer() {
    let object = object(Some("__vdso_time"));
    let (object, gate) = object.with_gate();
    let start = gate.start();
    let maps = launched(object);
    let mut lines = maps.lines();
    let holds = |line: &str| proc::ranges(line).any(|range| range.contains(&start));
    let line = lines.find(|line| holds(line)).expect("its gate");
    assert!(
        line.contains("/memfd:vdso") && line.contains(" r-xp "),
        "{maps}"
    );
}

#[test]
fn a_function_that_only_the_kernel_has_stays_callable() {
    // The program itself, where `python3` is a script that looks for it.
    let mut find = Command::new("python3");
    let found = find
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    let python = String::from_utf8(found.expect("python3").stdout).expect("a path");
    let python = python.trim();
    let script = "import ctypes; invented = ctypes.CDLL(\"linux-vdso.so.1\")[\"__vdso_tame\"]; \
                  invented.restype = ctypes.c_long; print(invented(None))";
    let child = executed(&format!("{python} -c '{script}'"));
    let pid = child.id() as Pid;
    let memory = Memory::open(pid).expect("its memory");
    let (registers, _) = sys::registers(pid).expect("its registers");
    let found =
        auxiliary(&memory, arch::stack_pointer(&registers), Width::Eight).expect("its stack");
    let (_, vdso) = found.vdso.expect("the kernel's vDSO");
    // A kernel of another time: one of its functions has an unknown name.
    let mut bytes = vec![0; PAGE as usize];
    memory.read_exact(vdso, &mut bytes).expect("its vDSO");
    let mut places = bytes.windows(12).enumerate();
    let place = places.find(|(_, window)| *window == b"__vdso_time\0");
    let place = place.expect("a name in its string table").0;
    memory
        .write(vdso + place as u64 + 8, b"a")
        .expect("another name");
    let mut injector = Injector::new(object(None));
    let (start, memory) = injector.look(pid).expect("a program that can be served");
    assert!(injector.launch(pid, &start, &memory).expect("a launch"));
    sys::resume(pid, Resume::Detach, 0).expect("it goes on");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    let second: u64 = said.trim().parse().unwrap_or_else(|_| panic!("{output:?}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    assert!(
        now.is_ok_and(|now| now.as_secs().abs_diff(second) < 100),
        "{second}"
    );
}

/// A program in its exec stop that makes calls for this thread.
struct Visited {
    child: Child,
    visit: Visit,
    kernel: KernelVdso,
    start: Start,
}

impl Visited {
    fn new(object: &Object) -> Self {
        let child = executed("cat");
        let pid = child.id() as Pid;
        let memory = Memory::open(pid).expect("its memory");
        let (registers, _) = sys::registers(pid).expect("its registers");
        let stack_pointer = arch::stack_pointer(&registers);
        let found = auxiliary(&memory, stack_pointer, Width::Eight).expect("its stack");
        let (slot, vdso) = found.vdso.expect("the kernel's vDSO");
        let mut kernel = KernelVdso::read(pid, &memory, vdso).expect("readable");
        kernel.resolve(&object.links);
        let vector = found.vector.start as u64..found.vector.end as u64;
        let vector = stack_pointer + vector.start..stack_pointer + vector.end;
        let saved = proc::memory_map(pid, vector).expect("its memory");
        let blocked = sys::blocked(pid).expect("its signal mask");
        sys::set_blocked(pid, u64::MAX).expect("its signal mask");
        Self {
            child,
            visit: Visit {
                pid,
                memory,
                registers,
                home: vdso,
                scratch_end: stack_pointer - arch::RED_ZONE,
                blocked,
                signals: Vec::new(),
            },
            kernel,
            start: Start {
                registers,
                slot: stack_pointer + slot as u64,
                vdso,
                saved,
                is_filtered: false,
                is_valgrind: false,
                is_i386: false,
            },
        }
    }

    /// The address of a vDSO in its auxiliary vector.
    fn named(&self) -> u64 {
        let mut named = [0; 8];
        let read = self.visit.memory.read_exact(self.start.slot, &mut named);
        read.expect("its stack");
        u64::from_ne_bytes(named)
    }

    /// What lies where the kernel's vDSO is.
    fn text(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.kernel.bytes().len()];
        let read = self.visit.memory.read_exact(self.start.vdso, &mut bytes);
        read.expect("there");
        bytes
    }

    /// Lets the program begin, which has to run as it would have.
    fn begin(mut self) {
        arch::leave_syscall(&mut self.visit.registers);
        self.visit.restore().expect("its registers");
        sys::resume(self.visit.pid, Resume::Detach, 0).expect("it goes on");
        let output = self.child.wait_with_output().expect("it ends");
        assert_eq!(output.stdout, b"as it was", "{output:?}");
    }
}

/// A kernel that seals its mappings at exec permits to unmap none of them.
#[test]
fn a_sealed_vdso_stays_mapped_beside_the_object() {
    let object = object(None);
    let mut visited = Visited::new(&object);
    let Visited {
        visit,
        kernel,
        start,
        ..
    } = &mut visited;
    // The program seals it itself, as the kernel would have: mseal(2), since Linux 6.10.
    const MSEAL: u64 = 462;
    visit
        .memory
        .write(start.vdso, arch::stub())
        .expect("the stub");
    let length = kernel.bytes().len() as u64;
    // The end of execve writes its result over the first call's number.
    let _ = visit.call(MSEAL, [u64::MAX, 0, 0, 0, 0, 0]);
    let sealed = visit.call(MSEAL, [start.vdso, length, 0, 0, 0, 0]);
    if !matches!(sealed, Err(StubError::Refused(libc::ENOSYS))) {
        sealed.expect("it seals its vDSO");
        assert!(vdsokit_elf::process::is_sealed(visit.pid as u32).expect("its mappings"));
    }
    let address = put(visit, &object, kernel, start).expect("a change");
    assert_eq!(visited.named(), address);
    assert_eq!(visited.text(), visited.kernel.bytes(), "without the stub");
    visited.begin();
}

#[test]
fn a_change_that_fails_at_its_end_leaves_the_program_as_it_was() {
    for link in [None, Some("__vdso_time")] {
        let object = object(link);
        let mut visited = Visited::new(&object);
        let pid = visited.visit.pid;
        let maps = || fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
        let auxv = || fs::read(format!("/proc/{pid}/auxv")).expect("its vector");
        let (before, auxv_before) = (maps(), auxv());
        let put = |visited: &mut Visited| {
            let Visited {
                visit,
                kernel,
                start,
                ..
            } = visited;
            put(visit, &object, kernel, start)
        };
        // Nothing is mapped in the first page.
        let slot = std::mem::replace(&mut visited.start.slot, 8);
        let failed = put(&mut visited);
        assert!(
            matches!(failed, Err(Failure::Unserved(Unserved::Access(_)))),
            "{failed:?}"
        );
        assert_eq!(maps(), before);
        assert_eq!(auxv(), auxv_before);
        assert_eq!(visited.text(), visited.kernel.bytes());
        // And it is fit for a change that succeeds.
        visited.start.slot = slot;
        let address = put(&mut visited).expect("a change");
        assert_eq!(visited.text(), visited.kernel.bytes());
        assert!(auxv().windows(8).any(|word| word == address.to_ne_bytes()));
        assert_eq!(visited.named(), address);
        visited.begin();
    }
}
