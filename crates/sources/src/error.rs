//! Why a source has no values.

use miette::Diagnostic;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a source could not be set up, or has failed.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The vDSO could not be published.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Publish(#[from] vdsokit_publish::Error),

    /// The running kernel does not publish the variables.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Kernel(#[from] vdsokit_bpf::Error),

    /// A variable of the image that is bound to no expression of the kernel.
    #[error("`{name}` is bound to nothing in the kernel, and the kernel publishes the others")]
    #[diagnostic(help(
        "name a kernel variable: `kernel = \"nr_threads\"`; a vDSO has one publisher, so declare \
         variables of another publisher in another vDSO"
    ))]
    Unbound {
        /// The variable, or `variable.field`.
        name: String,
    },

    /// There is no file system to pin the map in.
    #[error("no BPF file system is mounted at /sys/fs/bpf")]
    #[diagnostic(help("`mount -t bpf bpf /sys/fs/bpf`"))]
    NoBpfFs,

    /// The directory is no control group's.
    #[error("{} is not the directory of a control group of version 2", .path.display())]
    #[diagnostic(help("name one below the mount, such as /sys/fs/cgroup/system.slice"))]
    NoGroup {
        /// The directory.
        path: PathBuf,
    },

    /// A file of /proc could not be read or understood.
    #[error("cannot read {what} from /proc")]
    #[diagnostic(help("is /proc mounted, and readable for this user?"))]
    Proc {
        /// The file.
        what: &'static str,
        /// What the kernel or the parser reported.
        #[source]
        source: io::Error,
    },
}
