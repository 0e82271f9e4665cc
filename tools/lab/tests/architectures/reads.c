// reads [FILE]: prints the year by the vDSO and by a system call, how many nanoseconds lie between two
// reads of the monotonic clock, how many days that clock has counted, and the year of the file's time.
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int year(time_t seconds) {
    struct tm date;
    gmtime_r(&seconds, &date);
    return date.tm_year + 1900;
}

int main(int count, char **arguments) {
    struct timespec wall, raw, first, second;
    struct stat file = {0};
    clock_gettime(CLOCK_REALTIME, &wall);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &raw);
    clock_gettime(CLOCK_MONOTONIC, &first);
    clock_gettime(CLOCK_MONOTONIC, &second);
    if (count > 1 && stat(arguments[1], &file))
        return 1;
    long between = (second.tv_sec - first.tv_sec) * 1000000000 + second.tv_nsec - first.tv_nsec;
    printf("%d %d %ld %ld %d\n", year(wall.tv_sec), year(raw.tv_sec), between,
           (long)first.tv_sec / 86400, year(file.st_mtime));
    return 0;
}
