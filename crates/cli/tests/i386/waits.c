// Waits by one system call, and says for how long: by the clock of the program, and in real time.
// Each call is made by its number, through `int $0x80`, with structures of i386's.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct time32 {
    int32_t seconds, rest;
};
struct time64 {
    int64_t seconds, nanoseconds;
};

static int call(int number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e,
                uintptr_t f) {
    struct {
        uintptr_t number, b, c, d, e, f;
    } arguments = {number, b, c, d, e, f};
    int result;
    // All six argument registers have to be as before, the frame pointer among them.
    __asm__ volatile("push %%ebx\n\tpush %%ebp\n\tpush %%esi\n\tpush %%edi\n\t"
                     "mov %%eax, %%ebx\n\tmov 4(%%edx), %%ecx\n\tmov 12(%%edx), %%esi\n\t"
                     "mov 16(%%edx), %%edi\n\tmov 20(%%edx), %%ebp\n\tpush (%%edx)\n\t"
                     "mov 8(%%edx), %%edx\n\tpop %%eax\n\t"
                     "push %%ebp\n\tpush %%edi\n\tpush %%esi\n\tpush %%edx\n\tpush %%ecx\n\t"
                     "push %%ebx\n\tint $0x80\n\t"
                     "cmp (%%esp), %%ebx\n\tjne 1f\n\tcmp 4(%%esp), %%ecx\n\tjne 1f\n\t"
                     "cmp 8(%%esp), %%edx\n\tjne 1f\n\tcmp 12(%%esp), %%esi\n\tjne 1f\n\t"
                     "cmp 16(%%esp), %%edi\n\tjne 1f\n\tcmp 20(%%esp), %%ebp\n\tje 2f\n"
                     "1:\tmov $-1000, %%eax\n"
                     "2:\tadd $24, %%esp\n\tpop %%edi\n\tpop %%esi\n\tpop %%ebp\n\tpop %%ebx"
                     : "=a"(result)
                     : "0"(a), "d"(&arguments)
                     : "ecx", "memory", "cc");
    return result;
}

static int64_t now(int clock, int real) {
    struct time64 now;
    if (real) {
        call(403, clock, (uintptr_t)&now, 0, 0, 0, 0);
        return now.seconds * 1000000000 + now.nanoseconds;
    }
    struct timespec shown;
    clock_gettime(clock, &shown);
    return shown.tv_sec * (int64_t)1000000000 + shown.tv_nsec;
}

// Waits for a timer by its signal, and returns 0 if `left`, what timer_gettime(2) or its like said to
// remain after it was set, is at most what it was set to. Time passes fast, so it may be less.
static int until_signal(int64_t left) {
    sigset_t alarms;
    int signal;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigwait(&alarms, &signal);
    return left < 0 || left > 30;
}

static int until_readable(int timer, int64_t left) {
    uint64_t expirations = 0;
    return read(timer, &expirations, 8) != 8 || expirations != 1 || left < 0 || left > 30;
}

static void handler(int signal) {
    (void)signal;
}

int main(int count, char **arguments) {
    const char *name = count > 1 ? arguments[1] : "";
    // The wait lasts half a minute.
    struct time32 narrow = {30, 0}, left32 = {-1, -1}, wall32 = {time(NULL) + 30, 0};
    struct time64 wide = {30, 0}, left64 = {-1, -1}, wall64 = {time(NULL) + 30, 0};
    struct time64 due = {now(1, 0) / 1000000000 + 30, 0};
    struct time32 due32 = {due.seconds, 0};
    int word = 1, expected = 0, result = -1001, epoll = epoll_create1(0);
    struct epoll_event event;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarms, NULL);
    struct time32 timer32[2] = {{0, 0}, {30, 0}};
    struct time64 timer64[2] = {{0, 0}, {30, 0}};
    int id, descriptor = timerfd_create(CLOCK_MONOTONIC, 0);
    call(259, 1, 0, (uintptr_t)&id, 4, 5, 6);
    if (count > 2) {
        puts("waits");
        fflush(stdout);
    }
    int64_t shown = now(1, 0), real = now(1, 1);
#define P(x) ((uintptr_t)&(x))
#define IS(text) (!strcmp(name, text))
    if (IS("nanosleep"))
        result = call(162, P(narrow), P(left32), 3, 4, 5, 6);
    if (IS("clock_nanosleep"))
        result = call(267, 1, 0, P(narrow), P(left32), 5, 6);
    if (IS("clock_nanosleep wall"))
        result = call(267, 0, 1, P(wall32), 0, 5, 6);
    if (IS("clock_nanosleep_time64"))
        result = call(407, 1, 0, P(wide), P(left64), 5, 6);
    if (IS("clock_nanosleep_time64 wall"))
        result = call(407, 0, 1, P(wall64), 0, 5, 6);
    if (IS("clock_nanosleep_time64 due"))
        result = call(407, 1, 1, P(due), 0, 5, 6);
    expected = -ETIMEDOUT;
    if (IS("futex"))
        result = call(240, P(word), 0, 1, P(narrow), 5, 6);
    if (IS("futex bitset"))
        result = call(240, P(word), 9, 1, P(due32), 5, 6);
    if (IS("futex wall"))
        result = call(240, P(word), 9 | 256, 1, P(wall32), 5, 6);
    if (IS("futex_time64"))
        result = call(422, P(word), 0, 1, P(wide), 5, 6);
    if (IS("futex_time64 wall"))
        result = call(422, P(word), 9 | 256, 1, P(wall64), 5, 6);
    if (strncmp(name, "futex", 5))
        expected = 0;
    if (IS("poll"))
        result = call(168, 0, 0, 30000, 4, 5, 6);
    if (IS("ppoll"))
        result = call(309, 0, 0, P(narrow), 0, 8, 6);
    if (IS("ppoll_time64"))
        result = call(414, 0, 0, P(wide), 0, 8, 6);
    if (IS("select"))
        result = call(142, 0, 0, 0, 0, P(narrow), 6);
    if (IS("pselect6"))
        result = call(308, 0, 0, 0, 0, P(narrow), 0);
    if (IS("pselect6_time64"))
        result = call(413, 0, 0, 0, 0, P(wide), 0);
    if (IS("epoll_wait"))
        result = call(256, epoll, P(event), 1, 30000, 5, 6);
    if (IS("epoll_pwait"))
        result = call(319, epoll, P(event), 1, 30000, 0, 8);
    if (IS("epoll_pwait2"))
        result = call(441, epoll, P(event), 1, P(wide), 0, 8);
    if (!strncmp(name, "rt_sigtimedwait", 15))
        expected = -EAGAIN;
    if (IS("rt_sigtimedwait"))
        result = call(177, P(set), 0, P(narrow), 8, 5, 6);
    if (IS("rt_sigtimedwait_time64"))
        result = call(421, P(set), 0, P(wide), 8, 5, 6);
    if (IS("alarm"))
        result = call(27, 30, 2, 3, 4, 5, 6) || until_signal(call(27, 30, 2, 3, 4, 5, 6));
    if (IS("setitimer")) {
        struct time32 old[2] = {{-1, -1}, {-1, -1}};
        result = call(104, 0, (uintptr_t)timer32, 0, 4, 5, 6);
        call(105, 0, (uintptr_t)old, 3, 4, 5, 6);
        result = result || until_signal(old[1].seconds);
    }
    if (IS("timer_settime")) {
        struct time32 old[2] = {{-1, -1}, {-1, -1}};
        result = call(260, id, 0, (uintptr_t)timer32, 0, 5, 6);
        call(261, id, (uintptr_t)old, 3, 4, 5, 6);
        result = result || until_signal(old[1].seconds) || call(263, id, 2, 3, 4, 5, 6);
    }
    if (IS("timer_settime64")) {
        struct time64 old[2] = {{-1, -1}, {-1, -1}};
        result = call(409, id, 0, (uintptr_t)timer64, 0, 5, 6);
        call(408, id, (uintptr_t)old, 3, 4, 5, 6);
        result = result || until_signal(old[1].seconds) || call(263, id, 2, 3, 4, 5, 6);
    }
    if (IS("timerfd_settime")) {
        struct time32 old[2] = {{-1, -1}, {-1, -1}};
        result = call(325, descriptor, 0, (uintptr_t)timer32, 0, 5, 6);
        call(326, descriptor, (uintptr_t)old, 3, 4, 5, 6);
        result = result || until_readable(descriptor, old[1].seconds);
    }
    if (IS("timerfd_settime64")) {
        struct time64 old[2] = {{-1, -1}, {-1, -1}};
        result = call(411, descriptor, 0, (uintptr_t)timer64, 0, 5, 6);
        call(410, descriptor, (uintptr_t)old, 3, 4, 5, 6);
        result = result || until_readable(descriptor, old[1].seconds);
    }
    // The C library's own, through `__kernel_vsyscall`.
    if (IS("sleep"))
        result = sleep(30);
    if (IS("usleep"))
        result = usleep(30000000);
    if (IS("interrupted")) {
        // A handler ends a sleep of 30 seconds after 10, and 20 remain.
        struct timespec left = {-1, -1}, all = {30, 0};
        struct sigaction action = {.sa_handler = handler};
        sigaction(SIGUSR1, &action, NULL);
        if (!fork()) {
            sleep(10);
            kill(getppid(), SIGUSR1);
            _exit(0);
        }
        result = nanosleep(&all, &left);
        printf("%d %d %ld\n", result, errno == EINTR, (long)left.tv_sec);
        return 0;
    }
    shown = now(1, 0) - shown, real = now(1, 1) - real;
    // What remains is written by those that do.
    int has_left = narrow.seconds == 0 || wide.seconds == 0;
    printf("%s %lld %lld %d\n", result == expected ? "as expected" : "otherwise",
           (long long)(shown / 1000000), (long long)(real / 1000000), has_left);
    if (result != expected)
        printf("%d, not %d\n", result, expected);
    return 0;
}
