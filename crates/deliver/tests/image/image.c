/* A stand-in for a real image: the wall clock stands at the second that the first word of
   the vvar page says; every other clock is the kernel's. With LINKS defined, the kernel's
   own vDSO is called for those. */
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

__attribute__((section(".vvar"), aligned(4096), visibility("hidden")))
volatile const long vvar_second[512] = { 2145916800 }; /* 2038-01-01 00:00:00 UTC */

#ifdef LINKS
typedef int clock_function(clockid_t, struct timespec *);
__attribute__((section(".links"), aligned(8), used, visibility("hidden")))
volatile const unsigned long links[2] = { 0, 0 };

/* Name "vdsokit", type 2: two links, the second to a symbol that no kernel has. The linker
   script puts the words at 0x1800, so that the note needs no relocation. */
asm(".pushsection .note.vdsokit, \"a\", @note\n"
    "    .balign 4\n"
    "    .long 8, 3f - 2f, 2\n"
    "    .asciz \"vdsokit\"\n"
    "2:  .long 2, 0\n"
    "    .quad 0x1800\n"
    "    .asciz \"__vdso_clock_gettime\"\n"
    "    .asciz \"LINUX_2.6\"\n"
    "    .zero 1\n"
    "    .quad 0x1808\n"
    "    .asciz \"__vdso_no_such_function\"\n"
    "    .asciz \"LINUX_2.6\"\n"
    "    .zero 6\n"
    "3:\n"
    ".popsection\n");
#endif

static long enter(long number, long a, long b)
{
    long result;
    asm volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

int __vdso_clock_gettime(clockid_t clock, struct timespec *out)
{
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        out->tv_sec = vvar_second[0];
        out->tv_nsec = 0;
        return 0;
    }
#ifdef LINKS
    if (links[1])
        return -1; /* written although there is no such function */
    if (links[0])
        return ((clock_function *)links[0])(clock, out);
    return -2; /* not written */
#endif
    return enter(SYS_clock_gettime, clock, (long)out);
}

int __vdso_gettimeofday(struct timeval *out, void *zone)
{
    if (out) {
        out->tv_sec = vvar_second[0];
        out->tv_usec = 0;
    }
    return 0;
}

time_t __vdso_time(time_t *out)
{
    if (out)
        *out = vvar_second[0];
    return vvar_second[0];
}
