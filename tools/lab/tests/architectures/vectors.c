// vectors: keeps values in registers of AArch64's scalable vector extension, or of RISC-V's vector
// extension, and makes no system call meanwhile, until SIGUSR1 comes. The exit status is 1 if one of them has changed.
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
#ifdef __riscv
    __asm__ volatile(
        "   .option push\n"
        "   .option arch, +v\n"
        "   vsetvli t0, zero, e8, m1, ta, ma\n"
        "   vmv.v.i v1, 5\n"
        "   vmv.v.i v31, 7\n"
        "   li     %0, 1\n"
        "1: vmsne.vi v2, v1, 5\n"
        "   vcpop.m t1, v2\n"
        "   bnez   t1, 2f\n"
        "   vmsne.vi v2, v31, 7\n"
        "   vcpop.m t1, v2\n"
        "   bnez   t1, 2f\n"
        "   lw     t1, 0(%1)\n"
        "   beqz   t1, 1b\n"
        "   li     %0, 0\n"
        "2: .option pop\n"
        : "=&r"(differs)
        : "r"(&is_over)
        : "t0", "t1", "memory");
#else
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
#endif
    return (int)differs;
}
