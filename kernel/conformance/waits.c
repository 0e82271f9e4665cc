/* Waits with a time-out, of each kind that C libraries and programs have: none ends before its time by
   the clock that it names, as the vDSO tells it, each ends with the result of a time-out, and none
   takes another clock's time for it. A call that the kernel lacks (ENOSYS) is skipped. The output is
   TAP. As process 1 of Linux it powers the machine off. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* How long each waits, in nanoseconds. */
#define WAIT 30000000ll
/* No wait lasts so long, whatever else the machine does; one by the wrong clock would last decades. */
#define LONGEST 60000000000ll

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static struct timespec timespec_of(int64_t nanoseconds) {
    return (struct timespec) { nanoseconds / 1000000000, nanoseconds % 1000000000 };
}

/* The time at which a wait that begins now ends. */
static struct timespec later(clockid_t clock) {
    return timespec_of(now(clock) + WAIT);
}

/* The error of a function that returns it, and of one that stores it. */
static int stored(int result) {
    return result == -1 ? errno : 0;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static int on_condition(clockid_t of_condition, clockid_t of_wait) {
    pthread_cond_t condition;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, of_condition);
    pthread_cond_init(&condition, &attributes);
    struct timespec end = later(of_wait);
    pthread_mutex_lock(&mutex);
    int result = of_condition == of_wait ? pthread_cond_timedwait(&condition, &mutex, &end)
                                         : pthread_cond_clockwait(&condition, &mutex, of_wait, &end);
    pthread_mutex_unlock(&mutex);
    return result;
}

static int condition_realtime(void) {
    return on_condition(CLOCK_REALTIME, CLOCK_REALTIME);
}

static int condition_monotonic(void) {
    return on_condition(CLOCK_MONOTONIC, CLOCK_MONOTONIC);
}

static int condition_clockwait(void) {
    return on_condition(CLOCK_REALTIME, CLOCK_MONOTONIC);
}

static int condition_of_c11(void) {
    cnd_t condition;
    mtx_t guard;
    struct timespec end = later(CLOCK_REALTIME);
    cnd_init(&condition);
    mtx_init(&guard, mtx_timed);
    mtx_lock(&guard);
    int result = cnd_timedwait(&condition, &guard, &end);
    mtx_unlock(&guard);
    return result == thrd_timedout ? ETIMEDOUT : result;
}

static int semaphore_realtime(void) {
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    struct timespec end = later(CLOCK_REALTIME);
    return stored(sem_timedwait(&semaphore, &end));
}

static int semaphore_monotonic(void) {
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    struct timespec end = later(CLOCK_MONOTONIC);
    return stored(sem_clockwait(&semaphore, CLOCK_MONOTONIC, &end));
}

static int mutex_realtime(void) {
    struct timespec end = later(CLOCK_REALTIME);
    pthread_mutex_lock(&mutex);
    int result = pthread_mutex_timedlock(&mutex, &end);
    pthread_mutex_unlock(&mutex);
    return result;
}

static void *hold_for_reading(void *end) {
    return (void *)(intptr_t)pthread_rwlock_timedrdlock(&lock, end);
}

/* In a thread of its own: the one that holds the lock would be told of a deadlock. */
static int read_lock_realtime(void) {
    struct timespec end = later(CLOCK_REALTIME);
    pthread_t reader;
    void *result;
    pthread_rwlock_wrlock(&lock);
    pthread_create(&reader, NULL, hold_for_reading, &end);
    pthread_join(reader, &result);
    pthread_rwlock_unlock(&lock);
    return (int)(intptr_t)result;
}

static void *stay(void *semaphore) {
    sem_wait(semaphore);
    return NULL;
}

static int join_realtime(void) {
    sem_t semaphore;
    pthread_t thread;
    sem_init(&semaphore, 0, 0);
    pthread_create(&thread, NULL, stay, &semaphore);
    struct timespec end = later(CLOCK_REALTIME);
    int result = pthread_timedjoin_np(thread, NULL, &end);
    sem_post(&semaphore);
    pthread_join(thread, NULL);
    return result;
}

static int sleep_until_realtime(void) {
    struct timespec end = later(CLOCK_REALTIME);
    return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &end, NULL);
}

static int sleep_until_monotonic(void) {
    struct timespec end = later(CLOCK_MONOTONIC);
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}

static int sleep_for_realtime(void) {
    struct timespec time = timespec_of(WAIT);
    return clock_nanosleep(CLOCK_REALTIME, 0, &time, NULL);
}

static int sleep_for(void) {
    struct timespec time = timespec_of(WAIT);
    return stored(nanosleep(&time, NULL));
}

static int poll_nothing(void) {
    return stored(poll(NULL, 0, WAIT / 1000000));
}

static int ppoll_pipe(void) {
    int ends[2];
    if (pipe(ends) != 0)
        return errno;
    struct pollfd end = { .fd = ends[0], .events = POLLIN };
    struct timespec time = timespec_of(WAIT);
    int result = stored(ppoll(&end, 1, &time, NULL));
    close(ends[0]);
    close(ends[1]);
    return result;
}

static int select_nothing(void) {
    struct timeval time = { 0, WAIT / 1000 };
    return stored(select(0, NULL, NULL, NULL, &time));
}

static int epoll_nothing(void) {
    struct epoll_event event;
    int set = epoll_create1(0), result = stored(epoll_wait(set, &event, 1, WAIT / 1000000));
    close(set);
    return result;
}

static int signal_wait(void) {
    sigset_t set;
    struct timespec time = timespec_of(WAIT);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return stored(sigtimedwait(&set, NULL, &time));
}

static int timer_file(void) {
    struct itimerspec timer = { .it_value = later(CLOCK_MONOTONIC) };
    uint64_t times;
    int file = timerfd_create(CLOCK_MONOTONIC, 0);
    if (file < 0 || timerfd_settime(file, TFD_TIMER_ABSTIME, &timer, NULL) != 0)
        return errno;
    int result = read(file, &times, sizeof times) == sizeof times && times == 1 ? 0 : EIO;
    close(file);
    return result;
}

static volatile sig_atomic_t has_rung;

static void ring(int signal) {
    (void)signal;
    has_rung = 1;
}

static int interval_timer(void) {
    sigset_t alarm, former;
    struct itimerval timer = { .it_value = { 0, WAIT / 1000 } };
    has_rung = 0;
    signal(SIGALRM, ring);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, &former);
    if (setitimer(ITIMER_REAL, &timer, NULL) != 0)
        return errno;
    while (!has_rung)
        sigsuspend(&former);
    sigprocmask(SIG_SETMASK, &former, NULL);
    return 0;
}

static int semaphore_of_system_v(void) {
    struct sembuf operation = { 0, -1, 0 };
    struct timespec time = timespec_of(WAIT);
    int set = semget(IPC_PRIVATE, 1, 0600);
    if (set < 0)
        return errno;
    int result = stored(semtimedop(set, &operation, 1, &time));
    semctl(set, 0, IPC_RMID);
    return result;
}

static int receive(void) {
    int ends[2];
    char byte;
    struct timeval time = { 0, WAIT / 1000 };
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return errno;
    setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    int result = stored(recv(ends[0], &byte, 1, 0));
    close(ends[0]);
    close(ends[1]);
    return result;
}

static const struct {
    const char *name;
    int (*run)(void);
    /* What it returns at the end of its time. */
    int error;
    clockid_t clock;
} tests[] = {
    { "pthread_cond_timedwait, realtime", condition_realtime, ETIMEDOUT, CLOCK_REALTIME },
    { "pthread_cond_timedwait, monotonic", condition_monotonic, ETIMEDOUT, CLOCK_MONOTONIC },
    { "pthread_cond_clockwait, monotonic", condition_clockwait, ETIMEDOUT, CLOCK_MONOTONIC },
    { "cnd_timedwait", condition_of_c11, ETIMEDOUT, CLOCK_REALTIME },
    { "sem_timedwait", semaphore_realtime, ETIMEDOUT, CLOCK_REALTIME },
    { "sem_clockwait, monotonic", semaphore_monotonic, ETIMEDOUT, CLOCK_MONOTONIC },
    { "pthread_mutex_timedlock", mutex_realtime, ETIMEDOUT, CLOCK_REALTIME },
    { "pthread_rwlock_timedrdlock", read_lock_realtime, ETIMEDOUT, CLOCK_REALTIME },
    { "pthread_timedjoin_np", join_realtime, ETIMEDOUT, CLOCK_REALTIME },
    { "clock_nanosleep until, realtime", sleep_until_realtime, 0, CLOCK_REALTIME },
    { "clock_nanosleep until, monotonic", sleep_until_monotonic, 0, CLOCK_MONOTONIC },
    { "clock_nanosleep for, realtime", sleep_for_realtime, 0, CLOCK_REALTIME },
    { "nanosleep", sleep_for, 0, CLOCK_MONOTONIC },
    { "poll", poll_nothing, 0, CLOCK_MONOTONIC },
    { "ppoll of a pipe", ppoll_pipe, 0, CLOCK_MONOTONIC },
    { "select", select_nothing, 0, CLOCK_MONOTONIC },
    { "epoll_wait", epoll_nothing, 0, CLOCK_MONOTONIC },
    { "sigtimedwait", signal_wait, EAGAIN, CLOCK_MONOTONIC },
    { "timerfd, monotonic", timer_file, 0, CLOCK_MONOTONIC },
    { "setitimer", interval_timer, 0, CLOCK_MONOTONIC },
    { "semtimedop", semaphore_of_system_v, EAGAIN, CLOCK_MONOTONIC },
    { "SO_RCVTIMEO", receive, EAGAIN, CLOCK_MONOTONIC },
};

int main(void) {
    int number = sizeof tests / sizeof *tests, failed = 0;
    printf("TAP version 13\n1..%d\n", number);
    for (int i = 0; i < number; i++) {
        int64_t before = now(tests[i].clock);
        int error = tests[i].run();
        int64_t took = now(tests[i].clock) - before;
        /* No networks: there are no sockets. */
        bool is_skipped = error == ENOSYS || error == EAFNOSUPPORT;
        bool is_right = error == tests[i].error && took >= WAIT && took < LONGEST;
        failed += !is_right && !is_skipped;
        printf("%sok %d - %s%s\n", is_right || is_skipped ? "" : "not ", i + 1, tests[i].name,
            is_skipped ? " # SKIP the kernel has no such call" : "");
        if (!is_right && !is_skipped)
            printf("# %s after %lld ns\n", strerror(error), (long long)took);
        fflush(stdout);
    }
    /* What is printed has to reach the console first. */
    tcdrain(1);
    if (getpid() == 1)
        syscall(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, NULL);
    return failed != 0;
}
