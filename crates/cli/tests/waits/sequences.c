// Runs in one restartable sequence (rseq(2)) after another and makes no call, until its timer fires. Inside a
// sequence the descriptor must never be clear: then something else ran there, and the sequence went on.
// Prints "whole" then, or "torn".
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/rseq.h>
#include <time.h>

static volatile sig_atomic_t fired;

static void fires(int signal) {
    (void)signal;
    fired = 1;
}

/// 1: the sequence went on without its descriptor. 0: it ended, or was aborted.
static int run(struct rseq *rseq) {
    int torn;
    __asm__ volatile(
        ".pushsection .data.sequences, \"aw\"\n"
        ".balign 32\n"
        "9: .long 0, 0\n"
        "   .quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "   xorl %[torn], %[torn]\n"
        "   leaq 9b(%%rip), %%rax\n"
        "   movl $100000000, %%ecx\n"
        "   movq %%rax, %[cs]\n"
        "1: cmpq $0, %[cs]\n"
        "   je 3f\n"
        "   decl %%ecx\n"
        "   jnz 1b\n"
        "2: jmp 5f\n"
        "3: movl $1, %[torn]\n"
        "   jmp 5f\n"
        "   .byte 0x0f, 0xb9, 0x3d\n" // The signature before an abort handler: ud1 0x53053053.
        "   .long 0x53053053\n"
        "4: xorl %[torn], %[torn]\n"
        "5:\n"
        : [torn] "=&r"(torn), [cs] "+m"(rseq->rseq_cs)
        :
        : "rax", "rcx", "memory", "cc");
    return torn;
}

int main(void) {
    struct rseq *rseq = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    struct itimerspec due = {{0, 0}, {0, 0}};
    timer_t timer;
    signal(SIGALRM, fires);
    clock_gettime(CLOCK_REALTIME, &due.it_value);
    due.it_value.tv_sec += 10000;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    if (!__rseq_size || timer_create(CLOCK_REALTIME, &event, &timer)) return 1;
    if (timer_settime(timer, TIMER_ABSTIME, &due, 0)) return 2;
    puts("runs");
    fflush(stdout);
    int torn = 0;
    while (!fired) torn |= run(rseq);
    puts(torn ? "torn" : "whole");
    return 0;
}
