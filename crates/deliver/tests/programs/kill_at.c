/* kill_at N [--client|--server|--keeper] [--only NUMBER/REQUEST] [--fails ERROR]
           [--steps M] COMMAND...

   Runs a command, and kills a process of it at the start of its N-th system call. With N 0 nothing is
   killed: the last line on standard error has a word for each call, its number and behind a slash the
   request of ioctl(2) and ptrace(2), or 0.

   Without --server all calls of the command and of what it starts count, and the exit status is 9 if
   one was killed and 0 if not. With --server the calls count of the process that serves the command,
   from its first one; the command itself is released when that process starts, and output and exit
   status are its own. With --keeper those of the process that replaces the server count, and with
   --client those of the command before it is released.

   --only: calls with this number and request count.
   --fails: the call is not made and returns the error, and nothing is killed.
   --steps: the call is made, and the process killed M instructions behind it. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __riscv
#include <asm/ptrace.h>
#endif

#define MOST (1 << 22)

static char inside[MOST];

/* A number in /proc/THREAD/status. */
static int field(int thread, const char *format)
{
    char path[64], line[256];
    int value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", thread);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, format, &value) == 1)
            break;
    if (file)
        fclose(file);
    return value;
}

/* Skips the call at whose start a thread is, or has the one at whose end it is return -error. */
static void fail(int thread, int error)
{
    struct user_regs_struct registers;
    struct iovec all = { &registers, sizeof registers };
    ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &all);
#ifdef __x86_64__
    if (error)
        registers.rax = -error;
    else
        registers.orig_rax = -1;
#elif defined __riscv
    if (error)
        registers.a0 = -error;
    else
        registers.a7 = -1;
#else
    int number = -1;
    struct iovec call = { &number, sizeof number };
    if (error)
        registers.regs[0] = -error;
    else
        ptrace(PTRACE_SETREGSET, thread, NT_ARM_SYSTEM_CALL, &call);
#endif
    ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &all);
}

/* The number of the call at whose start a thread is, and the request of ioctl(2) and ptrace(2). */
static void call_of(int thread, int *number, long long *request)
{
    struct __ptrace_syscall_info call;
    *number = -1;
    *request = 0;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof call, &call) <= 0)
        return;
    *number = call.entry.nr;
    if (call.entry.nr == SYS_ioctl || call.entry.nr == SYS_ptrace)
        *request = call.entry.args[call.entry.nr == SYS_ioctl];
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 96;
    long number = atol(arguments[1]), calls = 0, steps = -1, left = 0;
    int server = 0, keeper = 0, client = 0, error = 0, at = 2, only = -1;
    long long only_request = 0;
    for (; at < count && !strncmp(arguments[at], "--", 2); at++) {
        client |= !strcmp(arguments[at], "--client");
        keeper |= !strcmp(arguments[at], "--keeper");
        server |= client || keeper || !strcmp(arguments[at], "--server");
        if (!strcmp(arguments[at], "--fails"))
            error = atoi(arguments[++at]);
        else if (!strcmp(arguments[at], "--only"))
            sscanf(arguments[++at], "%d/%lld", &only, &only_request);
        else if (!strcmp(arguments[at], "--steps"))
            steps = atol(arguments[++at]);
    }
    char **command = arguments + at;
    int go[2], ended = 0, was_killed = 0, status;
    /* The process whose calls count; the server; whether it waits until the command is released. */
    int leader = -1, served_by = -1, holds = 0, released = 0, chosen = -1;
    if (pipe(go))
        return 99;
    int first = fork();
    if (!first) {
        char byte;
        close(go[1]);
        if (read(go[0], &byte, 1) == 0)
            close(go[0]);
        execvp(command[0], command);
        _exit(127);
    }
    close(go[0]);
    if (client)
        leader = first;
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
        int is_call = signal == (SIGTRAP | 0x80);
        /* The command may be in vfork, and stops when it has left that. */
        if (thread == first && served_by > 0 && !released) {
            released = 1;
            ptrace(PTRACE_DETACH, first, 0, is_call || event ? 0 : signal);
            if (holds)
                ptrace(PTRACE_SYSCALL, served_by, 0, 0);
            continue;
        }
        if (is_call) {
            signal = 0;
            inside[thread] ^= 1;
            int counts = !server || thread == leader, call;
            long long request;
            if (counts && inside[thread] && (!number || only >= 0)) {
                call_of(thread, &call, &request);
                if (!number)
                    fprintf(stderr, "%d/%lld ", call, request);
                counts = only < 0 || (call == only && request == only_request);
            }
            if (counts && inside[thread] && ++calls == number) {
                if (!error && steps < 0) {
                    was_killed = 1;
                    kill(field(thread, "Tgid: %d"), SIGKILL);
                    continue;
                }
                chosen = thread;
                left = steps;
                if (error)
                    fail(thread, 0);
            } else if (thread == chosen && error) {
                fail(thread, error);
                chosen = -1;
            }
        } else if (event) {
            if (event == PTRACE_EVENT_EXEC)
                inside[thread] = 1;
            if (event == PTRACE_EVENT_STOP &&
                (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)) {
                ptrace(PTRACE_LISTEN, thread, 0, 0);
                continue;
            }
            /* The birth of a process comes before or after its parent's event. The server is the first
               that is no child of the command. */
            if (event == PTRACE_EVENT_STOP && server && thread != first && served_by < 0 &&
                field(thread, "PPid: %d") != first) {
                served_by = thread;
                leader = client ? first : keeper ? -1 : served_by;
                ptrace(PTRACE_INTERRUPT, first, 0, 0);
            } else if (keeper && leader < 0 && field(thread, "PPid: %d") == served_by) {
                leader = thread;
            }
            signal = 0;
        } else if (signal == SIGTRAP && thread == chosen) {
            signal = 0;
        }
        if (server && thread == served_by && !released) {
            holds = 1;
            continue;
        }
        if (thread == chosen && !inside[thread] && steps >= 0) {
            if (left-- > 0) {
                ptrace(PTRACE_SINGLESTEP, thread, 0, signal);
                continue;
            }
            was_killed = 1;
            chosen = -1;
            kill(field(thread, "Tgid: %d"), SIGKILL);
            continue;
        }
        ptrace(PTRACE_SYSCALL, thread, 0, signal);
    }
    if (!number)
        fputc('\n', stderr);
    if (server)
        return WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
    return was_killed ? 9 : 0;
}
