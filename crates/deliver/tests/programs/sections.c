/* Spins in a restartable sequence (rseq(2)) whose descriptor the kernel clears when it aborts the
   sequence. Inside the sequence the descriptor must never be clear: then it was left and entered
   again without an abort. Says "ready", and at the end of its input how that went. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/rseq.h>
#include <unistd.h>

static uint64_t run(struct rseq *rseq, volatile uint64_t *aborts)
{
    uint64_t outcome;
    asm volatile(
        ".pushsection .data.sections, \"aw\"\n"
        ".balign 32\n"
        "9: .long 0, 0\n"
        "   .quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "   leaq 9b(%%rip), %%rax\n"
        "   movq $200000000, %%rcx\n"
        "   movq %%rax, %[cs]\n"
        "1: cmpq $0, %[cs]\n"
        "   je 3f\n"
        "   decq %%rcx\n"
        "   jnz 1b\n"
        "2: xorl %k[outcome], %k[outcome]\n"
        "   jmp 5f\n"
        "3: movl $1, %k[outcome]\n"
        "   jmp 5f\n"
        "   .byte 0x0f, 0xb9, 0x3d\n"
        "   .long 0x53053053\n"
        "4: incq %[aborts]\n"
        "   movl $2, %k[outcome]\n"
        "5:\n"
        : [outcome] "=&r"(outcome), [cs] "+m"(rseq->rseq_cs), [aborts] "+m"(*aborts)
        :
        : "rax", "rcx", "memory", "cc");
    return outcome;
}

int main(void)
{
    struct rseq *rseq = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
    struct pollfd input = { .fd = 0, .events = POLLIN };
    volatile uint64_t aborts = 0;
    uint64_t torn = 0;
    if (!__rseq_size)
        return 77;
    printf("ready\n");
    fflush(stdout);
    while (poll(&input, 1, 0) == 0)
        torn += run(rseq, &aborts) == 1;
    printf("%lu torn%s\n", (unsigned long)torn, aborts ? "" : ", none aborted");
    return 0;
}
