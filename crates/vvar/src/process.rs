//! The page of a process: facts of it that a kernel publishes to it alone.
//!
//! It is a kernel's only: no process can publish what another one's id is. It lies [`DISTANCE`]
//! bytes behind the page with the clocks, which says at [`FLAG`] whether it is there.
//!
//! | byte | width | contents |
//! | ---: | ---: | --- |
//! | 0 | 8 | the characters `vdsoproc` |
//! | 8 | 8 | 1: what follows is right; 0: a reader makes the system call |
//! | 16 | 8 | the process's id, as getpid(2) returns it |
//! | 24 | 8 | its parent's, as getppid(2) returns it |
//!
//! Every number is one atomic word. A page belongs to an address space, and an address space
//! may be shared by two processes, as between vfork(2) and the child's execve(2): then the word at 8
//! is 0.

/// From the page with the clocks to that of the process, in bytes: the largest page of any
/// architecture.
pub const DISTANCE: usize = 65_536;
/// From the page with the clocks to that of a kernel's own variables, in bytes: behind the page of the
/// process.
pub const OWN: usize = 2 * DISTANCE;
/// From the page with the clocks to the head of the slots with the running tasks, in bytes: behind the
/// page of a kernel's own variables. Their layout is that of the crate `vdsokit-current`.
pub const CURRENT: usize = 3 * DISTANCE;
/// The word in the page with the clocks: 1 if every process has such a page, else 0.
pub const FLAG: usize = 3952;
/// The characters `vdsoproc`, read as a number of this machine.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"vdsoproc");
/// The word that is 1 while the facts are right.
pub const VALID: usize = 8;
/// The word with the process's id.
pub const PID: usize = 16;
/// The word with the parent's id.
pub const PPID: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels and images that were compiled apart agree about these numbers.
    #[test]
    fn the_pages_follow_those_with_the_clocks_in_steps_of_the_largest_page() {
        assert_eq!([DISTANCE, OWN, CURRENT], [0x1_0000, 0x2_0000, 0x3_0000]);
    }
}
