/* Threads that read the clock without a pause, with a signal handler that reads it too,
   until standard input ends. Every second read has to be near the start or be the one given:
   prints how many were. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long begun, given;
static atomic_long real_ones, given_ones;
static atomic_int over;

static void look(void)
{
    struct timespec now, monotonic;
    if (clock_gettime(CLOCK_REALTIME, &now) || clock_gettime(CLOCK_MONOTONIC, &monotonic))
        _exit(1);
    if (now.tv_sec == given)
        given_ones++;
    else if (now.tv_sec >= begun && now.tv_sec < begun + 3600)
        real_ones++;
    else
        _exit(2);
}

static void handle(int signal)
{
    look();
}

static void *loop(void *unused)
{
    while (!over)
        look();
    return unused;
}

int main(int count, char **arguments)
{
    pthread_t threads[4];
    struct itimerval often = { { 0, 500 }, { 0, 500 } };
    char byte;
    given = atol(arguments[1]);
    begun = time(0);
    signal(SIGALRM, handle);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, loop, 0);
    setitimer(ITIMER_REAL, &often, 0);
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
    over = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("%d %d\n", real_ones > 0, given_ones > 0);
    return 0;
}
