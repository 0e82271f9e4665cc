/* Found at run time, by name and version. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

int main(void)
{
	void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
	uint64_t (*processes)(void);

	if (!vdso)
		return fprintf(stderr, "%s\n", dlerror()), 1;
	processes = (uint64_t (*)(void))dlvsym(vdso, "__vdso_number_of_processes", "PROCESSES_1.0");
	if (!processes)
		return fprintf(stderr, "%s\n", dlerror()), 1;
	printf("%lu processes\n", processes());
	return !processes();
}
