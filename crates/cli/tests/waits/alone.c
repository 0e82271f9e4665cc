// A process with one thread, which is in a call that the supervisor serves, or that ends only after
// such a call, or in none, when one of its timers has to be set again: prints "fired" once that fires.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t fired;

static void fires(int signal) {
    (void)signal;
    fired = 1;
}

static struct timespec later(time_t seconds) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec += seconds;
    return time;
}

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    sigset_t alarm, none;
    sigemptyset(&none);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, 0);
    signal(SIGALRM, fires);
    if (!strcmp(way, "polls")) {
        const struct itimerval timer = {{0, 0}, {5, 0}};
        const struct timespec pause = {0, 10000000};
        setitimer(ITIMER_REAL, &timer, 0);
        sigprocmask(SIG_UNBLOCK, &alarm, 0);
        while (!fired) nanosleep(&pause, 0);
        puts("fired");
        return 0;
    }
    timer_t timer;
    struct itimerspec due = {{0, 0}, later(10000)};
    if (timer_create(CLOCK_REALTIME, 0, &timer) || timer_settime(timer, TIMER_ABSTIME, &due, 0)) return 1;
    if (!strcmp(way, "runs")) {
        // Without a call, until somebody writes into the file.
        int file = open(count > 2 ? arguments[2] : "", O_RDONLY);
        volatile char *written = mmap(0, 1, PROT_READ, MAP_SHARED, file, 0);
        if (written == MAP_FAILED) return 5;
        puts("runs");
        fflush(stdout);
        while (!*written) {}
        while (!fired) sigsuspend(&none);
        puts("fired");
        return 0;
    }
    struct timespec past = later(20000);
    if (!strcmp(way, "sets")) {
        if (clock_settime(CLOCK_REALTIME, &past)) return 2;
    } else {
        // The parent sleeps until the child ends (vfork(2)).
        pid_t child = vfork();
        if (!child) _exit(clock_settime(CLOCK_REALTIME, &past) ? 3 : 0);
        int status;
        if (waitpid(child, &status, 0) != child || status) return 4;
    }
    while (!fired) sigsuspend(&none);
    puts("fired");
    return 0;
}
