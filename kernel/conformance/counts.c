/* What calls cost, by the clock of an emulated machine whose time is the number of instructions. */
#define _GNU_SOURCE
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TIMES 2000

/* A function of the vDSO, by its dynamic symbols in the order of the table. */
static void *function(const char *name) {
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
    const Elf64_Ehdr *header = (const void *)base;
    const Elf64_Phdr *segment = (const void *)(base + header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    ptrdiff_t bias = 0;
    for (int i = header->e_phnum - 1; i >= 0; i--) {
        if (segment[i].p_type == PT_LOAD)
            bias = (intptr_t)base + segment[i].p_offset - segment[i].p_vaddr;
        if (segment[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(base + segment[i].p_offset);
    }
    const Elf64_Sym *symbols = NULL;
    const char *strings = NULL;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = (const void *)(bias + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB)
            strings = (const void *)(bias + dynamic->d_un.d_ptr);
    }
    for (const Elf64_Sym *symbol = symbols + 1; (const char *)symbol < strings; symbol++)
        if (strcmp(strings + symbol->st_name, name) == 0)
            return (void *)(bias + symbol->st_value);
    return NULL;
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

#define COUNT(name, call)                                       \
    do {                                                        \
        call;                                                   \
        long long start = now();                                \
        for (int i = 0; i < TIMES; i++)                         \
            call;                                               \
        printf("count: %s %lld\n", name, (now() - start) / TIMES); \
    } while (0)

int main(void) {
    static long entries[16][8];
    for (int i = 0; i < 16; i++)
        entries[i][0] = SYS_getppid;
    pid_t (*getppid_here)(void) = function("vdso_getppid");
    struct timespec time;
    COUNT("getppid_by_page", getppid_here());
    COUNT("getppid_by_call", syscall(SYS_getppid));
    COUNT("16_calls", for (int n = 0; n < 16; n++) syscall(SYS_getppid));
    COUNT("batch_of_16", syscall(1000, entries, 16));
    COUNT("clock_by_page", clock_gettime(CLOCK_MONOTONIC, &time));
    COUNT("clock_by_call", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time));
    return 0;
}
