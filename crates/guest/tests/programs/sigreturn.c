/* A signal handler that returns through the image's rt_sigreturn, and is unwound through it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

/* As the kernel takes it (include/uapi/asm-generic/signal.h). */
struct action {
    void (*handler)(int);
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};
enum { RESTORER = 0x04000000 };

static volatile int handled, below;
static char *trampoline;

static void __attribute__((noinline)) interrupted(void) {
    raise(SIGUSR1);
    handled++; /* no tail call */
}

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *seen) {
    uintptr_t at = _Unwind_GetIP(context);
    if (at == (uintptr_t)trampoline)
        *(int *)seen = 1;
    /* The caller of raise(3), behind the frame of the signal. */
    if (*(int *)seen && _Unwind_GetRegionStart(context) == (uintptr_t)interrupted)
        below = 1;
    return _URC_NO_REASON;
}

static void handler(int signal) {
    int seen = 0;
    _Unwind_Backtrace(frame, &seen);
    handled = signal == SIGUSR1;
}

/* usage: sigreturn TEXT TEXT-SIZE RT_SIGRETURN */
int main(int count, char **arguments) {
    if (count != 4)
        return 2;
    int file = open(arguments[1], O_RDONLY);
    char *base = mmap(0, atol(arguments[2]), PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    if (base == MAP_FAILED)
        return 3;
    trampoline = base + atol(arguments[3]);
    struct action action = { handler, RESTORER, trampoline, 0 };
    if (syscall(SYS_rt_sigaction, SIGUSR1, &action, 0, 8) != 0)
        return 4;
    interrupted();
    printf("returned %d, unwound %d\n", handled == 2, below);
    return 0;
}
