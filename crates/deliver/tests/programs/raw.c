/* Reads the clock by system call, and prints what it got; fails where a call does anything
   but what the kernel's own would do. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int fails_with_fault(long number, long first, void *place)
{
    errno = 0;
    return syscall(number, first, place) == -1 && errno == EFAULT;
}

int main(void)
{
    struct timespec fine = { -1, -1 }, monotonic = { -1, -1 };
    struct timeval day = { -1, -1 };
    long second = -1;
    void *constant = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (syscall(SYS_clock_gettime, CLOCK_REALTIME, &fine) || syscall(SYS_gettimeofday, &day, 0))
        return 1;
    if (syscall(SYS_time, &second) != second || syscall(SYS_time, 0) < second)
        return 2;
    if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &monotonic) || monotonic.tv_sec < 0)
        return 3;
    if (!fails_with_fault(SYS_clock_gettime, CLOCK_REALTIME, constant)
        || !fails_with_fault(SYS_clock_gettime, CLOCK_REALTIME, (void *)8)
        || !fails_with_fault(SYS_clock_gettime, CLOCK_REALTIME, 0)
        || *(long *)constant)
        return 4;
    if (day.tv_sec != fine.tv_sec || second != fine.tv_sec)
        return 5;
    printf("%ld\n", second);
    return 0;
}
