/*
 * The kernel's vDSO in this process, without the help of a C library: its start from the
 * auxiliary vector, its functions from the dynamic symbol table (vdso(7)).
 */
#ifndef VDSO_H
#define VDSO_H

#include <elf.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

static void *vdso_function(const char *name)
{
	const char *start = (const char *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *header = (const void *)start;
	const Elf64_Phdr *segments = (const void *)(start + header->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbols = NULL;
	const Elf64_Word *hash = NULL;
	const char *names = NULL;

	/* The one PT_LOAD of Linux's own vDSO lies at address 0: addresses are distances. */
	for (int i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_DYNAMIC)
			dynamic = (const void *)(start + segments[i].p_vaddr);
	for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
		const char *at = start + dynamic->d_un.d_ptr;

		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (const void *)at;
		else if (dynamic->d_tag == DT_STRTAB)
			names = at;
		else if (dynamic->d_tag == DT_HASH)
			hash = (const void *)at;
	}
	if (!symbols || !names || !hash)
		return NULL;
	for (Elf64_Word i = 1; i < hash[1]; i++)
		if (symbols[i].st_shndx != SHN_UNDEF && !strcmp(names + symbols[i].st_name, name))
			return (void *)(start + symbols[i].st_value);
	return NULL;
}

#endif
