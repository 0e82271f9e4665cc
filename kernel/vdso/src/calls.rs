// The system calls of the reference kernel, each once: name, number, and what the kernel does.
//
// The kernel makes its dispatch of this file (src/call/mod.rs), and the vDSO a function for each call
// (vdso/src/lib.rs), by the section that it stands in.

/// Linux's numbers, and those of calls that Linux does not have.
mod numbers {
    #![allow(non_upper_case_globals, reason = "names as in Linux's headers")]

    pub use linux_raw_sys::general::*;

    /// Several calls in one entry.
    pub const __NR_batch: u32 = 1000;
    /// The caller's process, and what it starts, are denied groups of calls.
    pub const __NR_deny: u32 = 1001;
}

calls! { |a, frame, task|
    // A function of the vDSO answers, and enters the kernel where its pages have no answer.
    answered {
        getpid: __NR_getpid => Ok(task.process.id);
        getppid: __NR_getppid => Ok(task.process.parent_id());
        gettid: __NR_gettid => Ok(task.id);
        getcpu: __NR_getcpu => process::cpu(a[0], a[1]);
        getrandom: __NR_getrandom => process::random(a[0], a[1]);
        clock_gettime: __NR_clock_gettime => time::read(a[0], a[1]);
        clock_getres: __NR_clock_getres => time::resolution(a[0], a[1]);
        gettimeofday: __NR_gettimeofday => time::time_of_day(a[0], a[1]);
        #[cfg(target_arch = "x86_64")] time: __NR_time => time::seconds(a[0]);
        // No answer, but the image has it too: handlers of signals return to it.
        rt_sigreturn: __NR_rt_sigreturn => signal::leave_handler(frame.ok_or(Errno::NO_CALL)?);
    }

    // There is one user, root: the vDSO's functions return 0.
    zero {
        getuid: __NR_getuid => Ok(0);
        geteuid: __NR_geteuid => Ok(0);
        getgid: __NR_getgid => Ok(0);
        getegid: __NR_getegid => Ok(0);
    }

    // The vDSO's functions return twice, once in the child.
    cloning {
        clone: __NR_clone => process::clone(frame.ok_or(Errno::NO_CALL)?, a);
        #[cfg(target_arch = "x86_64")] fork: __NR_fork => process::fork(frame.ok_or(Errno::NO_CALL)?, 0);
        #[cfg(target_arch = "x86_64")] vfork: __NR_vfork => process::fork(frame.ok_or(Errno::NO_CALL)?, linux::CLONE_VM | linux::CLONE_VFORK);
    }

    // The vDSO's functions enter the kernel.
    entered {
        // Files.
        read: __NR_read => file::read(a[0], a[1], a[2]);
        write: __NR_write => file::write(a[0], a[1], a[2]);
        readv: __NR_readv => file::vectored(a, file::read);
        writev: __NR_writev => file::vectored(a, file::write);
        pread64: __NR_pread64 => file::read_at(a[0], a[1], a[2], a[3]);
        openat: __NR_openat => file::open(a[0], a[1], a[2]);
        close: __NR_close => file::close(a[0]);
        close_range: __NR_close_range => file::close_range(a[0], a[1]);
        lseek: __NR_lseek => file::seek(a[0], a[1] as isize, a[2]);
        fstat: __NR_fstat => file::stat_of(a[0], a[1]);
        newfstatat: __NR_newfstatat => file::stat_at(a[0], a[1], a[2], a[3]);
        getdents64: __NR_getdents64 => file::directory_entries(a[0], a[1], a[2]);
        readlinkat: __NR_readlinkat => file::read_link(a[0], a[1], a[2], a[3]);
        faccessat: __NR_faccessat => file::access(a[0], a[1]);
        faccessat2: __NR_faccessat2 => file::access(a[0], a[1]);
        getcwd: __NR_getcwd => file::current_directory(a[0], a[1]);
        chdir: __NR_chdir => file::change_directory(a[0]);
        dup: __NR_dup => file::duplicate(a[0]);
        dup3: __NR_dup3 => file::duplicate_to(a[0], a[1], a[2]);
        pipe2: __NR_pipe2 => file::pipe(a[0], a[1]);
        fcntl: __NR_fcntl => file::control(a[0], a[1], a[2]);
        ioctl: __NR_ioctl => file::device_control(a[0], a[1], a[2]);
        ppoll: __NR_ppoll => file::poll(a[0], a[1], time::duration(a[2])?);
        epoll_create1: __NR_epoll_create1 => file::new_set(a[0]);
        epoll_ctl: __NR_epoll_ctl => file::control_set(a[0], a[1], a[2], a[3]);
        epoll_pwait: __NR_epoll_pwait => file::wait_for_set(a[0], a[1], a[2], time::milliseconds(a[3]));
        umask: __NR_umask => Ok(0o022);

        // Memory.
        brk: __NR_brk => memory::set_heap_end(a[0]);
        mmap: __NR_mmap => memory::map(a);
        munmap: __NR_munmap => memory::unmap(a[0], a[1]);
        mprotect: __NR_mprotect => memory::protect(a[0], a[1], a[2]);
        madvise: __NR_madvise => memory::advise(a[0], a[1], a[2]);

        // Processes and threads.
        execve: __NR_execve => process::execve(frame.ok_or(Errno::NO_CALL)?, a);
        exit: __NR_exit => process::exit_thread(a[0]);
        exit_group: __NR_exit_group => process::exit(a[0]);
        wait4: __NR_wait4 => process::wait(a[0], a[1], a[2]);
        getpgid: __NR_getpgid => process::group(a[0]);
        setpgid: __NR_setpgid => process::set_group(a[0], a[1]);
        getsid: __NR_getsid => process::session(a[0]);
        setsid: __NR_setsid => process::new_session();
        set_tid_address: __NR_set_tid_address => process::set_clear_address(a[0]);
        sched_yield: __NR_sched_yield => { schedule::give_up(); Ok(0) };
        sched_getaffinity: __NR_sched_getaffinity => process::affinity(a[1], a[2]);
        prlimit64: __NR_prlimit64 => process::limits(a[1], a[3]);
        uname: __NR_uname => process::system_name(a[0]);
        futex: __NR_futex => process::futex(a);

        // Networks, which this kernel does not have.
        socket: __NR_socket => Err(Errno::NO_NETWORK);
        socketpair: __NR_socketpair => Err(Errno::NO_NETWORK);

        // Signals.
        kill: __NR_kill => signal::kill(a[0], a[1]);
        tkill: __NR_tkill => signal::kill_thread(None, a[0], a[1]);
        tgkill: __NR_tgkill => signal::kill_thread(Some(a[0]), a[1], a[2]);
        rt_sigaction: __NR_rt_sigaction => signal::set_action(a[0], a[1], a[2], a[3]);
        rt_sigprocmask: __NR_rt_sigprocmask => signal::set_mask(a[0], a[1], a[2], a[3]);
        rt_sigsuspend: __NR_rt_sigsuspend => signal::suspend(a[0], a[1]);
        rt_sigpending: __NR_rt_sigpending => signal::pending(a[0], a[1]);
        sigaltstack: __NR_sigaltstack => signal::set_stack(frame.ok_or(Errno::NO_CALL)?, a[0], a[1]);

        // Time.
        clock_settime: __NR_clock_settime => time::set(a[0], a[1]);
        clock_adjtime: __NR_clock_adjtime => time::adjust(a[0], a[1]);
        nanosleep: __NR_nanosleep => time::sleep(linux::CLOCK_MONOTONIC as usize, 0, a[0], a[1]);
        clock_nanosleep: __NR_clock_nanosleep => time::sleep(a[0], a[1], a[2], a[3]);

        // Calls of x86-64 that the others have no number for.
        #[cfg(target_arch = "x86_64")] open: __NR_open => file::open(file::HERE, a[0], a[1]);
        #[cfg(target_arch = "x86_64")] stat: __NR_stat => file::stat_at(file::HERE, a[0], a[1], 0);
        #[cfg(target_arch = "x86_64")] lstat: __NR_lstat => file::stat_at(file::HERE, a[0], a[1], file::NO_FOLLOW);
        #[cfg(target_arch = "x86_64")] access: __NR_access => file::access(file::HERE, a[0]);
        #[cfg(target_arch = "x86_64")] readlink: __NR_readlink => file::read_link(file::HERE, a[0], a[1], a[2]);
        #[cfg(target_arch = "x86_64")] dup2: __NR_dup2 => file::duplicate_over(a[0], a[1]);
        #[cfg(target_arch = "x86_64")] pipe: __NR_pipe => file::pipe(a[0], 0);
        #[cfg(target_arch = "x86_64")] poll: __NR_poll => file::poll(a[0], a[1], time::milliseconds(a[2]));
        #[cfg(target_arch = "x86_64")] epoll_wait: __NR_epoll_wait => file::wait_for_set(a[0], a[1], a[2], time::milliseconds(a[3]));
        #[cfg(target_arch = "x86_64")] getpgrp: __NR_getpgrp => process::group(0);
        #[cfg(target_arch = "x86_64")] pause: __NR_pause => signal::pause();
        #[cfg(target_arch = "x86_64")] arch_prctl: __NR_arch_prctl => process::architecture(a[0], a[1]);

        // Calls that Linux does not have.
        batch: __NR_batch => { frame.ok_or(Errno::NO_CALL)?; batch(task, a[0], a[1]) };
        deny: __NR_deny => task.process.deny(Denied::from_bits_truncate(a[0])).map(|()| 0);
    }
}
