/* Finding the functions of the vDSO, as C libraries do. */
#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#if defined(__x86_64__)
#define NAME(function) "__vdso_" function
#define VERSION "LINUX_2.6"
#elif defined(__aarch64__)
#define NAME(function) "__kernel_" function
#define VERSION "LINUX_2.6.39"
#elif defined(__riscv)
#define NAME(function) "__vdso_" function
#define VERSION "LINUX_4.15"
#endif

/* The vDSO, as the System V ABI describes a shared object. */
static struct {
    const char *base;
    const Elf64_Ehdr *header;
    ptrdiff_t bias;
    const Elf64_Sym *symbols;
    const char *strings;
    const uint32_t *gnu_hash, *sysv_hash;
    const Elf64_Half *versions;
    const Elf64_Verdef *definitions;
} vdso;

static bool read_vdso(void) {
    vdso.base = (const char *)getauxval(AT_SYSINFO_EHDR);
    if (vdso.base == NULL || memcmp(vdso.base, ELFMAG, SELFMAG) != 0)
        return false;
    vdso.header = (const void *)vdso.base;
    const Elf64_Phdr *segment = (const void *)(vdso.base + vdso.header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    bool is_loaded = false;
    for (int i = 0; i < vdso.header->e_phnum; i++) {
        if (segment[i].p_type == PT_LOAD && !is_loaded) {
            is_loaded = true;
            vdso.bias = (intptr_t)vdso.base + segment[i].p_offset - segment[i].p_vaddr;
        }
    }
    for (int i = 0; i < vdso.header->e_phnum; i++)
        if (segment[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(vdso.bias + segment[i].p_vaddr);
    if (dynamic == NULL)
        return false;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        const void *at = (const void *)(vdso.bias + dynamic->d_un.d_ptr);
        switch (dynamic->d_tag) {
        case DT_SYMTAB: vdso.symbols = at; break;
        case DT_STRTAB: vdso.strings = at; break;
        case DT_GNU_HASH: vdso.gnu_hash = at; break;
        case DT_HASH: vdso.sysv_hash = at; break;
        case DT_VERSYM: vdso.versions = at; break;
        case DT_VERDEF: vdso.definitions = at; break;
        }
    }
    return vdso.symbols != NULL && vdso.strings != NULL;
}

static inline bool has_version(uint32_t symbol) {
    if (vdso.versions == NULL || vdso.definitions == NULL)
        return false;
    const Elf64_Verdef *definition = vdso.definitions;
    for (;;) {
        if (definition->vd_ndx == (vdso.versions[symbol] & 0x7fff)) {
            const Elf64_Verdaux *name = (const void *)((const char *)definition + definition->vd_aux);
            return strcmp(vdso.strings + name->vda_name, VERSION) == 0;
        }
        if (definition->vd_next == 0)
            return false;
        definition = (const void *)((const char *)definition + definition->vd_next);
    }
}

static uint32_t by_sysv_hash(const char *name) {
    uint32_t hash = 0;
    for (const unsigned char *at = (const void *)name; *at != 0; at++) {
        hash = (hash << 4) + *at;
        hash ^= hash >> 24 & 0xf0;
    }
    hash &= 0x0fffffff;
    const uint32_t *table = vdso.sysv_hash;
    uint32_t symbol = table[2 + hash % table[0]];
    while (symbol != 0 && strcmp(vdso.strings + vdso.symbols[symbol].st_name, name) != 0)
        symbol = table[2 + table[0] + symbol];
    return symbol;
}

static uint32_t by_gnu_hash(const char *name) {
    uint32_t hash = 5381;
    for (const unsigned char *at = (const void *)name; *at != 0; at++)
        hash = hash * 33 + *at;
    const uint32_t *table = vdso.gnu_hash;
    uint32_t buckets = table[0], first = table[1], words = table[2], shift = table[3];
    const uint64_t *bloom = (const void *)(table + 4);
    uint64_t bits = 1ull << hash % 64 | 1ull << (hash >> shift) % 64;
    if ((bloom[hash / 64 % words] & bits) != bits)
        return 0;
    const uint32_t *bucket = (const void *)(bloom + words), *chain = bucket + buckets;
    uint32_t symbol = bucket[hash % buckets];
    if (symbol < first)
        return 0;
    for (;; symbol++) {
        uint32_t other = chain[symbol - first];
        if ((other | 1) == (hash | 1)
            && strcmp(vdso.strings + vdso.symbols[symbol].st_name, name) == 0)
            return symbol;
        if (other & 1)
            return 0;
    }
}

static void *function(const char *name) {
    uint32_t symbol = vdso.gnu_hash != NULL ? by_gnu_hash(name) : by_sysv_hash(name);
    if (symbol == 0 || vdso.symbols[symbol].st_shndx == SHN_UNDEF)
        return NULL;
    return (void *)(vdso.bias + vdso.symbols[symbol].st_value);
}
