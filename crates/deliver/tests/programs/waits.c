/* One thread in each system call that waits. None may return before standard input ends, and
   none may fail with EINTR. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int ends[2], sockets[2], semaphores;
static int word;

static void check(const char *name, int failed)
{
    if (failed) {
        perror(name);
        _exit(1);
    }
}

static void *in_read(void *name)
{
    char byte;
    check(name, read(ends[0], &byte, 1) < 0);
    return 0;
}

static void *in_poll(void *name)
{
    struct pollfd wanted = { ends[0], POLLIN, 0 };
    check(name, poll(&wanted, 1, -1) != 1);
    return 0;
}

static void *in_select(void *name)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    check(name, select(ends[0] + 1, &set, 0, 0, 0) != 1);
    return 0;
}

static void *in_epoll(void *name)
{
    struct epoll_event event = { EPOLLIN, { 0 } };
    int set = epoll_create1(0);
    epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event);
    check(name, epoll_wait(set, &event, 1, -1) != 1);
    return 0;
}

static void *in_receive(void *name)
{
    struct timeval patience = { 3600, 0 };
    char byte;
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    check(name, recv(sockets[0], &byte, 1, 0) < 0);
    return 0;
}

static void *in_semaphore(void *name)
{
    struct sembuf take = { 0, -1, 0 };
    check(name, semop(semaphores, &take, 1));
    return 0;
}

static void *in_signal(void *name)
{
    sigset_t set;
    struct timespec patience = { 3600, 0 };
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    check(name, sigtimedwait(&set, 0, &patience) != SIGUSR1);
    return 0;
}

static void *in_futex(void *name)
{
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
        check(name, syscall(SYS_futex, &word, 0, 0, 0, 0, 0) && errno != EAGAIN);
    return 0;
}

static void *in_sleep(void *name)
{
    struct timespec one = { 1, 0 };
    while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
        check(name, nanosleep(&one, 0));
    return 0;
}

int main(void)
{
    struct { void *(*function)(void *); char *name; } all[] = {
        { in_read, "read" }, { in_poll, "poll" }, { in_select, "select" },
        { in_epoll, "epoll_wait" }, { in_receive, "recv" }, { in_semaphore, "semop" },
        { in_signal, "sigtimedwait" }, { in_futex, "futex" }, { in_sleep, "nanosleep" },
    };
    enum { COUNT = sizeof all / sizeof *all };
    pthread_t threads[COUNT];
    sigset_t set;
    char byte;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, 0);
    check("setup", pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    check("semget", semaphores < 0);
    for (int i = 0; i < COUNT; i++)
        pthread_create(&threads[i], 0, all[i].function, all[i].name);
    puts("ready");
    fflush(stdout);
    check("standard input", read(0, &byte, 1) < 0);
    printf("%ld\n", (long)time(0));
    close(ends[1]);
    check("send", send(sockets[1], "b", 1, 0) != 1);
    struct sembuf give = { 0, 1, 0 };
    check("semop", semop(semaphores, &give, 1));
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &word, 1, 1 << 30, 0, 0, 0);
    pthread_kill(threads[6], SIGUSR1);
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], 0);
    return semctl(semaphores, 0, IPC_RMID);
}
