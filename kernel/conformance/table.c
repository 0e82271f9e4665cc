/* What the reference kernel has and Linux has not: pages of its own image in programs, execute-only
   text, calls that a process is denied, and clocks that a test may set. The output is TAP. It does
   nothing on another kernel, whose clocks are not to be set. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vdso.h"

/* NULL when a test passes, else what is wrong. */
typedef const char *result;

#define PAGE 4096
/* The kernel's call that denies others, and their bits. */
#define DENY 1001
enum { CLOCK = 1, RANDOM = 2, SOCKET = 4 };

typedef int (*gettime)(clockid_t, struct timespec *);

static int64_t nanoseconds(struct timespec time) {
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int64_t by_call(void) {
    struct timespec time;
    return syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time) == 0 ? nanoseconds(time) : -1;
}

/* Runs a function with an argument in a child, and returns its status. */
static int in_child(int (*run)(void *), void *argument) {
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(run(argument));
    return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static int load(void *address) {
    return *(volatile char *)address & 0;
}

static int store(void *address) {
    *(volatile char *)address = 1;
    return 0;
}

static bool faults(int (*access)(void *), void *address) {
    int status = in_child(access, address);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

/* The image's second segment, which is its page: the distance from the base. */
static size_t distance_of_page(void) {
    const Elf64_Phdr *segment = (const void *)(vdso.base + vdso.header->e_phoff);
    for (int i = 0; i < vdso.header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && !(segment[i].p_flags & PF_X))
            return segment[i].p_vaddr + vdso.bias - (intptr_t)vdso.base;
    return 0;
}

static result image_in_a_program(void) {
    size_t page = distance_of_page();
    int file = open("/dev/image/vdso", O_RDONLY);
    char *readable = mmap(NULL, page, PROT_READ, MAP_PRIVATE, file, 0);
    char *reserved = mmap(NULL, page + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (readable == MAP_FAILED || reserved == MAP_FAILED)
        return "the kernel's image can't be mapped";
    if (memcmp(readable, vdso.base, PAGE) != 0)
        return "a mapping of the kernel's image differs from the vDSO";
    if (mmap(reserved, page, PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0) != reserved
        || mmap(reserved + page, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, page)
            != reserved + page)
        return "the kernel's image can't be mapped execute-only";
    gettime function_here = function(NAME("clock_gettime"));
    gettime function_there = (gettime)(reserved + ((const char *)function_here - vdso.base));
    for (int i = 0; i < 1000; i++) {
        struct timespec now;
        int64_t before = by_call();
        if (function_there(CLOCK_MONOTONIC, &now) != 0 || nanoseconds(now) < before
            || by_call() < nanoseconds(now))
            return "the kernel's clock_gettime has another time in a program";
    }
    if (!faults(load, reserved))
        return "an execute-only page can be read";
    if (!faults(store, readable) || !faults(store, reserved + page))
        return "a page of the kernel's image can be written";
    close(file);
    return NULL;
}

static result rights_of_images(void) {
    int file = open("/dev/image/calls", O_RDONLY);
    static const int refused[] = { PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE, PROT_WRITE, 0 };
    for (int i = 0; i < 4; i++)
        if (mmap(NULL, PAGE, refused[i], MAP_SHARED, file, 0) != MAP_FAILED || errno != EACCES)
            return "other rights than to read, or to execute, are given";
    if (mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, PAGE) != MAP_FAILED)
        return "what is behind the section is mapped";
    char *calls = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (calls == MAP_FAILED)
        return "the page of counts can't be mapped";
    if (mprotect(calls, PAGE, PROT_READ | PROT_WRITE) == 0)
        return "mprotect makes the kernel's image writable";
    return open("/dev/image/other", O_RDONLY) >= 0 ? "a section that does not exist is there" : NULL;
}

static result counts_of_calls(void) {
    int file = open("/dev/image/calls", O_RDONLY);
    _Atomic uint64_t *calls = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (calls == MAP_FAILED)
        return "the page of counts can't be mapped";
    uint64_t before = calls[SYS_getppid];
    for (int i = 0; i < 5; i++)
        syscall(SYS_getppid);
    return calls[SYS_getppid] != before + 5 ? "the kernel's counts are others" : NULL;
}

/* The function of examples/beast, whose variable the kernel changes each second. */
static result function_of_ones_own(void) {
    uint64_t (*number)(void) = function("number_of_the_beast");
    uint64_t (*with_prefix)(void) = function("__vdso_number_of_the_beast");
    if (number == NULL || with_prefix != number)
        return "there is no number_of_the_beast";
    uint64_t first = number(), next = first;
    /* The bound ends a variable that stands; on a busy emulator ticks come late. */
    for (int64_t end = by_call() + 60000000000; next == first && by_call() < end;)
        next = number();
    if (first + next != 666 + 616)
        return next == first ? "the variable does not change" : "the variable has another value";
    return NULL;
}

static result execute_only_text(void) {
    gettime read_clock = function(NAME("clock_gettime"));
    struct timespec now;
    if (read_clock(CLOCK_MONOTONIC, &now) != 0)
        return "the function fails";
    return faults(load, (void *)read_clock) ? NULL : "the function's instructions can be read";
}

/* What a process finds that is denied some calls: bits of what is as it should not be. */
static int look_for(void *argument) {
    int denied = (int)(intptr_t)argument;
    struct timespec now;
    char byte;
    bool has_clock = function(NAME("clock_gettime")) || function(NAME("clock_getres"))
        || function(NAME("gettimeofday")) || function("vdso_clock_bound");
    bool has_random = function(NAME("getrandom"));
    bool calls_clock = syscall(SYS_clock_gettime, CLOCK_REALTIME, &now) == 0 || errno != EPERM;
    bool calls_random = getrandom(&byte, 1, 0) == 1 || errno != EPERM;
    bool opens_random = open("/dev/urandom", O_RDONLY) >= 0;
    bool calls_socket = socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM;
    /* The record of CLOCK_MONOTONIC. */
    const char *record = vdso.base + distance_of_page() + 64 + 320;
    bool reads_clock = *(volatile uint64_t *)record != 0;
    bool is_right = has_clock == !(denied & CLOCK) && calls_clock == !(denied & CLOCK)
        && reads_clock == !(denied & CLOCK) && has_random == !(denied & RANDOM)
        && calls_random == !(denied & RANDOM) && opens_random == !(denied & RANDOM)
        && calls_socket == !(denied & SOCKET);
    return is_right ? 0 : 1;
}

static int become_denied(void *argument) {
    char bits[2] = { '0' + (int)(intptr_t)argument };
    if (syscall(DENY, (intptr_t)argument) != 0 || look_for(argument) != 0)
        return 2;
    char *self = (char *)getauxval(AT_EXECFN);
    char *arguments[] = { self, "denied", bits, NULL };
    execv(self, arguments);
    return 3;
}

static result denied_calls(void) {
    for (intptr_t denied = 0; denied < 8; denied++) {
        if (in_child(become_denied, (void *)denied) != 0)
            return "a variant has other functions or calls than it should";
    }
    return look_for(NULL) != 0 ? "a child's denial is its parent's" : NULL;
}

/* Threads that read while the clock is slewed and stepped. */
static atomic_bool stop, stepped_back;
static _Atomic int64_t latest;
static atomic_long reads;

static void *read_in_order(void *argument) {
    long goal = (long)(intptr_t)argument, done = 0;
    gettime read_clock = function(NAME("clock_gettime"));
    while (!stop && done < goal) {
        int64_t before = latest;
        for (int i = 0; i < 100; i++) {
            struct timespec time;
            read_clock(CLOCK_MONOTONIC, &time);
            int64_t now = nanoseconds(time);
            if (now < before)
                stepped_back = stop = true;
            before = now;
        }
        done += 100;
        reads += 100;
        int64_t now = before;
        for (before = latest; before < now;)
            if (atomic_compare_exchange_weak(&latest, &before, now))
                break;
    }
    return argument;
}

static long wanted = 400000;

static result slewed_and_stepped(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, read_in_order, (void *)(wanted / 4)) != 0)
            return "pthread_create fails";
    struct timespec start, pause = { 0, 5000000 };
    clock_gettime(CLOCK_REALTIME, &start);
    for (int i = 0; reads < wanted / 4 * 4 && !stop; i++) {
        struct timex frequency = { .modes = ADJ_FREQUENCY, .freq = (i % 3 - 1) * (400l << 16) };
        struct timex slew = { .modes = ADJ_OFFSET_SINGLESHOT, .offset = (i % 5 - 2) * 1000 };
        struct timespec step = { start.tv_sec + i % 7 * 1000, 0 };
        if (syscall(SYS_clock_adjtime, CLOCK_REALTIME, &frequency) < 0
            || syscall(SYS_clock_adjtime, CLOCK_REALTIME, &slew) < 0
            || syscall(SYS_clock_settime, CLOCK_REALTIME, &step) != 0)
            return "the clock can't be set";
        /* A machine that prints nothing for long counts as one that hangs. */
        if (i % 500 == 499) {
            printf("# %ld reads\n", (long)reads);
            fflush(stdout);
        }
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    return stepped_back ? "time stepped back" : NULL;
}

static const struct {
    const char *name;
    result (*run)(void);
} tests[] = {
    { "the kernel's clock_gettime is what programs call: one text, mapped twice", image_in_a_program },
    { "sections of the kernel's image are read-only or execute-only", rights_of_images },
    { "a page of the kernel's image tells its counts without a call", counts_of_calls },
    { "a function and a variable of one's own, changed at the kernel's update", function_of_ones_own },
    { "the vDSO's functions are execute-only", execute_only_text },
    { "a denied process has neither functions nor calls", denied_calls },
    { "time is in order while it is slewed and stepped", slewed_and_stepped },
};

/* One reading of the clock and some random bytes, by a function where there is one: which it is, a
   kernel that counts calls tells. */
static int use(void) {
    gettime read_clock = read_vdso() ? function(NAME("clock_gettime")) : NULL;
    ssize_t (*random)(void *, size_t, unsigned, void *, size_t)
        = vdso.base != NULL ? function(NAME("getrandom")) : NULL;
    struct {
        uint32_t size, protection, flags, reserved[13];
    } parameters = { 0 };
    struct timespec now;
    char bytes[16];
    if (read_clock != NULL ? read_clock(CLOCK_REALTIME, &now) : (int)syscall(SYS_clock_gettime, 0, &now))
        return 1;
    void *state = NULL;
    if (random != NULL && random(NULL, 0, 0, &parameters, ~0ul) == 0)
        state = mmap(NULL, PAGE, parameters.protection, parameters.flags, -1, 0);
    printf("clock by %s, random bytes by %s\n", read_clock != NULL ? "function" : "call",
        random != NULL ? "function" : "call");
    if (random != NULL)
        return random(bytes, sizeof bytes, 0, state, parameters.size) != sizeof bytes;
    return getrandom(bytes, sizeof bytes, 0) != sizeof bytes;
}

int main(int count, char **arguments) {
    struct utsname name;
    if (uname(&name) != 0 || strcmp(name.nodename, "reference") != 0) {
        fprintf(stderr, "this kernel is not the reference kernel\n");
        return 2;
    }
    if (count > 1 && strcmp(arguments[1], "use") == 0)
        return use();
    if (!read_vdso())
        return 1;
    if (count > 2 && strcmp(arguments[1], "denied") == 0)
        return look_for((void *)(intptr_t)(arguments[2][0] - '0'));
    if (count > 2 && strcmp(arguments[1], "reads") == 0)
        wanted = atol(arguments[2]);
    int number = sizeof tests / sizeof *tests, failed = 0;
    printf("TAP version 13\n1..%d\n", number);
    for (int i = 0; i < number; i++) {
        result why = tests[i].run();
        failed += why != NULL;
        printf("%sok %d - %s\n", why != NULL ? "not " : "", i + 1, tests[i].name);
        if (why != NULL)
            printf("# %s\n", why);
        fflush(stdout);
    }
    return failed != 0;
}
