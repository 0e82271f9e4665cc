/* A reader that knows nothing of vdsokit: it is linked with libsystem like with any
 * library. Prints "value NAME NUMBER" and "cost WHAT NANOSECONDS" lines. */

#include "system.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

/* The best of some rounds: what it costs when nothing else runs. */
#define COST(what, calls, call)                                  \
    do {                                                         \
        double best = 1e18;                                      \
        for (int round = 0; round < 9; round++) {                \
            double start = now();                                \
            for (long i = 0; i < (calls); i++) {                 \
                call;                                            \
            }                                                    \
            double each = (now() - start) / (calls);             \
            if (each < best)                                     \
                best = each;                                     \
        }                                                        \
        printf("cost\t%s\t%.2f\n", what, best);                  \
    } while (0)

static void read_proc(void)
{
    char text[256];
    int fd = open("/proc/loadavg", O_RDONLY);
    if (fd >= 0) {
        if (read(fd, text, sizeof text) < 0)
            text[0] = 0;
        close(fd);
    }
}

int main(void)
{
    struct system_load load;
    struct sysinfo info;
    system_load(&load);
    printf("value\tprocesses\t%u\n", system_processes());
    printf("value\tthreads\t%u\n", system_threads());
    printf("value\trunning\t%u\n", system_running());
    printf("value\tload.one\t%.2f\n", load.one);
    printf("value\tmemory_total\t%llu\n", (unsigned long long)system_memory_total());
    printf("value\tmemory_available\t%llu\n", (unsigned long long)system_memory_available());
    printf("value\tfree_pages\t%llu\n", (unsigned long long)system_free_pages());
    printf("value\tuptime\t%.2f\n", system_uptime());
    printf("value\tcontext_switches\t%llu\n", (unsigned long long)system_context_switches());
    printf("value\tforks\t%llu\n", (unsigned long long)system_forks());
    COST("C: system_threads()", 1000000, system_threads());
    COST("C: system_load(&load)", 1000000, system_load(&load));
    COST("C: sysinfo(2), the nearest system call", 10000, sysinfo(&info));
    COST("C: open, read and close /proc/loadavg", 1000, read_proc());
    return 0;
}
