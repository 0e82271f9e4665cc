/*
 * Process 1 of a kernel that has number_of_processes() in its vDSO: shows it with one child
 * more each time, and powers off.
 */
#include "vdso.h"
#include <stdint.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
	uint64_t (*processes)(void) = (uint64_t (*)(void))vdso_function("number_of_processes");

	for (int i = 0; processes && i < 3; i++) {
		uint64_t before = processes();

		if (!fork())
			for (;;)
				pause();
		while (processes() == before)
			;
		printf("number_of_processes() = %lu\n", processes());
	}
	return reboot(RB_POWER_OFF);
}
