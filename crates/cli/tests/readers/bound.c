/*
 * Asks `vdso_clock_bound` of the image in argv[1] for the interval of CLOCK_REALTIME, argv[2] times with
 * argv[3] microseconds in between. Each answer is a line: the processor's counter before the call, the
 * earliest and the latest moment in nanoseconds, and the counter after it.
 */
#include "vdso_clock.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned long long counter(void)
{
	unsigned low, high;
	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (unsigned long long)high << 32 | low;
}

static long long nanoseconds(struct timespec t)
{
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	void *image = argc == 4 ? dlopen(argv[1], RTLD_NOW) : NULL;
	__typeof__(vdso_clock_bound) *bound = image ? dlsym(image, "vdso_clock_bound") : NULL;

	if (!bound) {
		fprintf(stderr, "usage: bound IMAGE TIMES MICROSECONDS: %s\n", image ? "no such function" : dlerror());
		return 2;
	}
	for (long left = atol(argv[2]); left > 0; left--) {
		struct timespec earliest, latest;
		unsigned long long before = counter();
		int result = bound(CLOCK_REALTIME, &earliest, &latest);
		unsigned long long after = counter();

		if (result) {
			fprintf(stderr, "vdso_clock_bound returned %d\n", result);
			return 1;
		}
		printf("%llu %lld %lld %llu\n", before, nanoseconds(earliest), nanoseconds(latest), after);
		usleep(atol(argv[3]));
	}
	return 0;
}
