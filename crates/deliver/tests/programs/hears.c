/* Counts signals that carry values, and SIGTRAP and SIGSEGV that a process sent, while it reads
   the clock. Says the counts at the end of its input. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static volatile long values, sum, traps, faults, sender;

static void hear(int signal, siginfo_t *info, void *context)
{
    (void)context;
    if (signal == SIGRTMIN) {
        values++;
        sum += info->si_value.sival_int;
    } else if (signal == SIGTRAP) {
        traps++;
    } else {
        faults++;
    }
    sender = info->si_pid;
}

int main(void)
{
    struct pollfd input = { .fd = 0, .events = POLLIN };
    struct sigaction action = { .sa_sigaction = hear, .sa_flags = SA_SIGINFO | SA_RESTART };
    struct timespec now;
    if (sigaction(SIGRTMIN, &action, 0) || sigaction(SIGTRAP, &action, 0) ||
        sigaction(SIGSEGV, &action, 0))
        return 1;
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        for (int i = 0; i < 1000; i++)
            clock_gettime(CLOCK_MONOTONIC, &now);
        if (poll(&input, 1, 0) > 0)
            break;
    }
    printf("%ld %ld %ld %ld %d\n", values, sum, traps, faults, sender == getppid());
    return 0;
}
