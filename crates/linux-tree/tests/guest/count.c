/*
 * Counts the instructions of one call of each function of the vDSO that programs know, by
 * stepping through it: whatever a child executes inside of the image, from the function's
 * first instruction until it is outside again.
 *
 * A step takes longer than some updates of the vvar pages are apart. So what is stepped
 * through is a copy, image and pages together, in which nothing changes: the image finds its
 * pages by their distance. The least of several copies counts, since one may have been made
 * in the middle of an update.
 *
 * `count` prints the numbers. `count in-namespace` does so in a time namespace.
 */
#define _GNU_SOURCE
#include "vdso.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

enum { CALLS = 4 };

struct call {
	const char *name;
	const char *function;
	long first;
	long second;
};

static struct timespec timespec;
static struct timeval timeval;
static struct timezone zone;
static unsigned cpu, node;

static const struct call calls[] = {
	{ "clock_gettime(CLOCK_REALTIME)", "__vdso_clock_gettime", CLOCK_REALTIME, (long)&timespec },
	{ "clock_gettime(CLOCK_MONOTONIC)", "__vdso_clock_gettime", CLOCK_MONOTONIC, (long)&timespec },
	{ "clock_gettime(CLOCK_BOOTTIME)", "__vdso_clock_gettime", CLOCK_BOOTTIME, (long)&timespec },
	{ "clock_gettime(CLOCK_TAI)", "__vdso_clock_gettime", CLOCK_TAI, (long)&timespec },
	{ "clock_gettime(CLOCK_MONOTONIC_RAW)", "__vdso_clock_gettime", CLOCK_MONOTONIC_RAW, (long)&timespec },
	{ "clock_gettime(CLOCK_REALTIME_COARSE)", "__vdso_clock_gettime", CLOCK_REALTIME_COARSE, (long)&timespec },
	{ "clock_gettime(CLOCK_MONOTONIC_COARSE)", "__vdso_clock_gettime", CLOCK_MONOTONIC_COARSE, (long)&timespec },
	{ "clock_getres(CLOCK_MONOTONIC)", "__vdso_clock_getres", CLOCK_MONOTONIC, (long)&timespec },
	{ "gettimeofday", "__vdso_gettimeofday", (long)&timeval, 0 },
	{ "gettimeofday with a time zone", "__vdso_gettimeofday", (long)&timeval, (long)&zone },
	{ "time", "__vdso_time", 0, 0 },
	{ "getcpu", "__vdso_getcpu", (long)&cpu, (long)&node },
};

/* The pages and the image behind them, and their copy. */
static char *original, *copy;
static size_t size;

static void find_image(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[256];

	while (fgets(line, sizeof line, maps)) {
		if (!strstr(line, "[v") || strstr(line, "[vsyscall]") ||
		    sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		if (!original)
			original = (char *)start;
		size = (char *)end - original;
	}
	fclose(maps);
	if (!original)
		FAIL("there is no vDSO");
	copy = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (copy == MAP_FAILED)
		FAIL("no memory for a copy: %s", strerror(errno));
}

/* Through a pipe: a page that is not there, of a hypervisor's clock, is an error and no signal. */
static void copy_image(void)
{
	int ends[2];

	if (pipe(ends))
		_exit(2);
	for (size_t at = 0; at < size; at += 4096)
		if (write(ends[1], original + at, 4096) == 4096 &&
		    read(ends[0], copy + at, 4096) != 4096)
			_exit(2);
	close(ends[0]);
	close(ends[1]);
}

/* The child: calls, and stops before each. */
static void be_stepped(const struct call *call, long (*function)(long, long))
{
	ptrace(PTRACE_TRACEME);
	for (int i = 0; i < CALLS; i++) {
		copy_image();
		raise(SIGSTOP);
		if (function(call->first, call->second) < 0)
			_exit(1);
	}
	_exit(0);
}

static unsigned count(const struct call *call)
{
	char *found = vdso_function(call->function);
	uint64_t start = (uint64_t)copy, end = start + size;
	long (*function)(long, long);
	unsigned least = -1U;
	pid_t child;
	int status;

	if (!found)
		FAIL("the vDSO has no %s", call->function);
	function = (long (*)(long, long))(copy + (found - original));
	child = fork();
	if (!child)
		be_stepped(call, function);
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		struct user_regs_struct registers;
		unsigned steps = 0;

		if (WSTOPSIG(status) != SIGSTOP)
			FAIL("%s: stopped by signal %d", call->name, WSTOPSIG(status));
		do {
			if (ptrace(PTRACE_SINGLESTEP, child, 0, 0) || waitpid(child, &status, 0) != child ||
			    !WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, child, 0, &registers))
				FAIL("%s: no step: %#x", call->name, status);
		} while (registers.rip != (uint64_t)function);
		/* At its first instruction, which is not executed yet. */
		while (registers.rip >= start && registers.rip < end) {
			steps++;
			if (ptrace(PTRACE_SINGLESTEP, child, 0, 0) || waitpid(child, &status, 0) != child ||
			    !WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, child, 0, &registers))
				FAIL("%s: no step: %#x", call->name, status);
		}
		if (steps < least)
			least = steps;
		ptrace(PTRACE_CONT, child, 0, 0);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		FAIL("%s: ended by %#x", call->name, status);
	return least;
}

int main(int argc, char **argv)
{
	cpu_set_t one;

	/* Parent and child take turns: on one CPU that is quicker. */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (sched_setaffinity(0, sizeof one, &one))
		FAIL("no CPU 0: %s", strerror(errno));
	if (argc > 1 && !getenv("INSIDE")) {
		int offsets;
		pid_t child;
		int status;

		if (unshare(CLONE_NEWTIME))
			FAIL("no time namespace: %s", strerror(errno));
		offsets = open("/proc/self/timens_offsets", O_WRONLY);
		if (write(offsets, "monotonic 1000 0\n", 17) != 17)
			FAIL("no offset: %s", strerror(errno));
		setenv("INSIDE", "1", 1);
		child = fork();
		if (!child) {
			execv("/proc/self/exe", argv);
			_exit(127);
		}
		waitpid(child, &status, 0);
		return status != 0;
	}
	find_image();
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
		printf("%s: %u instructions\n", calls[i].name, count(&calls[i]));
	return 0;
}
