// Threads that sleep, one that waits for a condition, a sleep that an alarm ends, and a child.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *sleeper(void *unused) {
    for (int turn = 0; turn < 20; turn++) {
        struct timespec half = {0, 500000000};
        nanosleep(&half, NULL);
    }
    return unused;
}

static volatile int alarms;

static void count(int signal) {
    (void)signal;
    alarms++;
}

int main(void) {
    pthread_t threads[8];
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    for (int at = 0; at < 8; at++)
        pthread_create(&threads[at], NULL, sleeper, NULL);
    struct timespec due;
    clock_gettime(CLOCK_REALTIME, &due);
    due.tv_sec += 10;
    pthread_mutex_lock(&mutex);
    int result = pthread_cond_timedwait(&condition, &mutex, &due);
    pthread_mutex_unlock(&mutex);
    for (int at = 0; at < 8; at++)
        pthread_join(threads[at], NULL);
    signal(SIGALRM, count);
    alarm(25);
    unsigned left = sleep(1000);
    pid_t child = fork();
    if (!child) {
        sleep(3);
        _exit(5);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d %d %d %d\n", result == ETIMEDOUT, alarms, left > 0 && left < 1000,
           WEXITSTATUS(status));
    return 0;
}
