//! The kernel's command line: options, `--`, and the first program with its arguments.

use crate::task::Denied;
use alloc::string::String;
use alloc::vec::Vec;

/// What the command line sets.
#[derive(Debug)]
pub struct Options {
    /// `cpus=N`: how many CPUs to use at most.
    pub cpus: Option<usize>,
    /// `vdso=off`, `vdso=old`: what an older kernel has.
    pub age: Age,
    /// `without=clock,random,socket`: what the first program and all others are denied.
    pub denied: Denied,
    /// `count`: how often each system call was made is printed at the end.
    pub count: bool,
    /// The first program and its arguments; a shell when there is none.
    pub command: Vec<String>,
}

/// How old the kernel is, as far as its vDSO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Without one.
    Oldest,
    /// With the functions of Linux 6.1.
    Older,
    /// With all functions.
    Present,
}

impl Options {
    /// Reads a command line, whose words are quoted as in a shell.
    ///
    /// # Panics
    /// For an option that does not exist.
    pub fn parse(line: &str) -> Self {
        let mut options = Self {
            cpus: None,
            age: Age::Present,
            denied: Denied::default(),
            count: false,
            command: Vec::new(),
        };
        let words = shlex::split(line).expect("the command line has an open quote");
        let mut words = words.into_iter();
        for word in words.by_ref().take_while(|word| word != "--") {
            match word.split_once('=').unwrap_or((&word, "")) {
                ("cpus", number) => options.cpus = number.parse().ok(),
                ("vdso", "off") => options.age = Age::Oldest,
                ("vdso", "old") => options.age = Age::Older,
                ("without", names) => {
                    for name in names.split(',') {
                        let denied = Denied::named(name);
                        let denied = denied
                            .unwrap_or_else(|| panic!("no calls can be denied by the name {name}"));
                        options.denied |= denied;
                    }
                }
                ("count", "") => options.count = true,
                _ => panic!("the command line has an unknown option: {word}"),
            }
        }
        options.command = words.collect();
        if options.command.is_empty() {
            options.command.push("sh".into());
        }
        options
    }
}
