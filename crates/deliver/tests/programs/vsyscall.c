/* Prints the second as two functions of the vsyscall page say it, and fails if they differ
   (arch/x86/entry/vsyscall/vsyscall_64.c). */
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

int main(void)
{
    int (*gettimeofday_there)(struct timeval *, void *) = (void *)0xffffffffff600000;
    time_t (*time_there)(time_t *) = (void *)0xffffffffff600400;
    struct timeval day = { -1, -1 };
    time_t stored = -1, second = time_there(&stored);
    if (gettimeofday_there(&day, 0) || stored != second)
        return 1;
    if (day.tv_sec != second && day.tv_sec != second + 1)
        return 2;
    printf("%ld\n", (long)second);
    return 0;
}
