/* Starts the program given by every call that makes a process, and waits for each. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sched.h>

extern char **environ;
static char **command;
static char stack[1 << 16];

static int execute(void *unused)
{
    execv(command[0], command);
    _exit(99);
    return unused != 0;
}

static void wait_for(pid_t pid, int flags)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, flags) != pid || status)
        exit(1);
}

int main(int count, char **arguments)
{
    pid_t pid;
    command = arguments + 1;

    if (!(pid = fork()))
        execute(0);
    wait_for(pid, 0);

    if (!(pid = vfork())) {
        execv(command[0], command);
        _exit(99);
    }
    wait_for(pid, 0);

    if (posix_spawn(&pid, command[0], 0, 0, command, environ))
        return 2;
    wait_for(pid, 0);

    int flags[] = { SIGCHLD, CLONE_VM | SIGCHLD, CLONE_VM | CLONE_VFORK | SIGCHLD,
                    CLONE_FS | CLONE_FILES | SIGCHLD, CLONE_VM | CLONE_SIGHAND | SIGCHLD,
                    SIGUSR1, 0, CLONE_IO | CLONE_SYSVSEM | SIGCHLD };
    signal(SIGUSR1, SIG_IGN);
    for (int i = 0; i < (int)(sizeof flags / sizeof *flags); i++)
        wait_for(clone(execute, stack + sizeof stack, flags[i], 0), __WALL);

    struct clone_args three = { .flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD };
    pid = syscall(SYS_clone3, &three, sizeof three);
    if (!pid)
        execute(0);
    wait_for(pid, 0);
    return 0;
}
