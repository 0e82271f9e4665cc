/* What calls cost, by the clock of an emulated machine whose time is the number of instructions: on the
   reference kernel, and on Linux, where only the clock is compared. As process 1 of Linux it powers the
   machine off. */
#define _GNU_SOURCE
#include <stdalign.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vdso.h"

#define TIMES 2000

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

#define COUNT(name, call)                                       \
    do {                                                        \
        call;                                                   \
        long long start = now();                                \
        for (int i = 0; i < TIMES; i++)                         \
            call;                                               \
        printf("count: %s %lld\n", name, (now() - start) / TIMES); \
    } while (0)

int main(void) {
    static alignas(64) long entries[16][8];
    for (int i = 0; i < 16; i++)
        entries[i][0] = SYS_getppid;
    if (!read_vdso())
        return 1;
    pid_t (*getppid_here)(void) = function("vdso_getppid");
    struct timespec time;
    if (getppid_here != NULL) {
        COUNT("getppid_by_page", getppid_here());
        COUNT("batch_of_1", syscall(1000, entries, 1));
        COUNT("batch_of_16", syscall(1000, entries, 16));
    }
    pid_t (*gettid_here)(void) = function("current_getpid") != NULL ? function("gettid") : NULL;
    if (gettid_here != NULL)
        COUNT("gettid_by_slot", gettid_here());
    COUNT("getppid_by_call", syscall(SYS_getppid));
    COUNT("16_calls", for (int n = 0; n < 16; n++) syscall(SYS_getppid));
    COUNT("clock_by_page", clock_gettime(CLOCK_MONOTONIC, &time));
    COUNT("clock_by_call", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time));
    /* What is printed has to reach the console first. */
    fflush(stdout);
    tcdrain(1);
    if (getpid() == 1)
        syscall(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, NULL);
    return 0;
}
