#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include <sys/wait.h>
__attribute__((noinline)) void *work(void *n) {
    struct timespec t;
    for (long i = 0; i < (long)n; i++) clock_gettime(CLOCK_MONOTONIC, &t);
    return 0;
}
int main(void) {
    pthread_t t[8];
    for (int i = 0; i < 8; i++) pthread_create(t + i, 0, work, (void *)20000L);
    for (int i = 0; i < 8; i++) pthread_join(t[i], 0);
    for (int i = 0; i < 4; i++)
        if (!fork()) { work((void *)1000L); _exit(0); }
    if (!vfork()) {
        struct timespec z;
        clock_gettime(CLOCK_TAI, &z);
        execlp("true", "true", (char *)0);
        _exit(1);
    }
    while (wait(0) > 0);
    return 0;
}
