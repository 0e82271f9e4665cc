/* Reads the clock while a signal comes every half millisecond. The handler of one that comes in
   the vDSO unwinds the stack, which must lead to main. Says how many did and did not. With an
   argument, only reads the clock until its input ends. */
#define _GNU_SOURCE
#include <execinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile long reached, lost;
static unsigned long begin, end, caller, caller_end;

static void unwind(int signal, siginfo_t *info, void *context)
{
    unsigned long at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    void *frames[32];
    (void)signal;
    (void)info;
    if (at < begin || at >= end)
        return;
    int count = backtrace(frames, 32), found = 0;
    for (int i = 0; i < count; i++)
        found |= (unsigned long)frames[i] >= caller && (unsigned long)frames[i] < caller_end;
    if (found)
        reached++;
    else
        lost++;
}

__attribute__((noinline)) static void reads(void)
{
    struct timespec now;
    for (int i = 0; i < 1000; i++)
        clock_gettime(CLOCK_REALTIME, &now);
    asm volatile("");
}

int main(int count, char **arguments)
{
    char line[512];
    void *frame[1];
    struct pollfd input = { .fd = 0, .events = POLLIN };
    struct sigaction action = { .sa_sigaction = unwind, .sa_flags = SA_SIGINFO | SA_RESTART };
    struct itimerval each = { { 0, 500 }, { 0, 500 } };
    (void)arguments;
    begin = getauxval(AT_SYSINFO_EHDR);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        /* Several mappings of it lie behind each other, with pages of values between. */
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && from >= begin &&
            (from == begin || strstr(line, "r-xp 00000000 00:01")) && to - begin < 0x10000)
            end = to;
    }
    caller = (unsigned long)reads;
    caller_end = caller + 128;
    backtrace(frame, 1);
    if (count > 1) {
        printf("ready\n");
        fflush(stdout);
        while (poll(&input, 1, 0) == 0)
            reads();
        return 0;
    }
    if (sigaction(SIGALRM, &action, 0) || setitimer(ITIMER_REAL, &each, 0))
        return 1;
    while (reached + lost < 50)
        reads();
    memset(&each, 0, sizeof each);
    setitimer(ITIMER_REAL, &each, 0);
    printf("%s\n", lost ? "lost" : "reached");
    return 0;
}
