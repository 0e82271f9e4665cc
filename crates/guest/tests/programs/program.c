/* A program with the image mapped at a place that its kernel chose: calls the image's
 * clock_gettime, and reads the same clock from the page. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "reader.h"

static uint64_t counter(void) {
    uint64_t ticks;
#if defined(__x86_64__)
    uint32_t low, high, cpu;
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(cpu)::"memory");
    ticks = (uint64_t)high << 32 | low;
#elif defined(__aarch64__)
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks)::"memory");
#elif defined(__riscv)
    __asm__ volatile("rdtime %0" : "=r"(ticks)::"memory");
#endif
    return ticks;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *map(void *at, size_t size, int rights, int flags, const char *path) {
    int file = path ? open(path, O_RDONLY) : -1;
    if (path && file < 0)
        fail(path);
    void *mapped = mmap(at, size, rights, flags | (path ? 0 : MAP_ANONYMOUS), file, 0);
    if (mapped == MAP_FAILED)
        fail("mmap");
    return mapped;
}

/* usage: program TEXT TEXT-SIZE FRAME PAGE-SIZE VVAR CLOCK_GETTIME */
int main(int count, char **arguments) {
    if (count != 7)
        return 2;
    size_t text_size = atol(arguments[2]), page_size = atol(arguments[4]), vvar = atol(arguments[5]);
    char *base = map(0, vvar + page_size, PROT_NONE, MAP_PRIVATE, 0);
    map(base, text_size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, arguments[1]);
    unsigned char *page = map(base + vvar, page_size, PROT_READ, MAP_SHARED | MAP_FIXED, arguments[3]);
    int (*clock_gettime)(int, struct timespec *) = (void *)(base + atol(arguments[6]));

    int id;
    while (scanf("%d", &id) == 1) {
        struct timespec time = { 0 };
        page_time read = { 0 };
        uint64_t before = counter();
        int result = clock_gettime(id, &time);
        int kind = page_read(page, id, counter, &read);
        uint64_t after = counter();
        printf("%d %d %lld %ld %d %lld %llu %llu %llu\n", page_is_format_1(page), result,
               (long long)time.tv_sec, time.tv_nsec, kind, (long long)read.seconds,
               (unsigned long long)read.nanoseconds, (unsigned long long)before,
               (unsigned long long)after);
        fflush(stdout);
    }
    return 0;
}
