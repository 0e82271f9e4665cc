/* What a program may expect of a kernel's vDSO, and of the system calls around it: on any kernel
   that runs static Linux programs. The output is TAP (https://testanything.org). As process 1 of
   Linux it powers the machine off. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include "vdso.h"

/* A test returns NULL when it passes, a reason that begins with "SKIP " when the kernel does not
   have what it is about, and otherwise what is wrong. */
typedef const char *result;

static const char *self;

static int (*gettime)(clockid_t, struct timespec *);

static result has_image(void) {
    if (!read_vdso())
        return "AT_SYSINFO_EHDR does not lead to a shared object";
    gettime = function(NAME("clock_gettime"));
    return gettime == NULL ? "there is no " NAME("clock_gettime") : NULL;
}

static result has_symbols(void) {
    static const char *names[] = {
        NAME("clock_gettime"), NAME("gettimeofday"), NAME("clock_getres"),
#if defined(__x86_64__)
        NAME("time"),
#else
        NAME("rt_sigreturn"),
#endif
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t by_gnu = vdso.gnu_hash != NULL ? by_gnu_hash(names[i]) : 0;
        uint32_t by_sysv = vdso.sysv_hash != NULL ? by_sysv_hash(names[i]) : 0;
        if (by_gnu == 0 && by_sysv == 0)
            return names[i];
        if (by_gnu != 0 && by_sysv != 0 && by_gnu != by_sysv)
            return "the hash tables disagree";
        if (!has_version(by_gnu != 0 ? by_gnu : by_sysv))
            return "a function has another version than " VERSION;
    }
    if (vdso.gnu_hash != NULL && by_gnu_hash("no_such_function") != 0)
        return "a name that does not exist was found";
    return NULL;
}

static int64_t nanoseconds(struct timespec time) {
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int64_t by_call(clockid_t clock) {
    struct timespec time;
    return syscall(SYS_clock_gettime, clock, &time) == 0 ? nanoseconds(time) : -1;
}

static int64_t by_vdso(clockid_t clock) {
    struct timespec time;
    return gettime(clock, &time) == 0 ? nanoseconds(time) : -1;
}

static result exact_clocks(void) {
    static const clockid_t clocks[] = {
        CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_TAI,
    };
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        for (int n = 0; n < 1000; n++) {
            int64_t before = by_call(clocks[i]), now = by_vdso(clocks[i]);
            int64_t after = by_call(clocks[i]), again = by_vdso(clocks[i]);
            if (before < 0 || now < before || after < now || again < after)
                return "function and system call are not in order";
        }
    }
    return NULL;
}

static result coarse_clocks(void) {
    static const clockid_t clocks[][2] = {
        { CLOCK_REALTIME_COARSE, CLOCK_REALTIME }, { CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC },
    };
    for (int i = 0; i < 2; i++) {
        int64_t last = 0, changes = 0;
        /* The bound ends a clock that stands; on a busy emulator ticks come late. */
        int64_t end = by_vdso(CLOCK_MONOTONIC) + 20000000000;
        while (changes < 3 && by_vdso(CLOCK_MONOTONIC) < end) {
            int64_t coarse = by_vdso(clocks[i][0]), exact = by_vdso(clocks[i][1]);
            if (coarse < last || coarse > exact)
                return "a coarse clock is ahead of its exact one, or stepped back";
            changes += coarse != last;
            last = coarse;
        }
        if (changes < 3)
            return "a coarse clock stands still";
    }
    return NULL;
}

static result unknown_clock(void) {
    struct timespec time = { 0 };
    if (gettime(9999, &time) != -EINVAL)
        return "an unknown clock is not -EINVAL";
    return NULL;
}

static result other_functions(void) {
    int (*getres)(clockid_t, struct timespec *) = function(NAME("clock_getres"));
    int (*timeofday)(struct timeval *, void *) = function(NAME("gettimeofday"));
    struct timespec by_function = { 0 }, by_syscall = { 0 };
    if (getres(CLOCK_MONOTONIC, &by_function) != 0
        || syscall(SYS_clock_getres, CLOCK_MONOTONIC, &by_syscall) != 0
        || nanoseconds(by_function) != nanoseconds(by_syscall))
        return "clock_getres differs from the system call";
    struct timeval now;
    int64_t before = by_vdso(CLOCK_REALTIME) / 1000;
    if (timeofday(&now, NULL) != 0)
        return "gettimeofday fails";
    int64_t between = now.tv_sec * 1000000ll + now.tv_usec, after = by_vdso(CLOCK_REALTIME) / 1000;
    if (between < before || between > after)
        return "gettimeofday and clock_gettime are not in order";
    return NULL;
}

static result cpu_number(void) {
    int (*getcpu)(unsigned *, unsigned *, void *) = function(NAME("getcpu"));
    unsigned cpu = ~0u;
    if (getcpu == NULL)
        return "SKIP there is no getcpu";
    if (getcpu(&cpu, NULL, NULL) != 0 || cpu >= 1024)
        return "getcpu has no answer";
    return NULL;
}

/* The last time that any thread has read. A thread that reads after another one has stored must
   not read less. */
static _Atomic int64_t latest;
static atomic_bool stepped_back;

static void *read_in_order(void *argument) {
    for (int i = 0; i < 100000; i++) {
        int64_t before = atomic_load(&latest), now = by_vdso(CLOCK_MONOTONIC);
        if (now < before)
            atomic_store(&stepped_back, true);
        while (before < now && !atomic_compare_exchange_weak(&latest, &before, now)) {
        }
    }
    return argument;
}

static result order_over_threads(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, read_in_order, NULL) != 0)
            return "pthread_create fails";
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return stepped_back ? "time stepped back between threads" : NULL;
}

/* Runs a function in a child, and returns its status. */
static int in_child(void (*run)(void)) {
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run();
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static int64_t before_fork;

static void read_later(void) {
    if (by_vdso(CLOCK_MONOTONIC) < before_fork)
        _exit(1);
}

static result clock_in_fork(void) {
    before_fork = by_vdso(CLOCK_MONOTONIC);
    return in_child(read_later) != 0 ? "a forked process reads an earlier time" : NULL;
}

static void become_self(void) {
    execl(self, self, "child", NULL);
    _exit(2);
}

static result image_in_exec(void) {
    return in_child(become_self) != 0 ? "a program after execve has no vDSO" : NULL;
}

/* Where a page with data of the vDSO is: the place that /proc names, or the image's own segment
   without code. */
static char *data_page(void) {
    unsigned long start = 0;
    char line[256];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && start == 0 && fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "[vvar]") != NULL)
            sscanf(line, "%lx", &start);
    if (maps != NULL)
        fclose(maps);
    const Elf64_Phdr *segment = (const void *)(vdso.base + vdso.header->e_phoff);
    for (int i = 0; start == 0 && i < vdso.header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && !(segment[i].p_flags & PF_X))
            start = vdso.bias + segment[i].p_vaddr;
    return (char *)start;
}

static void write_data(void) {
    char *page = data_page();
    mprotect(page, 1, PROT_READ | PROT_WRITE);
    *(volatile char *)page = 1;
}

static void write_text(void) {
    *(volatile char *)vdso.base = 1;
}

static result data_is_read_only(void) {
    char *page = data_page();
    if (page == NULL)
        return "SKIP the place of the data is not known";
    if (mprotect(page, 1, PROT_READ | PROT_WRITE) == 0)
        return "mprotect makes the data writable";
    int status = in_child(write_data);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
        return "a store to the data does not raise SIGSEGV";
    status = in_child(write_text);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
        return "a store to the text does not raise SIGSEGV";
    return NULL;
}

/* Signals while the clock is read. */
static atomic_int caught;
static atomic_bool wrong_in_handler, stop;
static pthread_t reader;

static void read_in_handler(int signal) {
    (void)signal;
    if (by_vdso(CLOCK_MONOTONIC) < 0)
        wrong_in_handler = true;
    caught++;
}

static void *send_signals(void *argument) {
    for (int i = 0; i < 200; i++) {
        int seen = caught;
        pthread_kill(reader, SIGUSR1);
        while (caught == seen)
            sched_yield();
    }
    stop = true;
    return argument;
}

static result signals_in_the_middle(void) {
    struct sigaction action = { .sa_handler = read_in_handler };
    pthread_t sender;
    sigaction(SIGUSR1, &action, NULL);
    reader = pthread_self();
    if (pthread_create(&sender, NULL, send_signals, NULL) != 0)
        return "pthread_create fails";
    for (int64_t last = 0; !stop;) {
        int64_t now = by_vdso(CLOCK_MONOTONIC);
        if (now < last)
            return "time stepped back around a signal";
        last = now;
    }
    pthread_join(sender, NULL);
    return wrong_in_handler || caught != 200 ? "a handler did not run, or had no time" : NULL;
}

/* Unwinding from a handler to the function that was interrupted. */
static uintptr_t interrupted_from, interrupted_to;
static bool unwound;

static _Unwind_Reason_Code visit(struct _Unwind_Context *context, void *argument) {
    (void)argument;
    uintptr_t at = _Unwind_GetIP(context);
    unwound |= at >= interrupted_from && at < interrupted_to;
    return _URC_NO_REASON;
}

static void unwind(int signal) {
    (void)signal;
    _Unwind_Backtrace(visit, NULL);
}

__attribute__((noinline, section(".text.interrupted"))) static void interrupted(void) {
    raise(SIGUSR2);
    __asm__ volatile("" ::: "memory");
}

#ifndef __GLIBC__
/* The compiler's unwinder is made for glibc, which tells it where the tables are. */
int _dl_find_object(void *pc, void *found) {
    (void)pc, (void)found;
    return -1;
}
#endif

static result unwinding(void) {
#ifndef __GLIBC__
    return "SKIP the unwinder finds tables by glibc alone";
#endif
    struct sigaction action = { .sa_handler = unwind };
    sigaction(SIGUSR2, &action, NULL);
    interrupted_from = (uintptr_t)interrupted;
    interrupted_to = interrupted_from + 128;
    interrupted();
    return unwound ? NULL : "unwinding from a handler does not reach what was interrupted";
}

/* Floating-point registers, the mask and the stack around a handler. */
static char other_stack[65536];
static bool on_other_stack;
static volatile double factor = 3.0;

static void change_registers(int signal) {
    char here;
    on_other_stack = &here > other_stack && &here < other_stack + sizeof other_stack;
    for (int i = 0; i < 100; i++)
        factor = factor * 1.5 / 1.5;
    (void)signal;
}

static result state_around_handlers(void) {
    stack_t stack = { .ss_sp = other_stack, .ss_size = sizeof other_stack };
    struct sigaction action = { .sa_handler = change_registers, .sa_flags = SA_ONSTACK };
    sigset_t before, after;
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigprocmask(SIG_BLOCK, NULL, &before);
    double sum = 0, expected = 0;
    for (int i = 1; i <= 100; i++) {
        sum += 1.0 / i;
        if (i == 50)
            raise(SIGUSR1);
    }
    for (int i = 1; i <= 100; i++)
        expected += 1.0 / i;
    sigprocmask(SIG_BLOCK, NULL, &after);
    if (!on_other_stack)
        return "a handler with SA_ONSTACK runs on the usual stack";
    if (sum != expected)
        return "a handler changed floating-point registers";
    return sigismember(&before, SIGUSR1) == sigismember(&after, SIGUSR1) ? NULL
        : "the mask differs behind a handler";
}

/* A read that a signal interrupts. */
static int ends[2];

static void write_end(int signal) {
    (void)signal;
    if (write(ends[1], "x", 1) != 1)
        _exit(3);
}

static void *signal_reader(void *argument) {
    struct timespec pause = { .tv_nsec = 20000000 };
    nanosleep(&pause, NULL);
    pthread_kill(reader, SIGUSR1);
    return argument;
}

static result interrupted_calls(void) {
    char byte;
    pthread_t sender;
    struct timespec pause = { .tv_sec = 100 }, left = { 0 };
    struct sigaction action = { .sa_handler = write_end, .sa_flags = SA_RESTART };
    if (pipe(ends) != 0)
        return "pipe fails";
    sigaction(SIGUSR1, &action, NULL);
    reader = pthread_self();
    pthread_create(&sender, NULL, signal_reader, NULL);
    if (read(ends[0], &byte, 1) != 1)
        return "a read is not made again behind a handler with SA_RESTART";
    pthread_join(sender, NULL);
    pthread_create(&sender, NULL, signal_reader, NULL);
    if (nanosleep(&pause, &left) == 0 || errno != EINTR || left.tv_sec < 90)
        return "a sleep is not interrupted, or does not say what is left";
    pthread_join(sender, NULL);
    return NULL;
}

static result sleeping(void) {
    struct timespec until;
    gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 30000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        return "clock_nanosleep fails";
    if (by_vdso(CLOCK_MONOTONIC) < nanoseconds(until))
        return "a sleep ended too early by the clock";
    return NULL;
}

/* Memory of parent and child. */
static volatile int *shared, copied;

static void write_both(void) {
    *shared = 1;
    copied = 1;
}

static result memory_in_fork(void) {
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return "mmap fails";
    if (in_child(write_both) != 0 || *shared != 1 || copied != 0)
        return "shared memory is not shared, or other memory is";
    return NULL;
}

/* A word that is passed between two threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;

static void *take_turns(void *argument) {
    int mine = argument != NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 1000; i++) {
        while (turn != mine)
            pthread_cond_wait(&changed, &lock);
        turn = !mine;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    return argument;
}

static result threads_take_turns(void) {
    pthread_t other;
    struct timespec soon;
    if (pthread_create(&other, NULL, take_turns, &turn) != 0)
        return "pthread_create fails";
    take_turns(NULL);
    pthread_join(other, NULL);
    clock_gettime(CLOCK_REALTIME, &soon);
    pthread_mutex_lock(&lock);
    int ended = pthread_cond_timedwait(&changed, &lock, &soon);
    pthread_mutex_unlock(&lock);
    return ended == ETIMEDOUT ? NULL : "a wait with a time-out that has passed does not end";
}

/* Facts of the process, where the kernel has a page of them for each. */
static pid_t (*getpid_here)(void), (*getppid_here)(void);
static volatile int wrong_facts;
static atomic_bool forked_all;

static bool facts_are_right(void) {
    return getpid_here() == syscall(SYS_getpid) && getppid_here() == syscall(SYS_getppid);
}

static void check_facts(void) {
    _exit(!facts_are_right());
}

static void *read_facts(void *argument) {
    pid_t own = syscall(SYS_getpid);
    while (!forked_all)
        if (getpid_here() != own)
            wrong_facts++;
    return argument;
}

static void leave_orphan(void) {
    pid_t parent = getpid();
    if (fork() != 0)
        _exit(0);
    while (syscall(SYS_getppid) == parent)
        sched_yield();
    *shared = facts_are_right() ? 1 : 2;
    _exit(0);
}

static result facts_of_processes(void) {
    pthread_t other;
    getpid_here = function("vdso_getpid");
    getppid_here = function("vdso_getppid");
    if (getpid_here == NULL || getppid_here == NULL)
        return "SKIP there is no vdso_getpid";
    if (!facts_are_right() || in_child(check_facts) != 0)
        return "a process, or a forked one, reads wrong facts";
    /* Children of vfork share the memory of a thread that reads meanwhile. */
    pthread_create(&other, NULL, read_facts, NULL);
    for (int i = 0; i < 200; i++) {
        pid_t child = vfork();
        if (child == 0) {
            if (!facts_are_right())
                wrong_facts++;
            _exit(0);
        }
        waitpid(child, NULL, 0);
        if (!facts_are_right())
            wrong_facts++;
    }
    forked_all = true;
    pthread_join(other, NULL);
    if (wrong_facts != 0)
        return "a process reads another one's facts around vfork";
    *shared = 0;
    in_child(leave_orphan);
    while (*shared == 0)
        sched_yield();
    return *shared == 1 ? NULL : "an orphan reads the parent that has ended";
}

/* Several calls in one entry, a call of the reference kernel's only. */
static result calls_in_a_batch(void) {
    alignas(64) long entries[16][8] = { { 0 } };
    for (int i = 0; i < 16; i++)
        entries[i][0] = i % 2 == 0 ? SYS_getpid : SYS_close;
    for (int i = 1; i < 16; i += 2)
        entries[i][1] = -1;
    long made = syscall(1000, entries, 16);
    if (made == -1 && errno == ENOSYS)
        return "SKIP there is no batch";
    for (int i = 0; i < 16; i++)
        if (entries[i][7] != (i % 2 == 0 ? syscall(SYS_getpid) : -EBADF))
            return "a call in a batch has another result";
    if (syscall(1000, &entries[0][1], 1) != -1 || errno != EINVAL)
        return "entries that may lie in two pages are taken";
    return made == 16 ? NULL : "a batch does not make all calls";
}

/* Random bytes, with a state as getrandom's documentation in the kernel's source has it. */
static result random_bytes(void) {
    struct {
        uint32_t size, protection, flags, reserved[13];
    } parameters = { 0 };
    ssize_t (*random)(void *, size_t, unsigned, void *, size_t) = function(NAME("getrandom"));
    if (random == NULL || random(NULL, 0, 0, &parameters, ~0ul) != 0)
        return "SKIP there is no getrandom";
    void *state = mmap(NULL, 4096, parameters.protection, parameters.flags, -1, 0);
    if (state == MAP_FAILED)
        return "the memory that getrandom wants can't be mapped";
    unsigned char *bytes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (random(bytes, 32, 0, state, parameters.size) != 32
        || random(bytes + 32, 32, 0, state, parameters.size) != 32)
        return "getrandom fails";
    if (memcmp(bytes, bytes + 32, 32) == 0)
        return "the same bytes came twice";
    pid_t child = fork();
    ssize_t length = random(bytes + (child == 0 ? 64 : 96), 32, 0, state, parameters.size);
    if (child == 0)
        _exit(length == 32 ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    if (status != 0 || length != 32)
        return "getrandom fails after fork";
    return memcmp(bytes + 64, bytes + 96, 32) == 0 ? "parent and child have the same bytes" : NULL;
}

static const struct {
    const char *name;
    result (*run)(void);
} tests[] = {
    { "AT_SYSINFO_EHDR leads to an image with clock_gettime", has_image },
    { "functions are found by hash tables, with their version", has_symbols },
    { "exact clocks and system calls are in order", exact_clocks },
    { "coarse clocks are behind exact ones, and move", coarse_clocks },
    { "an unknown clock is -EINVAL", unknown_clock },
    { "clock_getres and gettimeofday agree with the clocks", other_functions },
    { "getcpu has an answer", cpu_number },
    { "time is in order over threads", order_over_threads },
    { "a forked process reads the clock", clock_in_fork },
    { "a program after execve has a vDSO", image_in_exec },
    { "neither data nor text can be written", data_is_read_only },
    { "signals in the middle of a read", signals_in_the_middle },
    { "unwinding from a handler", unwinding },
    { "registers, mask and stack around a handler", state_around_handlers },
    { "calls that a signal interrupts", interrupted_calls },
    { "a sleep does not end early", sleeping },
    { "memory of a forked process", memory_in_fork },
    { "threads take turns", threads_take_turns },
    { "random bytes, also after a fork", random_bytes },
    { "facts of processes through fork, vfork and a parent's end", facts_of_processes },
    { "several calls in one entry", calls_in_a_batch },
};

int main(int count, char **arguments) {
    self = (const char *)getauxval(AT_EXECFN);
    if (count > 1 && strcmp(arguments[1], "child") == 0)
        return has_image() != NULL;
    if (getpid() == 1) {
        /* Where Linux says which pages are the data's. */
        mkdir("/proc", 0755);
        mount("proc", "/proc", "proc", 0, NULL);
    }
    int number = sizeof tests / sizeof *tests, failed = 0;
    printf("TAP version 13\n1..%d\n", number);
    for (int i = 0; i < number; i++) {
        result why = tests[i].run();
        bool is_skipped = why != NULL && strncmp(why, "SKIP ", 5) == 0;
        failed += why != NULL && !is_skipped;
        printf("%sok %d - %s", why != NULL && !is_skipped ? "not " : "", i + 1, tests[i].name);
        printf(is_skipped ? " # %s\n" : why != NULL ? "\n# %s\n" : "\n", why);
        fflush(stdout);
    }
    /* What is printed has to reach the console first. */
    tcdrain(1);
    if (getpid() == 1 && syscall(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, NULL) != 0)
        return failed != 0;
    return failed != 0;
}
