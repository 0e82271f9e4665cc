// 100 processes that look at the time every 4 ms, which two CPUs bear. Says when all of them do,
// and then when the last has seen that it was stepped by half an hour at least.
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COUNT = 100 };

int main(void) {
    int ready[2];
    char byte = 0;
    if (pipe(ready)) return 1;
    time_t before = time(0);
    for (int i = 0; i < COUNT; i++) if (!fork()) {
        if (write(ready[1], &byte, 1) != 1) _exit(1);
        while (time(0) < before + 1800) usleep(4000);
        _exit(0);
    }
    for (int i = 0; i < COUNT; i++) if (read(ready[0], &byte, 1) != 1) return 1;
    puts("ready");
    fflush(stdout);
    for (int i = 0; i < COUNT; i++) wait(0);
    puts("seen");
}
