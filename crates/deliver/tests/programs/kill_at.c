/* kill_at N [--server] COMMAND...: runs a command, and kills a process of it at the start of the
   N-th system call, or prints how many there are if N is 0.

   Without --server all calls of the command and of what it starts count, and the exit status is 9 if
   one was killed and 0 if not. With --server the calls count of the process that serves the command,
   from where it becomes the leader of a session; the command itself is let go there, and output and
   exit status are its own. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST (1 << 22)

static char inside[MOST];

static int group_of(int thread)
{
    char path[64], line[256];
    int group = 0;
    snprintf(path, sizeof path, "/proc/%d/status", thread);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Tgid: %d", &group) == 1)
            break;
    if (file)
        fclose(file);
    return group;
}

static int is_setsid(int thread)
{
    struct __ptrace_syscall_info call;
    return ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof call, &call) > 0 &&
           call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr == SYS_setsid;
}

static void let_go(int thread)
{
    int status, signal;
    ptrace(PTRACE_INTERRUPT, thread, 0, 0);
    if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status))
        _exit(97);
    signal = WSTOPSIG(status);
    ptrace(PTRACE_DETACH, thread, 0, signal == (SIGTRAP | 0x80) || status >> 16 ? 0 : signal);
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 96;
    long number = atol(arguments[1]), calls = 0;
    int server = !strcmp(arguments[2], "--server"), ended = 0, was_killed = 0, leader = -1, status;
    char **command = arguments + 2 + server;
    int go[2];
    if (pipe(go))
        return 99;
    int first = fork();
    if (!first) {
        char byte;
        close(go[1]);
        read(go[0], &byte, 1);
        close(go[0]);
        execvp(command[0], command);
        _exit(127);
    }
    close(go[0]);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    if (ptrace(PTRACE_SEIZE, first, 0, options))
        return 98;
    ptrace(PTRACE_INTERRUPT, first, 0, 0);
    close(go[1]);
    for (;;) {
        int thread = waitpid(-1, &status, __WALL);
        if (thread < 0)
            break;
        if (!WIFSTOPPED(status)) {
            if (thread == first)
                ended = status;
            inside[thread] = 0;
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (signal == (SIGTRAP | 0x80)) {
            signal = 0;
            inside[thread] ^= 1;
            if (server && inside[thread] && leader < 0 && thread != first && is_setsid(thread)) {
                leader = thread;
                let_go(first);
            }
            int counts = inside[thread] && (!server || thread == leader);
            if (counts && ++calls == number) {
                was_killed = 1;
                kill(group_of(thread), SIGKILL);
                continue;
            }
        } else if (event) {
            if (event == PTRACE_EVENT_EXEC)
                inside[thread] = 1;
            if (event == PTRACE_EVENT_STOP &&
                (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)) {
                ptrace(PTRACE_LISTEN, thread, 0, 0);
                continue;
            }
            signal = 0;
        }
        ptrace(PTRACE_SYSCALL, thread, 0, signal);
    }
    if (!number)
        fprintf(stderr, "%ld\n", calls);
    if (server)
        return WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
    return was_killed ? 9 : 0;
}
