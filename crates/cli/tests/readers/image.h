/* A static program has no loader, and needs none: an image is position-independent and
 * never relocated, so mapping its segments is all there is to loading it. */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The function of this name, by an object's dynamic section. */
static void *find(char *base, const ElfW(Dyn) *dynamic, const char *name)
{
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    const ElfW(Word) *hash = NULL;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = (void *)(base + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB)
            strings = base + dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_HASH)
            hash = (void *)(base + dynamic->d_un.d_ptr);
    }
    for (ElfW(Word) i = 0; symbols && strings && hash && i < hash[1]; i++)
        if (!strcmp(strings + symbols[i].st_name, name))
            return base + symbols[i].st_value;
    return NULL;
}

/* The function of this name in the image at a path. */
static void *load(const char *path, const char *name)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[16];
    const ElfW(Dyn) *dynamic = NULL;
    int fd = open(path, O_RDONLY);
    if (pread(fd, &header, sizeof header, 0) != sizeof header || header.e_phnum > 16)
        return NULL;
    size_t table = header.e_phnum * sizeof *segments;
    if (pread(fd, segments, table, header.e_phoff) != (ssize_t)table)
        return NULL;
    char *base = mmap(NULL, 1 << 24, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    for (int i = 0; i < header.e_phnum; i++) {
        ElfW(Phdr) *s = &segments[i];
        int protection = PROT_READ | (s->p_flags & PF_X ? PROT_EXEC : 0);
        if (s->p_type == PT_DYNAMIC)
            dynamic = (void *)(base + s->p_vaddr);
        if (s->p_type == PT_LOAD &&
            mmap(base + s->p_vaddr, s->p_memsz, protection, MAP_PRIVATE | MAP_FIXED, fd,
                 s->p_offset) == MAP_FAILED)
            return NULL;
    }
    close(fd);
    return dynamic ? find(base, dynamic, name) : NULL;
}
