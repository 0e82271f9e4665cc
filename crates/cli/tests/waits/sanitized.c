// Waits, with a fault of the kind that the first argument says.
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile int shared;
static volatile char *volatile block;

static void *waits(void *unused)
{
	struct timespec time = { 0, 50000000 };

	nanosleep(&time, 0);
	shared++;
	return unused;
}

int main(int count, char **arguments)
{
	const char *fault = count > 1 ? arguments[1] : "none";
	int races = !strcmp(fault, "race");
	pthread_t thread;

	block = malloc(77);
	if (!strcmp(fault, "leak"))
		block = 0;
	pthread_create(&thread, 0, waits, 0);
	if (races)
		waits(0);
	pthread_join(thread, 0);
	if (!races)
		waits(0);
	if (!strcmp(fault, "overflow"))
		block[77] = 1;
	if (!strcmp(fault, "overflow of a number")) {
		shared = INT_MAX;
		shared += count;
	}
	free((char *)block);
	return 0;
}
