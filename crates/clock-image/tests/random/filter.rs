//! Telling by a filter who makes a system call: one that does is refused.

/// What a call of getrandom(2) is answered from then on: a number that nothing else answers.
pub(crate) const REFUSED: isize = -(ERROR as isize);

const ERROR: u32 = 77;

/// Refuses getrandom(2) to this thread from now on.
pub(crate) fn refuse_getrandom() {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        // The call's number is the first field of `struct seccomp_data`.
        step(LOAD, 0, 0, 0),
        step(EQUAL, libc::SYS_getrandom as u32, 0, 1),
        step(RETURN, libc::SECCOMP_RET_ERRNO | ERROR, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program outlives the call that takes it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program
            ),
            0
        );
    }
}
