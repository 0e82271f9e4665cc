// vectors: keeps values in registers of the scalable vector extension, and makes no system call
// meanwhile, until SIGUSR1 comes. The exit status is 1 if one of them has changed.
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t is_over;

static void end(int signal) {
    (void)signal;
    is_over = 1;
}

int main(void) {
    signal(SIGUSR1, end);
    puts("ready");
    fflush(stdout);
    long differs;
    __asm__ volatile(
        "   ptrue  p1.b\n"
        "   mov    z0.b, #5\n"
        "   mov    z31.b, #7\n"
        "   mov    %0, #1\n"
        "1: cmpne  p0.b, p1/z, z0.b, #5\n"
        "   b.any  2f\n"
        "   cmpne  p0.b, p1/z, z31.b, #7\n"
        "   b.any  2f\n"
        "   ptest  p1, p1.b\n" // all of it is still true
        "   b.none 2f\n"
        "   ldr    w9, [%1]\n"
        "   cbz    w9, 1b\n"
        "   mov    %0, #0\n"
        "2:\n"
        : "=&r"(differs)
        : "r"(&is_over)
        : "x9", "z0", "z31", "p0", "p1", "cc", "memory");
    return (int)differs;
}
