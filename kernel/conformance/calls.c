/* A function of the vDSO for each system call of the reference kernel. Each is called through its
   symbol: it returns and stores what the system call does, and the kernel's counts tell whether it
   entered the kernel. The output is TAP. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vdso.h"

#define PAGE 4096
#define SYS_batch 1000
#define SYS_deny 1001
#define AT_SYSINFO_ENTRY 32

typedef long (*call)(long, long, long, long, long, long);
/* NULL when a test passes, else what is wrong. */
typedef const char *result;

/* The kernel's page of how often each call was made. */
static _Atomic uint64_t *counts;
static char bytes[PAGE] __attribute__((aligned(PAGE)));

/* What is expected besides the call's result and bytes. */
enum {
    ENTERS = 1,
    /* Only some machines have the answer in user mode. */
    MAY_ENTER = 2,
    /* Result and bytes are others each time: only whether it is an error is compared. */
    CHANGES = 4,
};

struct entry {
    const char *name;
    long number;
    int expected;
    long a[6];
};

static result compare(const struct entry *entry, call of_vdso) {
    static char stored[sizeof bytes];
    const long *a = entry->a;
    bool is_counted = entry->number < PAGE / 8;
    uint64_t before = is_counted ? counts[entry->number] : 0;
    memset(bytes, 0, sizeof bytes);
    long by_function = of_vdso(a[0], a[1], a[2], a[3], a[4], a[5]);
    uint64_t entries = is_counted ? counts[entry->number] - before : entry->expected & ENTERS;
    memcpy(stored, bytes, sizeof bytes);
    memset(bytes, 0, sizeof bytes);
    long by_call = syscall(entry->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    by_call = by_call == -1 ? -errno : by_call;
    /* Functions of C's type int return no more than that. */
    if (entry->expected & CHANGES ? ((int)by_function < 0) != ((int)by_call < 0)
                                  : (int)by_function != (int)by_call)
        return "the function returns something else than the call";
    if (!(entry->expected & CHANGES) && memcmp(stored, bytes, sizeof bytes) != 0)
        return "the function stores something else than the call";
    if (entry->expected & MAY_ENTER ? entries > 1 : entries != (uint64_t)(entry->expected & ENTERS))
        return entries == 0 ? "the function does not enter the kernel" : "the function enters the kernel";
    return NULL;
}

/* The status of a child that runs a function with an argument. */
static int in_child(void (*run)(void *), void *argument) {
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run(argument);
        syscall(SYS_exit_group, 99);
    }
    return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static void end_with_7(void *exit_call) {
    ((call)exit_call)(7, 0, 0, 0, 0, 0);
}

static result ends(call of_vdso) {
    int status = in_child(end_with_7, (void *)of_vdso);
    return WIFEXITED(status) && WEXITSTATUS(status) == 7 ? NULL : "the process does not end with the status";
}

static void become_true(void *execve_call) {
    char *arguments[] = { "true", NULL }, *environment[] = { NULL };
    ((call)execve_call)((long)"/bin/true", (long)arguments, (long)environment, 0, 0, 0);
}

static result becomes_another_program(call of_vdso) {
    return in_child(become_true, (void *)of_vdso) == 0 ? NULL : "the other program does not run";
}

static result makes_a_process(call of_vdso, long flags) {
    static _Atomic int started;
    int status = -1, before = started;
    fflush(stdout);
    long child = of_vdso(flags, 0, 0, 0, 0, 0);
    if (child == 0) {
        started++;
        syscall(SYS_exit_group, 7);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
        return "there is no child, or it does not end with its status";
    return started != before + !!(flags & CLONE_VM) ? "the child has the wrong memory" : NULL;
}

static result clones(call of_vdso) {
    const char *why = makes_a_process(of_vdso, SIGCHLD);
    return why != NULL ? why : makes_a_process(of_vdso, SIGCHLD | CLONE_VM | CLONE_VFORK);
}

#if defined(__x86_64__)
static result forks(call of_vdso) {
    return makes_a_process(of_vdso, 0);
}

static result vforks(call of_vdso) {
    /* vfork has no argument: its child shares the memory. */
    return makes_a_process(of_vdso, CLONE_VM);
}
#endif

static volatile sig_atomic_t handled;

static void handle(int signal) {
    handled += signal == SIGUSR1;
}

static void wait_for_signal(void *wait_call) {
    uint64_t none = 0;
    long waited = ((call)wait_call)((long)&none, sizeof none, 0, 0, 0, 0);
    syscall(SYS_exit_group, waited == -EINTR && handled > 0 ? 7 : 8);
}

static result waits_for_a_signal(call of_vdso) {
    int status = -1;
    struct sigaction action = { .sa_handler = handle };
    sigaction(SIGUSR1, &action, NULL);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        wait_for_signal((void *)of_vdso);
    /* One of them arrives while the child waits. */
    while (waitpid(child, &status, WNOHANG) == 0) {
        kill(child, SIGUSR1);
        struct timespec pause = { 0, 1000000 };
        nanosleep(&pause, NULL);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 7 ? NULL : "no signal ends it with EINTR";
}

static result returns_from_a_handler(call of_vdso) {
    /* The structure of the system call; RISC-V's has no restorer, its handlers return to the vDSO. */
    struct {
        void (*handler)(int);
        unsigned long flags;
#if !defined(__riscv)
        void *restorer;
#endif
        uint64_t mask;
    } action = { .handler = handle };
#if !defined(__riscv)
    action.flags = 0x04000000;
    action.restorer = (void *)of_vdso;
#else
    (void)of_vdso;
#endif
    int before = handled;
    if (syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8) != 0 || raise(SIGUSR1) != 0)
        return "the handler can't be set";
    return handled == before + 1 ? NULL : "the handler did not run";
}

static result fills(call of_vdso) {
    static const char zeros[32];
    if (of_vdso((long)bytes, sizeof zeros, 0, 0, 0, 0) != sizeof zeros)
        return "the function fails";
    return memcmp(bytes, zeros, sizeof zeros) == 0 ? "the bytes are zeros" : NULL;
}

static result closes(call of_vdso) {
    int descriptor = dup(1);
    if (of_vdso(descriptor, 0, 0, 0, 0, 0) != 0)
        return "the function fails";
    return of_vdso(descriptor, 0, 0, 0, 0, 0) == -EBADF ? NULL : "the descriptor is still open";
}

static result enters_as_an_instruction_does(call of_vdso) {
    long id;
    if (getauxval(AT_SYSINFO_ENTRY) != (unsigned long)of_vdso)
        return "AT_SYSINFO leads somewhere else";
#if defined(__x86_64__)
    __asm__ volatile("sub $128, %%rsp; call *%1; add $128, %%rsp"
        : "=a"(id) : "r"(of_vdso), "0"((long)SYS_getppid) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_getppid, first __asm__("x0") = 0;
    __asm__ volatile("blr %2" : "+r"(first) : "r"(number), "r"(of_vdso) : "x30", "memory");
    id = first;
#else
    register long number __asm__("a7") = SYS_getppid, first __asm__("a0") = 0;
    __asm__ volatile("jalr %2" : "+r"(first) : "r"(number), "r"(of_vdso) : "ra", "memory");
    id = first;
#endif
    return id == getppid() ? NULL : "the call has another result";
}

/* Calls that can't be compared by their result. */
static const struct {
    const char *name;
    result (*run)(call);
} others[] = {
    { "exit", ends },
    { "exit_group", ends },
    { "execve", becomes_another_program },
    { "clone", clones },
#if defined(__x86_64__)
    { "fork", forks },
    { "vfork", vforks },
    { "pause", waits_for_a_signal },
#endif
    { "rt_sigsuspend", waits_for_a_signal },
    { "rt_sigreturn", returns_from_a_handler },
    { "getrandom", fills },
    { "close", closes },
    { "kernel_entry", enters_as_an_instruction_does },
};

/* The function of a call: Linux's names on AArch64 have another prefix, too. */
static call find(const char *name) {
    char symbol[64];
    snprintf(symbol, sizeof symbol, "__vdso_%s", name);
    return (call)function(symbol);
}

static int number_of_test, failed;

static void report(const char *name, result why) {
    failed += why != NULL;
    printf("%sok %d - %s\n", why != NULL ? "not " : "", ++number_of_test, name);
    if (why != NULL)
        printf("# %s\n", why);
    fflush(stdout);
}

int main(void) {
    static struct timespec soon = { 0, 1000000 };
    static uint32_t word = 7;
    static struct iovec vector = { bytes, 16 };
    static struct timex nothing;
    static long batch[8] __attribute__((aligned(64))) = { SYS_getppid };
    struct pollfd readable = { .events = POLLIN };
    struct epoll_event event = { .events = EPOLLIN };
    int images = open("/dev/image/calls", O_RDONLY);
    counts = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, images, 0);
    if (counts == MAP_FAILED || !read_vdso() || vdso.sysv_hash == NULL) {
        fprintf(stderr, "this kernel is not the reference kernel\n");
        return 2;
    }
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
    int file = open("/init", O_RDONLY), directory = open("/bin", O_RDONLY), set = epoll_create1(0);
    readable.fd = zero;
    epoll_ctl(set, EPOLL_CTL_ADD, zero, &event);
#define CALL(name, expected, ...) { #name, SYS_##name, expected, { __VA_ARGS__ } }
#define AT(pointer) (long)(pointer)
    const struct entry entries[] = {
        CALL(getpid, 0, 0),
        CALL(getppid, 0, 0),
        CALL(getuid, 0, 0),
        CALL(geteuid, 0, 0),
        CALL(getgid, 0, 0),
        CALL(getegid, 0, 0),
        CALL(getcpu, MAY_ENTER | CHANGES, AT(bytes), 0, 0),
        CALL(clock_gettime, CHANGES, CLOCK_MONOTONIC, AT(bytes)),
        CALL(clock_getres, ENTERS, CLOCK_MONOTONIC, AT(bytes)),
        CALL(gettimeofday, CHANGES, AT(bytes), 0),
        CALL(read, ENTERS, zero, AT(bytes), 64),
        CALL(readv, ENTERS, zero, AT(&vector), 1),
        CALL(pread64, ENTERS, file, AT(bytes), 64, 4),
        CALL(write, ENTERS, null, AT(bytes), 16),
        CALL(writev, ENTERS, null, AT(&vector), 1),
        CALL(openat, ENTERS | CHANGES, AT_FDCWD, AT("/init"), O_RDONLY),
        CALL(close_range, ENTERS, 500, 600, 0),
        CALL(lseek, ENTERS, file, 0, SEEK_END),
        CALL(fstat, ENTERS, file, AT(bytes)),
        CALL(newfstatat, ENTERS, AT_FDCWD, AT("/init"), AT(bytes), 0),
        CALL(getdents64, ENTERS | CHANGES, directory, AT(bytes), sizeof bytes),
        CALL(readlinkat, ENTERS, AT_FDCWD, AT("/bin/sh"), AT(bytes), 64),
        CALL(faccessat, ENTERS, AT_FDCWD, AT("/none"), R_OK),
        CALL(faccessat2, ENTERS, AT_FDCWD, AT("/init"), R_OK, 0),
        CALL(getcwd, ENTERS, AT(bytes), 64),
        CALL(chdir, ENTERS, AT("/bin")),
        CALL(dup, ENTERS | CHANGES, null),
        CALL(dup3, ENTERS, null, 90, 0),
        CALL(pipe2, ENTERS | CHANGES, AT(bytes), 0),
        CALL(fcntl, ENTERS, file, F_GETFL),
        CALL(ioctl, ENTERS, 1, TIOCGWINSZ, AT(bytes)),
        CALL(ppoll, ENTERS, AT(&readable), 1, AT(&soon), 0, 8),
        CALL(epoll_create1, ENTERS | CHANGES, 0),
        CALL(epoll_ctl, ENTERS, set, EPOLL_CTL_MOD, zero, AT(&event)),
        CALL(epoll_pwait, ENTERS, set, AT(bytes), 1, 10, 0, 8),
        CALL(umask, ENTERS, 022),
        CALL(brk, ENTERS, 0),
        CALL(mmap, ENTERS | CHANGES, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
        CALL(munmap, ENTERS, 1 << 20, PAGE),
        CALL(mprotect, ENTERS, AT(bytes), PAGE, PROT_READ | PROT_WRITE),
        CALL(madvise, ENTERS, AT(bytes), PAGE, MADV_NORMAL),
        CALL(wait4, ENTERS, -1, 0, WNOHANG, 0),
#if defined(__x86_64__)
        CALL(gettid, 0, 0),
        CALL(epoll_wait, ENTERS, set, AT(bytes), 1, 10),
#else
        CALL(gettid, ENTERS, 0),
#endif
        CALL(getpgid, ENTERS, 0),
        CALL(setpgid, ENTERS, 0, getpgid(0)),
        CALL(getsid, ENTERS, 0),
        CALL(setsid, ENTERS, 0),
        CALL(set_tid_address, ENTERS, AT(&word)),
        CALL(sched_yield, ENTERS, 0),
        CALL(sched_getaffinity, ENTERS, 0, 8, AT(bytes)),
        CALL(prlimit64, ENTERS, 0, RLIMIT_STACK, 0, AT(bytes)),
        CALL(uname, ENTERS, AT(bytes)),
        /* FUTEX_WAIT for a word that has another value. */
        CALL(futex, ENTERS, AT(&word), 0, 8, 0),
        CALL(socket, ENTERS, AF_INET, SOCK_STREAM, 0),
        CALL(socketpair, ENTERS, AF_UNIX, SOCK_STREAM, 0, AT(bytes)),
        CALL(kill, ENTERS, getpid(), 0),
        CALL(tkill, ENTERS, getpid(), 0),
        CALL(tgkill, ENTERS, getpid(), getpid(), 0),
        CALL(rt_sigaction, ENTERS, SIGUSR2, 0, AT(bytes), 8),
        CALL(rt_sigprocmask, ENTERS, SIG_BLOCK, 0, AT(bytes), 8),
        CALL(rt_sigpending, ENTERS, AT(bytes), 8),
        CALL(sigaltstack, ENTERS, 0, AT(bytes)),
        CALL(clock_settime, ENTERS, CLOCK_MONOTONIC, AT(&soon)),
        CALL(clock_adjtime, ENTERS, CLOCK_REALTIME, AT(&nothing)),
        CALL(nanosleep, ENTERS, AT(&soon), 0),
        CALL(clock_nanosleep, ENTERS, CLOCK_MONOTONIC, 0, AT(&soon), 0),
        CALL(batch, ENTERS, AT(batch), 1),
        CALL(deny, ENTERS, 0),
#if defined(__x86_64__)
        CALL(time, CHANGES, AT(bytes)),
        CALL(open, ENTERS | CHANGES, AT("/init"), O_RDONLY),
        CALL(stat, ENTERS, AT("/init"), AT(bytes)),
        CALL(lstat, ENTERS, AT("/init"), AT(bytes)),
        CALL(access, ENTERS, AT("/init"), R_OK),
        CALL(readlink, ENTERS, AT("/bin/sh"), AT(bytes), 64),
        CALL(dup2, ENTERS, null, 90),
        CALL(pipe, ENTERS | CHANGES, AT(bytes)),
        CALL(poll, ENTERS, AT(&readable), 1, 10),
        CALL(getpgrp, ENTERS, 0),
        /* ARCH_GET_FS */
        CALL(arch_prctl, ENTERS, 0x1003, AT(bytes)),
#endif
    };
    size_t comparable = sizeof entries / sizeof *entries, rest = sizeof others / sizeof *others;
    printf("TAP version 13\n1..%d\n", (int)(comparable + rest + 1));
    for (size_t i = 0; i < comparable; i++) {
        call of_vdso = find(entries[i].name);
        report(entries[i].name, of_vdso == NULL ? "there is no function" : compare(&entries[i], of_vdso));
    }
    for (size_t i = 0; i < rest; i++) {
        call of_vdso = find(others[i].name);
        report(others[i].name, of_vdso == NULL ? "there is no function" : others[i].run(of_vdso));
    }
    /* The kernel makes the functions of its table of calls, so a call without a test is found here. */
    static char untested[256];
    for (uint32_t symbol = 1; symbol < vdso.sysv_hash[1]; symbol++) {
        const char *name = vdso.strings + vdso.symbols[symbol].st_name;
        /* Those of no call: `table` and `current` test them. */
        if (strncmp(name, "__vdso_", 7) != 0 || strcmp(name + 7, "number_of_the_beast") == 0
            || strncmp(name + 7, "current_", 8) == 0)
            continue;
        bool is_tested = false;
        for (size_t i = 0; i < comparable; i++)
            is_tested |= strcmp(entries[i].name, name + 7) == 0;
        for (size_t i = 0; i < rest; i++)
            is_tested |= strcmp(others[i].name, name + 7) == 0;
        if (!is_tested)
            snprintf(untested, sizeof untested, "there is no test of %s", name);
    }
    report("each function of a call is tested", untested[0] != '\0' ? untested : NULL);
    return failed != 0;
}
