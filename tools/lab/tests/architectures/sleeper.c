// sleeper SECONDS [epoll]: sleeps and reads the clock by turns, and says of each turn for how long it
// slept, in milliseconds of the kernel's clock, how many signals it got so far, which year it is, and in how
// many handlers of signals a backtrace reached `main`.
// With `epoll` it waits for events that never come, and counts how often that failed.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

static volatile sig_atomic_t signals, unwound;

int main(int count_of_arguments, char **arguments);

static _Unwind_Reason_Code look(struct _Unwind_Context *frame, void *found) {
    if (_Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(frame)) == (void *)main)
        *(int *)found = 1;
    return _URC_NO_REASON;
}

static void count(int signal) {
    (void)signal;
    int found = 0;
    _Unwind_Backtrace(look, &found);
    unwound += found;
    signals++;
}

// The kernel's clock, whatever the vDSO says.
static long milliseconds(void) {
    struct timespec time;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int main(int count_of_arguments, char **arguments) {
    int seconds = count_of_arguments > 1 ? atoi(arguments[1]) : 1;
    signal(SIGUSR1, count);
    struct epoll_event event;
    int events = epoll_create1(0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        struct timespec nap = {seconds, 0}, now;
        long before = milliseconds();
        if (count_of_arguments < 3)
            nanosleep(&nap, NULL);
        else if (epoll_wait(events, &event, 1, seconds * 1000) < 0)
            signals++;
        long slept = milliseconds() - before;
        clock_gettime(CLOCK_REALTIME, &now);
        struct tm date;
        gmtime_r(&now.tv_sec, &date);
        printf("%ld %d %d %d\n", slept, (int)signals, date.tm_year + 1900, (int)unwound);
    }
}
