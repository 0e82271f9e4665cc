/*
 * What a process sees of functions that `vdso kernel add` put into the kernel's vDSO. Each
 * check is a word on the command line; linked statically.
 *
 * Nothing here waits by the clock: what has to become true is asked for until it is, and the
 * lab ends a check that takes too long.
 */
#define _GNU_SOURCE
#include "vdso.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

typedef uint64_t getter(void);

static getter *find(const char *name)
{
	getter *function = (getter *)vdso_function(name);

	if (!function)
		FAIL("the vDSO has no %s", name);
	return function;
}

/* Processes as /proc lists them. */
static uint64_t listed(void)
{
	DIR *proc = opendir("/proc");
	uint64_t count = 0;

	for (struct dirent *entry; (entry = readdir(proc));)
		count += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
	closedir(proc);
	return count;
}

/* The number that /proc agrees with: threads of the kernel's come and go meanwhile. */
static uint64_t agreed(getter *processes)
{
	uint64_t count;

	do
		count = processes();
	while (count != listed());
	return count;
}

/* The numbers are the kernel's, and change as it changes them. */
static void values(void)
{
	enum { CHILDREN = 20 };
	getter *processes = find("number_of_processes"), *pages = find("number_of_free_pages");
	pid_t children[CHILDREN];
	uint64_t before, less = 128 << 20;

	before = agreed(processes);
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (!children[i])
			for (;;)
				pause();
	}
	/* Half of them: the others may be made up for by threads of the kernel's that ended. */
	if (agreed(processes) < before + CHILDREN / 2)
		FAIL("%d more do not show", CHILDREN);
	printf("processes: %lu, and %d more\n", before, CHILDREN);
	for (int i = 0; i < CHILDREN; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	if (agreed(processes) > before + CHILDREN / 2)
		FAIL("%d less do not show", CHILDREN);

	before = pages();
	printf("free pages: %lu\n", before);
	if (before == 0 || before > (uint64_t)get_phys_pages())
		FAIL("of %lu in all", get_phys_pages());
	memset(mmap(NULL, less, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, less);
	/* Half of it: the children's memory comes back meanwhile. */
	while (pages() > before - less / 4096 / 2)
		;
	printf("and with 128 MiB in use: %lu\n", pages());
}

/* A process that may only read, write and end calls them: no system call is made. */
static void no_system_call(void)
{
	getter *processes = find("number_of_processes"), *pages = find("number_of_free_pages");
	uint64_t sum = 0;
	char *end = "called 2000000 times without a system call\n";

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		FAIL("no strict mode: %s", strerror(errno));
	for (int i = 0; i < 1000000; i++)
		sum += processes() + pages();
	if (sum)
		write(1, end, strlen(end));
	syscall(SYS_exit, !sum);
}

/* And the proof is one: the real system call kills. */
static void a_system_call_kills(void)
{
	int status;
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		syscall(SYS_getppid);
		syscall(SYS_exit, 0);
	}
	waitpid(child, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		FAIL("getppid was let through: %#x", status);
}

/* No process can write the pages. */
static void no_writing(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[256];
	int mappings = 0, memory = open("/proc/self/mem", O_RDWR);

	while (fgets(line, sizeof line, maps)) {
		unsigned long start, end;

		if (!strstr(line, "[vvar") || sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		printf("%s", line);
		mappings++;
		for (; start < end; start += 4096) {
			if (!mprotect((void *)start, 4096, PROT_READ | PROT_WRITE))
				FAIL("%#lx can be made writable", start);
			if (errno != EACCES && errno != EPERM)
				FAIL("%#lx: %s", start, strerror(errno));
			if (pwrite(memory, "x", 1, (off_t)start) >= 0)
				FAIL("%#lx can be written through /proc/self/mem", start);
		}
	}
	if (!mappings)
		FAIL("there are no vvar pages");
}

/* In a time namespace, whose page takes the place of the vvar page, the values are the same. */
static void in_a_time_namespace(char *self)
{
	int offsets, status;
	pid_t child;

	if (unshare(CLONE_NEWTIME))
		FAIL("no time namespace: %s", strerror(errno));
	offsets = open("/proc/self/timens_offsets", O_WRONLY);
	if (write(offsets, "monotonic 1000 0\n", 17) != 17)
		FAIL("no offset: %s", strerror(errno));
	child = fork();
	if (!child) {
		execl(self, self, "values", NULL);
		FAIL("%s: %s", self, strerror(errno));
	}
	waitpid(child, &status, 0);
	if (status)
		FAIL("in the namespace: %#x", status);
}

int main(int count, char **words)
{
	char *check = count == 2 ? words[1] : "";

	if (!strcmp(check, "values"))
		values();
	else if (!strcmp(check, "no-system-call"))
		a_system_call_kills(), no_system_call();
	else if (!strcmp(check, "no-writing"))
		no_writing();
	else if (!strcmp(check, "time-namespace"))
		in_a_time_namespace(words[0]);
	else
		FAIL("no check `%s`", check);
	return 0;
}
