/* Linked against the image that the kernel's make built; ld.so finds it in the process. */
#include <stdint.h>
#include <stdio.h>

uint64_t number_of_processes(void);
uint64_t number_of_free_pages(void);

int main(void)
{
	printf("%lu processes, %lu free pages\n", number_of_processes(), number_of_free_pages());
	return !number_of_processes() || !number_of_free_pages();
}
