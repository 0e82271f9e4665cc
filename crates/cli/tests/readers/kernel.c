/* A static program that reads a variable of the kernel's for each line that it is given:
 *
 *	kernel-reader file FILE FUNCTION	maps the file's segments, as any loader does
 *	kernel-reader own FUNCTION		calls what its own vDSO exports
 */
#include "image.h"
#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>

typedef uint64_t getter(void);

/* In the vDSO that this process was started with, wherever it was linked to lie. */
static void *own(const char *name)
{
    char *start = (char *)getauxval(AT_SYSINFO_EHDR);
    const ElfW(Ehdr) *header = (void *)start;
    const ElfW(Phdr) *segments = (void *)(start + header->e_phoff);
    const ElfW(Dyn) *dynamic = NULL;
    char *base = start;
    for (int i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0)
            base = start - segments[i].p_vaddr;
    for (int i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_DYNAMIC)
            dynamic = (void *)(base + segments[i].p_vaddr);
    return dynamic ? find(base, dynamic, name) : NULL;
}

int main(int argc, char **argv)
{
    char line[16];
    getter *get = NULL;
    if (argc == 4 && !strcmp(argv[1], "file"))
        get = (getter *)load(argv[2], argv[3]);
    if (argc == 3 && !strcmp(argv[1], "own"))
        get = (getter *)own(argv[2]);
    if (!get) {
        fprintf(stderr, "no such function\n");
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        printf("%llu\n", (unsigned long long)get());
        fflush(stdout);
    }
    return 0;
}
