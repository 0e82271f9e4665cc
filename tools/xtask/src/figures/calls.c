/* Prints what one call takes, in nanoseconds: `calls getppid|futex|sleep|stat|threads|forks`. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint32_t word = 1;
static struct timespec deadline;

static int getppid_call(void) { return getppid() < 0; }

/* An absolute wait on CLOCK_REALTIME that ends at once, since the word has another value. */
static int futex_call(void)
{
	long result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0,
			      &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
	return !(result == -1 && errno == EAGAIN);
}

/* One that sleeps until its deadline, 0.2 ms from now. */
static int sleep_call(void)
{
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 200000;
	if (soon.tv_nsec >= 1000000000) {
		soon.tv_nsec -= 1000000000;
		soon.tv_sec++;
	}
	long result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 1,
			      &soon, NULL, FUTEX_BITSET_MATCH_ANY);
	return !(result == -1 && errno == ETIMEDOUT);
}

static int stat_call(void)
{
	struct stat file;
	return stat("/", &file);
}

static void *nothing(void *argument) { return argument; }

static int thread_call(void)
{
	pthread_t thread;
	return pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL);
}

static int fork_call(void)
{
	int status;
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

static const struct {
	const char *name;
	int (*call)(void);
	int count;
} calls[] = {
	{ "getppid", getppid_call, 200000 },
	{ "futex", futex_call, 5000 },
	{ "sleep", sleep_call, 2000 },
	{ "stat", stat_call, 2000 },
	{ "threads", thread_call, 2000 },
	{ "forks", fork_call, 500 },
};

/* Not the clock that is moved: a rate changes what it measures. */
static double seconds(void)
{
	struct timespec now;
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC_RAW, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 3600;
	for (size_t n = 0; argc == 2 && n < sizeof calls / sizeof *calls; n++) {
		if (strcmp(argv[1], calls[n].name))
			continue;
		double start = seconds();
		for (int i = 0; i < calls[n].count; i++)
			if (calls[n].call())
				return 1;
		printf("%.3f\n", (seconds() - start) * 1e9 / calls[n].count);
		return 0;
	}
	return 2;
}
