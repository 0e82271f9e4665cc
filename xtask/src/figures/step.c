// 100 processes that look at the time each millisecond; then the command given, which steps it by
// half an hour at least. Microseconds from the command's start, and from its end, until the last
// process has seen it.
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COUNT = 100 };

extern char **environ;

static long real(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int count, char **arguments) {
    long *seen = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2], status;
    char byte = 0;
    if (count < 2 || seen == MAP_FAILED || pipe(ready)) return 1;
    time_t before = time(0);
    for (int i = 0; i < COUNT; i++) if (!fork()) {
        if (write(ready[1], &byte, 1) != 1) _exit(1);
        while (time(0) < before + 1800) usleep(1000);
        seen[i] = real();
        _exit(0);
    }
    for (int i = 0; i < COUNT; i++) if (read(ready[0], &byte, 1) != 1) return 1;
    pid_t command;
    long start = real();
    if (posix_spawn(&command, arguments[1], 0, 0, arguments + 1, environ)) return 1;
    if (waitpid(command, &status, 0) != command || status) return 1;
    long end = real(), last = 0;
    for (int i = 0; i < COUNT; i++) wait(0);
    for (int i = 0; i < COUNT; i++) if (seen[i] > last) last = seen[i];
    printf("%ld %ld\n", (last - start) / 1000, (last > end ? last - end : 0) / 1000);
}
