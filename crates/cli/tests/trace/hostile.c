/* A child writes into the memory in which calls are counted, in the way that the argument names, and calls
   functions itself. The parent reads clocks until the child ends, and prints whether each was right.

   nonsense: random words, and words of one bit, all over the memory.
   skips: in each entry, distances from a return address to the next one, whose sum has more than 32 bits.
   silence: no caller is ever answered, and none has waited for the reader in vain. The parent then prints
   whether at most half of its calls had to wait.

   The offsets are those of crates/trace/src/layout.rs. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ENTRY = 64, ANSWERED = 48, SKIP = 52, AWAY = 28, CALLS = 40 };

/* Set by the parent; and how often the child has written to all entries. */
static volatile int *done, *rounds;

static uint64_t next(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void call(void)
{
    struct timespec now, resolution;
    clock_gettime(CLOCK_MONOTONIC, &now);
    clock_getres(CLOCK_REALTIME, &resolution);
}

static int64_t nanoseconds(const struct timespec *time)
{
    return time->tv_sec * INT64_C(1000000000) + time->tv_nsec;
}

static int overwrite(const char *way)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], *memory = NULL;
    uint64_t start, end;
    size_t length = 0;
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "vdso-trace") && strstr(line, " rw-s ") &&
            sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) == 2) {
            memory = (char *)start;
            length = end - start;
        }
    if (!memory)
        return 3;
    if (!strcmp(way, "nonsense")) {
        for (int pass = 0; pass < 4; pass++)
            for (size_t at = 0; at < length; at += 8) {
                uint64_t word = next();
                *(uint64_t *)(memory + at) = pass % 2 ? UINT64_C(1) << (word & 63) : word;
                if (at % 8192 == 0)
                    call();
            }
    } else if (!strcmp(way, "skips")) {
        for (int pass = 0; pass < 40; pass++)
            for (size_t at = 0; at + ENTRY <= length; at += ENTRY) {
                uint64_t word = next();
                *(uint32_t *)(memory + at + SKIP) = word & 1 ? 8 : -(word >> 60);
                *(uint32_t *)(memory + at + ANSWERED) = 1;
            }
    } else {
        while (!*done) {
            *(uint32_t *)(memory + AWAY) = 0;
            for (size_t at = ENTRY; at + ENTRY <= length; at += ENTRY)
                *(uint32_t *)(memory + at + ANSWERED) = 0;
            ++*rounds;
        }
    }
    return 0;
}

/* Whether the clock agrees with the system call. */
static int is_right(void)
{
    static int64_t last;
    struct timespec told, real;
    if (clock_gettime(CLOCK_MONOTONIC, &told))
        return 0;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &real);
    int64_t now = nanoseconds(&told);
    int right = now >= last && now <= nanoseconds(&real);
    last = now;
    return right;
}

/* Whether it takes so long that it must have waited for the reader. */
static int waits(void)
{
    struct timespec before, after;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &before);
    call();
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &after);
    return nanoseconds(&after) - nanoseconds(&before) > 900000000;
}

int main(int count, char **arguments)
{
    const char *way = arguments[count - 1];
    int status, waited = 0;
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    done = shared;
    rounds = done + 1;
    pid_t child = fork();
    if (child == 0)
        _exit(overwrite(way));
    if (!strcmp(way, "silence")) {
        for (int turn = 0; turn < CALLS; turn++) {
            waited += waits();
            for (int from = *rounds; *rounds < from + 2 && !waitpid(child, &status, WNOHANG);)
                usleep(100);
        }
        *done = 1;
    }
    while (waitpid(child, &status, WNOHANG) == 0)
        for (int turn = 0; turn < 100; turn++)
            if (!is_right())
                return 5;
    if (status)
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (waited > CALLS / 2)
        return 6;
    puts("unchanged");
    return 7;
}
