// Reads the clocks by every function of the C library, and prints by how much each differs from the
// system call's time, or the times themselves.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct time64 {
    int64_t seconds, nanoseconds;
};

static int call(int number, int first, void *second) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(first), "c"(second) : "memory");
    return result;
}

// clock_gettime64(2) by its number on i386.
static int64_t kernel(int clock) {
    struct time64 now = {0, 0};
    int result = call(403, clock, &now);
    return result ? result : now.seconds * 1000000000 + now.nanoseconds;
}

static int64_t library(int clock) {
    struct timespec now;
    if (clock_gettime(clock, &now))
        return -1;
    return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

static const int CLOCKS[] = {0, 1, 4, 5, 6, 7, 8, 9, 11};

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    struct timeval day;
    if (!strcmp(what, "times")) {
        // As they are.
        gettimeofday(&day, NULL);
        printf("%lld %lld.%06ld %lld\n", (long long)library(0), (long long)day.tv_sec,
               (long)day.tv_usec, (long long)time(NULL));
        return 0;
    }
    if (!strcmp(what, "calls")) {
        // By system call: clock_gettime64, clock_gettime, gettimeofday and time.
        int32_t narrow[2] = {-1, -1}, of_day[2] = {-1, -1}, stored = -1;
        int64_t wide = kernel(0);
        int first = call(265, 0, narrow), second = call(78, (int)of_day, NULL);
        int returned = call(13, (int)&stored, NULL);
        printf("%lld %d %d.%09d %d %d.%06d %d %d\n", (long long)wide, first, narrow[0], narrow[1],
               second, of_day[0], of_day[1], returned, stored);
        return 0;
    }
    if (!strcmp(what, "rate")) {
        // At N times the rate, the library's clock advances by at least N times what the kernel's
        // does within the two reads of it, and at most N times what that does around them.
        int64_t outer = kernel(1), first = library(1), inner = kernel(1), now;
        do
            now = kernel(1);
        while (now - inner < 5000000);
        int64_t last = library(1), end = kernel(1);
        printf("%lld %lld %lld\n", (long long)(now - inner), (long long)(last - first),
               (long long)(end - outer));
        return 0;
    }
    for (unsigned at = 0; at < sizeof CLOCKS / sizeof *CLOCKS; at++) {
        int64_t real = kernel(CLOCKS[at]);
        // A machine without an alarm has no clocks of one.
        if (real >= 0)
            printf("%d %lld\n", CLOCKS[at], (long long)(library(CLOCKS[at]) - real));
    }
    int64_t real = kernel(0);
    gettimeofday(&day, NULL);
    printf("gettimeofday %lld\n",
           (long long)(day.tv_sec * (int64_t)1000000000 + day.tv_usec * 1000 - real));
    printf("time %lld\n", (long long)(time(NULL) * (int64_t)1000000000 - real));
    return 0;
}
