#include <stdlib.h>
#include <stdio.h>
#include <time.h>
__attribute__((noinline)) void inner(long n) {
    struct timespec t;
    for (long i = 0; i < n; i++) clock_gettime(CLOCK_MONOTONIC, &t);
}
int main(int c, char **v) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    inner(atol(v[1]));
    clock_gettime((clockid_t)99, &t);
    clock_gettime(CLOCK_REALTIME, &t);
    puts("unchanged");
    return 7;
}
