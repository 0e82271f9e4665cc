//! Everything that can keep a kernel variable from being published.

use crate::privileges::Obstacle;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The kernel doesn't describe its types.
    #[error("this kernel's types are not to be had: {}", path.display())]
    #[diagnostic(help(
        "a kernel built with CONFIG_DEBUG_INFO_BTF=y and a mounted /sys are needed; `vdso serve \
         system` publishes the values of /proc without either"
    ))]
    NoBtf {
        /// Where they should be.
        path: PathBuf,
        /// Why they can't be read.
        source: std::io::Error,
    },
    /// The description of the types is broken.
    #[error("the kernel's description of its types can't be read")]
    #[diagnostic(help("it is not BTF of this machine's byte order, or a newer kind of it"))]
    BadBtf,
    /// The kernel hides its addresses.
    #[error("the kernel hides where its variables are{}", listed(obstacles))]
    #[diagnostic(help(
        "per-CPU variables and hook arguments need no symbols; `vdso serve system` publishes the \
         values of /proc without any privilege"
    ))]
    HiddenSymbols {
        /// Everything that stands in the way.
        obstacles: Vec<Obstacle>,
    },
    /// No variable has this name.
    #[error("the kernel has no variable `{symbol}`")]
    #[diagnostic(help("`vdso kernel vars` lists what there is; modules' variables are not"))]
    NoSymbol {
        /// The name.
        symbol: String,
    },
    /// The kernel lists functions only.
    #[error(
        "this kernel does not say where `{symbol}` is: it was built without CONFIG_KALLSYMS_ALL"
    )]
    #[diagnostic(help(
        "`vdso kernel vars` lists what this kernel can publish; `vdso serve system` publishes the \
         values of /proc on every kernel"
    ))]
    NoVariables {
        /// The name.
        symbol: String,
    },
    /// Several variables have this name.
    #[error("the kernel has more than one variable `{symbol}`")]
    #[diagnostic(help(
        "static variables may share a name; reach it through another, or not at all"
    ))]
    Ambiguous {
        /// The name.
        symbol: String,
    },
    /// A function is not a variable.
    #[error("`{symbol}` is a function of the kernel's")]
    #[diagnostic(help("name a variable: `vdso kernel vars` lists them"))]
    IsFunction {
        /// The name.
        symbol: String,
    },
    /// An expression that doesn't parse.
    #[error("`{expression}`, at character {}: {what}", at + 1)]
    #[diagnostic(help("for example nr_threads:i32, init_uts_ns.name.release, arg0.tkr_mono.mult"))]
    Syntax {
        /// All of it.
        expression: String,
        /// The byte that is wrong, from 0.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// Neither the kernel nor the declaration has a type for this.
    #[error("the kernel doesn't say which type `{symbol}` has")]
    #[diagnostic(help("say it: `{symbol}:u64` for a number, `(type){symbol}` for a structure"))]
    UnknownType {
        /// The symbol.
        symbol: String,
    },
    /// No type has this name.
    #[error("the kernel has no type `{name}`")]
    #[diagnostic(help(
        "structures go by their name alone, numbers by the kernel's: `u64`, `atomic64_t`"
    ))]
    NoType {
        /// The name.
        name: String,
    },
    /// A step that the value doesn't allow.
    #[error("`{expression}`: `{ty}` {what}")]
    #[diagnostic(help("the types are those of the running kernel; other versions have others"))]
    NoStep {
        /// The whole expression.
        expression: String,
        /// The type that was reached.
        ty: String,
        /// What it lacks.
        what: String,
    },
    /// A value that vvar pages can't hold.
    #[error("`{expression}` is a `{ty}`, which is no number, text or array of numbers")]
    #[diagnostic(help("name one of its fields"))]
    Unpublishable {
        /// The whole expression.
        expression: String,
        /// Its type.
        ty: String,
    },
    /// The declared type doesn't hold the kernel's.
    #[error("`{expression}` is declared as {declared}, but the kernel has {found}")]
    #[diagnostic(help("declare the same type, a wider one of the same kind, or none"))]
    Mismatch {
        /// The whole expression.
        expression: String,
        /// The declared type.
        declared: String,
        /// The kernel's type.
        found: String,
    },
    /// An address of the kernel's.
    #[error("`{expression}` is an address, and every process would read it")]
    #[diagnostic(help(
        "addresses help an attacker of the kernel; to publish it all the same, use --allow-addresses"
    ))]
    Address {
        /// The whole expression.
        expression: String,
    },
    /// A value that may be a part of an address.
    #[error("`{expression}` could publish a part of an address, and every process would read it")]
    #[diagnostic(help(
        "the kernel does not describe this value, so whole words of 8 bytes are checked for \
         addresses: declare a number that lies within one word, or an array of a multiple of 8 \
         bytes; or use --allow-addresses"
    ))]
    PartOfWord {
        /// The expression.
        expression: String,
    },
    /// Something that must stay secret.
    #[error("`{symbol}` is never published: it holds a key, or what keys are made of")]
    #[diagnostic(help("nothing allows it"))]
    Secret {
        /// The symbol.
        symbol: String,
    },
    /// A hook that this kernel doesn't offer.
    #[error("the kernel offers no hook `{hook}`")]
    #[diagnostic(help(
        "tick, tracepoint:NAME, fentry:FUNCTION and fexit:FUNCTION; an inlined function has none"
    ))]
    NoHook {
        /// As it was written.
        hook: String,
    },
    /// A variable that doesn't lie in the pages.
    #[error("`{name}` would lie outside of the vvar pages, or misaligned")]
    #[diagnostic(help("pages and declaration have to be of the same image"))]
    Misplaced {
        /// The variable.
        name: String,
    },
    /// An argument is one hook's alone.
    #[error("`{name}` is read from the tick's argument, so it can't follow other events")]
    #[diagnostic(help("name no event for it"))]
    ArgumentAfterEvent {
        /// The variable.
        name: String,
    },
    /// More than one BPF program holds.
    #[error("these are too many variables for one BPF program")]
    #[diagnostic(help("a record may have about a thousand fields; publish it in parts"))]
    TooMuch,
    /// Privileges are missing.
    #[error("the kernel refused {what}: {source}{}", listed(obstacles))]
    #[diagnostic(help(
        "`vdso serve system` publishes the values of /proc without any of this; reading needs no \
         privilege"
    ))]
    Denied {
        /// What was asked of it.
        what: &'static str,
        /// Everything that stands in the way.
        obstacles: Vec<Obstacle>,
        /// The error.
        source: std::io::Error,
    },
    /// The kernel lacks something that a program needs.
    #[error("the kernel refused to load a program: {source}: {lacks}")]
    #[diagnostic(help(
        "`vdso kernel vars` lists what this kernel can publish; `vdso serve system` publishes the \
         values of /proc on every kernel"
    ))]
    Lacking {
        /// What it lacks, and the option that it was built without.
        lacks: String,
        /// The error.
        source: std::io::Error,
    },
    /// The kernel attaches programs to tracepoints only.
    #[error("this kernel attaches no BPF program to a function, which publishing takes")]
    #[diagnostic(help(
        "on AArch64 that takes Linux 6.4 and CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS; `vdso serve \
         system` publishes the values of /proc on every kernel"
    ))]
    NoDirectCalls {
        /// The error.
        source: std::io::Error,
    },
    /// The verifier found fault with our program.
    #[error("the kernel's verifier refused the program: {source}: {reason}")]
    #[diagnostic(help("please report this with the kernel's version and the declaration"))]
    Verifier {
        /// The end of its log.
        reason: String,
        /// The error.
        source: std::io::Error,
    },
    /// Another refusal of the kernel's.
    #[error("the kernel refused {what}: {source}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
    /// Nothing arrived in the pages.
    #[error("the program was attached, but the kernel has not run it")]
    #[diagnostic(help(
        "fentry needs ftrace and the BPF JIT: see kernel.ftrace_enabled and \
                       net.core.bpf_jit_enable"
    ))]
    Silent,
    /// The kernel could not read these.
    #[error("the kernel can't read {}", names.join(", "))]
    #[diagnostic(help("a pointer on the way is null, or the value looks like an address"))]
    Unreadable {
        /// The variables.
        names: Vec<String>,
    },
    /// The memory that was mapped holds no vvar pages.
    #[error("{} holds no vvar pages: {reason}", path.display())]
    Foreign {
        /// The pinned map.
        path: PathBuf,
        /// What it holds.
        reason: vdsokit_vvar::pages::PagesError,
    },
    /// A file.
    #[error("can't use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Ties an I/O error to the path that it is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

fn listed(obstacles: &[Obstacle]) -> String {
    let mut text = String::new();
    for obstacle in obstacles {
        let _ = write!(text, "; {obstacle}");
    }
    text
}
