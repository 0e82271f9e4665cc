// Waits by poll, select, epoll_wait and epoll_pwait under a filter that ends the program at their
// younger siblings, and prints each that lasted as long as it was to.
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FORBID(number) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static double start;

static void ended(const char *name, long result)
{
	double passed = now() - start;

	if (result == 0 && passed >= 199)
		puts(name);
	else
		printf("%s: %ld after %.3f ms\n", name, result, passed);
	start = now();
}

int main(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		FORBID(SYS_ppoll), FORBID(SYS_pselect6), FORBID(441 /* epoll_pwait2 */),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };
	struct timeval time = { 0, 200000 };
	struct epoll_event event;
	unsigned long set = 1ul << (SIGUSR1 - 1);
	int epoll = epoll_create1(0);

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		return 1;
	start = now();
	ended("poll", syscall(SYS_poll, 0, 0, 200));
	ended("select", syscall(SYS_select, 0, 0, 0, 0, &time));
	ended("epoll_wait", syscall(SYS_epoll_wait, epoll, &event, 1, 200));
	ended("epoll_pwait", syscall(SYS_epoll_pwait, epoll, &event, 1, 200, 0, 8));
	ended("masked", syscall(SYS_epoll_pwait, epoll, &event, 1, 200, &set, 8));
	return 0;
}
