/* Under a seccomp filter that kills for every system call but those that this program makes:
   without arguments, answers each line with the second of the wall clock; with arguments,
   executes them under a filter that kills for what a delivery needs and a static program
   does not. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOAD BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ON(number, action) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, action)
#define ELSE(action) BPF_STMT(BPF_RET | BPF_K, action)

static int restrict_to(struct sock_filter *filter, size_t length)
{
    struct sock_fprog program = { length, filter };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int count, char **arguments)
{
    struct sock_filter some[] = {
        LOAD, ON(SYS_openat, SECCOMP_RET_KILL_PROCESS), ON(SYS_socketpair, SECCOMP_RET_KILL_PROCESS),
        ON(SYS_recvmsg, SECCOMP_RET_KILL_PROCESS), ON(SYS_close, SECCOMP_RET_KILL_PROCESS),
        ELSE(SECCOMP_RET_ALLOW),
    };
    struct sock_filter most[] = {
        LOAD, ON(SYS_read, SECCOMP_RET_ALLOW), ON(SYS_write, SECCOMP_RET_ALLOW),
        ON(SYS_restart_syscall, SECCOMP_RET_ALLOW), ON(SYS_exit_group, SECCOMP_RET_ALLOW),
        ELSE(SECCOMP_RET_KILL_PROCESS),
    };
    if (count > 1) {
        if (restrict_to(some, sizeof some / sizeof *some))
            return 1;
        execv(arguments[1], arguments + 1);
        return 2;
    }
    char line[64];
    if (restrict_to(most, sizeof most / sizeof *most) || write(1, "ready\n", 6) != 6)
        return 1;
    while (read(0, line, sizeof line) > 0) {
        long second = time(0);
        int length = sprintf(line, "%ld\n", second);
        if (write(1, line, length) != length)
            return 1;
    }
    _exit(0);
}
