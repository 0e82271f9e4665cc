/* Prints the second as four functions of libc say it, and fails if they differ. */
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

int main(void)
{
    struct timespec fine, coarse, monotonic;
    struct timeval day;
    time_t second;
    /* The second may begin between two reads, and the coarse clock is up to a tick behind. */
    for (int tries = 0;; tries++) {
        clock_gettime(CLOCK_REALTIME, &fine);
        clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
        gettimeofday(&day, 0);
        second = time(0);
        if (fine.tv_sec == second && coarse.tv_sec == second && day.tv_sec == second)
            break;
        if (tries == 1000000)
            return 1;
    }
    if (clock_gettime(CLOCK_MONOTONIC, &monotonic) || monotonic.tv_sec > 2000000000)
        return 2;
    printf("%ld\n", (long)second);
    return 0;
}
