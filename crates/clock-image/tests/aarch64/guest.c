/* Loads the image that it is given and answers, line by line, what it is asked:
 *   t CLOCK   clock_gettime between two system calls and two reads of the counter
 *   r CLOCK   clock_getres, and the system call
 *   d         gettimeofday, the time zone included, between two system calls
 *   n         getrandom, and its query for the state's size
 *   g         the same with a state: what the query says; then, when there are bytes of a
 *             generation, the state, in hexadecimal, and the 1000 bytes after
 *   s         whether a signal handler returns by the image's rt_sigreturn
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static uint64_t counter(void)
{
	uint64_t ticks;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
}

static void *function(void *library, const char *name)
{
	void *at = dlvsym(library, name, "LINUX_2.6.39");

	if (!at)
		printf("no %s\n", name);
	return at;
}

static long long whole(struct timespec time)
{
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static volatile sig_atomic_t handled;

static void handler(int signal)
{
	handled = signal;
}

/* Past libc, which would name a place of its own. */
static int returns_by(void *restorer)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} action = {handler, 0x04000000, restorer, 0};

	if (!restorer || syscall(SYS_rt_sigaction, SIGUSR1, &action, 0, sizeof action.mask))
		return 0;
	return !raise(SIGUSR1) && handled == SIGUSR1;
}

typedef ssize_t randomly(void *, size_t, unsigned, void *, size_t);

static void hexadecimal(const unsigned char *bytes, size_t length)
{
	size_t at;

	for (at = 0; at < length; at++)
		printf("%02x", bytes[at]);
	printf("\n");
}

static void with_state(randomly *random)
{
	unsigned params[16] = {0};
	unsigned char bytes[1000], *state;
	ssize_t first, then;

	printf("%zd", random(0, 0, 0, params, ~(size_t)0));
	printf(" %u %u %u\n", params[0], params[1], params[2]);
	/* The emulator doesn't know the flags that were asked for. */
	state = mmap(0, 4096, params[1], MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* A new key, and all of its first batch. */
	first = random(bytes, 160, 0, state, params[0]);
	hexadecimal(state, params[0]);
	then = random(bytes, sizeof bytes, 0, state, params[0]);
	hexadecimal(bytes, sizeof bytes);
	printf("%zd %zd\n", first, then);
}

int main(int argc, char **argv)
{
	void *library = dlopen(argv[argc - 1], RTLD_NOW);
	int (*gettime)(int, struct timespec *), (*getres)(int, struct timespec *);
	int (*day)(struct timeval *, struct timezone *);
	randomly *random;
	char line[64], what;
	int clock;

	if (!library) {
		printf("%s\n", dlerror());
		return 1;
	}
	gettime = function(library, "__kernel_clock_gettime");
	getres = function(library, "__kernel_clock_getres");
	day = function(library, "__kernel_gettimeofday");
	random = function(library, "__kernel_getrandom");
	if (!gettime || !getres || !day || !random)
		return 1;
	while (fgets(line, sizeof line, stdin)) {
		struct timespec before = {0}, seen = {0}, after = {0};
		clock = 0;
		sscanf(line, "%c %d", &what, &clock);
		if (what == 't') {
			long first = syscall(SYS_clock_gettime, clock, &before);
			uint64_t start = counter();
			int result = gettime(clock, &seen);
			uint64_t end = counter();

			syscall(SYS_clock_gettime, clock, &after);
			printf("%d %d %lld %lld %lld %llu %llu\n", result, first ? 1 : 0,
			       whole(before), whole(seen), whole(after),
			       (unsigned long long)start, (unsigned long long)end);
		} else if (what == 'r') {
			long first = syscall(SYS_clock_getres, clock, &before);
			int result = getres(clock, &seen);

			printf("%d %d %lld %lld\n", result, first ? 1 : 0, whole(before), whole(seen));
		} else if (what == 'd') {
			struct timeval now, early, late;
			struct timezone zone = {7, 7}, theirs = {9, 9};

			syscall(SYS_gettimeofday, &early, &theirs);
			int result = day(&now, &zone);
			syscall(SYS_gettimeofday, &late, 0);
			printf("%d %lld %lld %lld %d\n", result,
			       early.tv_sec * 1000000LL + early.tv_usec,
			       now.tv_sec * 1000000LL + now.tv_usec,
			       late.tv_sec * 1000000LL + late.tv_usec,
			       memcmp(&zone, &theirs, sizeof zone));
		} else if (what == 's') {
			printf("%d\n", returns_by(function(library, "__kernel_rt_sigreturn")));
		} else if (what == 'g') {
			with_state(random);
		} else {
			unsigned char bytes[32] = {0};
			int set = 0, at;
			ssize_t got = random(bytes, sizeof bytes, 0, 0, 0);

			for (at = 0; at < 32; at++)
				set |= bytes[at];
			printf("%zd %d %zd\n", got, set != 0, random(0, 0, 0, bytes, ~(size_t)0));
		}
		fflush(stdout);
	}
	return 0;
}
