// Every kind of wait and timer, each of an hour: a program for a clock that runs so fast that an
// hour takes a second. What ends too early is an error; what is not converted never ends.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HOUR = 3600 };

static const struct timespec hour = {HOUR, 0}, week = {7 * 24 * HOUR, 0};
static volatile sig_atomic_t alarms;

static void count(int signal) {
    (void)signal;
    alarms++;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double begun;

static void begin(void) {
    begun = now();
    errno = 0;
}

// A wait that began at `begin` and is to have lasted an hour.
static void ended(const char *name, long result, long expected, int error) {
    double took = now() - begun;
    printf("%s: returned %ld, errno %d, after %.0f s\n", name, result, errno, took);
    fflush(stdout);
    // A timer may be set a moment before its wait begins.
    if (result != expected || (error && errno != error) || took < HOUR - 120)
        exit(1);
}

static struct timespec in_an_hour(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_sec += HOUR;
    return time;
}

static void sleeps(void) {
    begin();
    ended("nanosleep", nanosleep(&hour, NULL), 0, 0);
    begin();
    ended("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, NULL), 0, 0);
    struct timespec due = in_an_hour(CLOCK_REALTIME);
    begin();
    ended("deadline", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL), 0, 0);
}

static void polls(void) {
    begin();
    ended("poll", poll(NULL, 0, HOUR * 1000), 0, 0);
    struct timeval left = {HOUR, 0};
    begin();
    ended("select", select(0, NULL, NULL, NULL, &left), 0, 0);
    if (left.tv_sec || left.tv_usec)
        exit(2);
    int epoll = epoll_create1(0);
    struct epoll_event event;
    begin();
    ended("epoll_wait", epoll_wait(epoll, &event, 1, HOUR * 1000), 0, 0);
    close(epoll);
}

static void futexes(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pthread_mutex_lock(&mutex);
    struct timespec due = in_an_hour(CLOCK_REALTIME);
    begin();
    ended("condition", pthread_cond_timedwait(&condition, &mutex, &due), ETIMEDOUT, 0);
}

static void signals(void) {
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    begin();
    ended("sigtimedwait", sigtimedwait(&usr1, NULL, &hour), -1, EAGAIN);
    struct sigaction action = {.sa_handler = count};
    sigaction(SIGALRM, &action, NULL);
    begin();
    alarm(HOUR);
    ended("alarm", pause(), -1, EINTR);
    // A handler ends a wait, and what remains of it is that of the program's clock.
    struct timespec left = {0, 0};
    begin();
    alarm(HOUR);
    ended("interrupted nanosleep", nanosleep(&week, &left), -1, EINTR);
    if (left.tv_sec > week.tv_sec - HOUR + 120 || left.tv_sec < HOUR)
        exit(3);
    struct itimerval interval = {{0, 0}, {HOUR, 0}};
    begin();
    setitimer(ITIMER_REAL, &interval, NULL);
    ended("interrupted poll", poll(NULL, 0, 7 * 24 * HOUR * 1000), -1, EINTR);
    if (alarms != 3)
        exit(4);
}

static void timers(void) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec setting = {{0, 0}, {HOUR, 0}};
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    begin();
    timer_settime(timer, 0, &setting, NULL);
    ended("timer", pause(), -1, EINTR);
    timer_delete(timer);
    int descriptor = timerfd_create(CLOCK_MONOTONIC, 0);
    unsigned long long expirations;
    begin();
    timerfd_settime(descriptor, 0, &setting, NULL);
    ended("timerfd", read(descriptor, &expirations, sizeof expirations), 8, 0);
}

static void children(void) {
    begin();
    pid_t child = fork();
    if (child == 0) {
        nanosleep(&hour, NULL);
        _exit(7);
    }
    int status = 0;
    ended("a child", waitpid(child, &status, 0), child, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
        exit(5);
}

int main(void) {
    sleeps();
    polls();
    futexes();
    signals();
    timers();
    children();
    return 0;
}
