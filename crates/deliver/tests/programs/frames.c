/* A signal interrupts a vDSO function, and another signal, on an alternate stack, interrupts the
   first one's handler. The program says "ready" from there. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static void second(int signal)
{
    char line[64];
    (void)signal;
    if (write(1, "ready\n", 6) == 6 && read(0, line, sizeof line) > 0)
        _exit(0);
    _exit(1);
}

static void first(int signal, siginfo_t *info, void *context)
{
    unsigned long at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    (void)signal;
    (void)info;
    if (at - getauxval(AT_SYSINFO_EHDR) < 0x2000)
        raise(SIGUSR1);
}

int main(void)
{
    stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
    struct sigaction on_main = { .sa_sigaction = first, .sa_flags = SA_SIGINFO };
    struct sigaction on_other = { .sa_handler = second, .sa_flags = SA_ONSTACK };
    struct itimerval each = { { 0, 200 }, { 0, 200 } };
    struct timespec now;
    if (sigaltstack(&stack, 0) || sigaction(SIGALRM, &on_main, 0) ||
        sigaction(SIGUSR1, &on_other, 0) || setitimer(ITIMER_REAL, &each, 0))
        return 1;
    for (;;)
        clock_gettime(CLOCK_MONOTONIC, &now);
}
