//! Publishing from a real kernel: runs in the lab, which has one that allows it.
//! The table of checks in tools/lab/src/checks/publisher.rs names each of these tests.
#![allow(
    unsafe_code,
    reason = "the tests try what must be refused, mapping the pages for writing, and call what \
              has no safe wrapper"
)]

mod access;
mod figures;
mod life;
mod refusals;
mod soak;
mod values;

use std::sync::OnceLock;
use std::time::{Duration, Instant};
use vdsokit_bpf::{Content, Hook, Kernel, KernelVariable, Machine, Publisher, pages_of};
use vdsokit_vvar::header::{Header, State};
use vdsokit_vvar::latch::Latch;
use vdsokit_vvar::layout::{Cursor, Hash, Shape, Type};
use vdsokit_vvar::pages::Pages;
use vdsokit_vvar::scalar::Scalar;

/// Stale after a second.
const STALE: u64 = 1_000_000_000;

/// Pages and variables, as the declaration of an image would lay them out.
struct Layout<'k> {
    kernel: &'k Kernel,
    cursor: Cursor,
    hash: Hash,
    variables: Vec<KernelVariable>,
}

impl<'k> Layout<'k> {
    fn new(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            cursor: Cursor::PAGES,
            hash: Hash::EMPTY,
            variables: Vec::new(),
        }
    }

    /// Adds a variable; returns its offset.
    fn add(&mut self, name: &str, expression: &str, events: &[Hook]) -> usize {
        let value = self.kernel.resolve(expression, &Hook::Tick).unwrap();
        let shape = Shape::Plain(value.ty);
        let offset = self.cursor.variable(&shape);
        self.hash = self.hash.variable(name, &shape, offset);
        let variable = KernelVariable::plain(name, offset, value).after(events);
        self.variables.push(variable);
        offset
    }

    /// Adds u64 values that are read together.
    fn add_record(&mut self, name: &str, expressions: &[&str]) -> usize {
        let size = 8 * expressions.len();
        let offset = self.cursor.place(vdsokit_vvar::latch::size_of(size), 64);
        let parts = expressions
            .iter()
            .enumerate()
            .map(|(n, expression)| (8 * n, self.kernel.resolve(expression, &Hook::Tick).unwrap()));
        self.variables.push(KernelVariable {
            name: name.into(),
            offset,
            content: Content::Latch {
                size,
                parts: parts.collect(),
            },
            events: Vec::new(),
        });
        offset
    }

    fn image(&self) -> Vec<u8> {
        let size = self.cursor.end();
        let count = self.variables.len() as u32;
        let header = Header::new(self.hash.get(), count, size as u32);
        pages_of(&header, STALE, &vec![0; size - vdsokit_vvar::header::SIZE])
    }

    fn start(&self) -> Publisher {
        let result = Publisher::start(self.kernel, &self.image(), &self.variables, Machine::THIS);
        result.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The running kernel, looked at once: under emulation it takes seconds.
fn kernel() -> &'static Kernel {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get_or_init(|| Kernel::running().unwrap())
}

/// Waits until something is so. It is, sooner or later, or the lab ends the test.
fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

/// Waits until the kernel has copied everything once more, from start to end.
fn next_tick(pages: Pages<'_>) {
    for _ in 0..2 {
        let before = pages.header().updated();
        until(|| pages.header().updated() != before);
    }
}

fn until_live(pages: Pages<'_>) {
    until(|| pages.header().state() == State::Live);
}

fn load<T: Scalar>(pages: Pages<'_>, offset: usize) -> T {
    T::load(pages.scalar::<T>(offset).unwrap())
}

/// All words of a latch.
fn words(latch: Latch<'_>) -> Vec<u64> {
    latch.read(|copy| (0..latch.words()).map(|n| copy.word(n)).collect())
}

/// A text of the size that BTF gives it.
fn text(pages: Pages<'_>, offset: usize, ty: Type) -> String {
    let words = words(pages.latch(offset, ty.size()).unwrap());
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|&byte| byte == 0).unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

/// The words of the first line in a file of /proc that begins with `first`.
fn proc_line(path: &str, first: &str) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with(first)).unwrap();
    line.split_ascii_whitespace().map(str::to_owned).collect()
}

fn proc_number(path: &str, first: &str) -> u64 {
    proc_line(path, first)[1].parse().unwrap()
}

/// How long something takes, as the best of several rounds.
fn best(rounds: u32, turns: u32, mut what: impl FnMut()) -> Duration {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..turns {
            what();
        }
        start.elapsed() / turns
    };
    (0..rounds).map(round).min().unwrap()
}
