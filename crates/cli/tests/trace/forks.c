#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(void) {
    char line[16];
    struct timespec t;
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        if (!fork()) {
            for (int i = 0; i < 50; i++) clock_gettime(CLOCK_REALTIME, &t);
            _exit(0);
        }
        wait(0);
        puts("done");
        fflush(stdout);
    }
}
