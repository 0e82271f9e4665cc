// Nanoseconds of one read through a function of the vDSO.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e9 + now.tv_nsec;
}

int main(int argc, char **argv)
{
	void *library = dlopen(argv[1], RTLD_NOW);
	double (*level)(void) = library ? (double (*)(void))dlsym(library, "gauge_level") : NULL;
	long count = argc > 2 ? atol(argv[2]) : 0;
	if (!level)
		return 1;
	double sum = 0, start = now();
	for (long i = 0; i < count; i++)
		sum += level();
	printf("%.2f\n", (now() - start) / count + 0 * sum);
	return 0;
}
