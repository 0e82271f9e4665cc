/* Waits for children in vfork(2) in one of several ways, then executes the program given. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char **command;
static volatile sig_atomic_t heard;
static int to_main[2], to_thread[2];

static void execute(void)
{
    execv(command[0], command);
    _exit(99);
}

static void hear(int signal)
{
    heard = signal;
}

/* A child that shares this process's memory and runs `child` while this thread waits. */
static int vforked(int (*child)(void *))
{
    char *stack = malloc(1 << 16);
    int status;
    pid_t pid = clone(child, stack + (1 << 16), CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        exit(1);
    return status;
}

static int ends(void *unused)
{
    (void)unused;
    _exit(5);
}

static int fails_to_execute(void *unused)
{
    (void)unused;
    execl("/nowhere", "nowhere", (char *)0);
    _exit(6);
}

static int dies(void *unused)
{
    (void)unused;
    kill(getpid(), SIGKILL);
    return 0;
}

static int has_a_child(void *unused)
{
    (void)unused;
    _exit(WEXITSTATUS(vforked(ends)) + 2);
}

static int forks(void *unused)
{
    int status;
    pid_t pid = fork();
    (void)unused;
    if (!pid)
        _exit(3);
    waitpid(pid, &status, 0);
    _exit(WEXITSTATUS(status) + 5);
}

static int signals_its_parent(void *unused)
{
    (void)unused;
    kill(getppid(), SIGUSR1);
    _exit(9);
}

static int reads_then_executes(void *unused)
{
    char byte;
    (void)unused;
    if (write(1, "waits\n", 6) != 6 || read(0, &byte, 1) != 1)
        _exit(98);
    execute();
    return 0;
}

static int tells_and_reads(void *unused)
{
    char byte = 0;
    (void)unused;
    close(to_main[1]);
    /* Who reads this executes a program: that ends the thread which waits for us, and closes the
     * other pipe's last end to write to. */
    if (write(to_thread[1], &byte, 1) != 1 || read(to_main[0], &byte, 1) != 0)
        _exit(98);
    _exit(0);
}

static void *executes_when_told(void *unused)
{
    char byte;
    if (read(to_thread[0], &byte, 1) == 1)
        execute();
    return unused;
}

static void *makes_many(void *unused)
{
    for (int i = 0; i < 20; i++)
        if (WEXITSTATUS(vforked(ends)) != 5)
            exit(1);
    return unused;
}

int main(int count, char **arguments)
{
    const char *way = arguments[1];
    command = arguments + 2;
    if (count < 3)
        return 2;
    if (!strcmp(way, "ends")) {
        printf("%d ", WEXITSTATUS(vforked(ends)));
        printf("%d ", WEXITSTATUS(vforked(fails_to_execute)));
        printf("%d ", WEXITSTATUS(vforked(has_a_child)));
        printf("%d ", WEXITSTATUS(vforked(forks)));
        printf("%d\n", WTERMSIG(vforked(dies)));
    } else if (!strcmp(way, "signal")) {
        signal(SIGUSR1, hear);
        printf("%d ", WEXITSTATUS(vforked(signals_its_parent)));
        printf("%d\n", heard == SIGUSR1);
    } else if (!strcmp(way, "threads")) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], 0, makes_many, 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], 0);
        printf("joined\n");
    } else if (!strcmp(way, "waits")) {
        printf("%d\n", vforked(reads_then_executes));
    } else if (!strcmp(way, "replaced")) {
        pthread_t thread;
        if (pipe2(to_main, O_CLOEXEC) || pipe2(to_thread, O_CLOEXEC))
            return 1;
        pthread_create(&thread, 0, executes_when_told, 0);
        vforked(tells_and_reads);
        return 1;
    }
    fflush(stdout);
    execute();
}
