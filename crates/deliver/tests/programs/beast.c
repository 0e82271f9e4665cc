/* Prints what beast_number of the vDSO says, and the second, both found through libc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

int main(void)
{
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOLOAD | RTLD_NOW);
    if (!vdso)
        return 1;
    long (*number)(void) = (long (*)(void))dlvsym(vdso, "beast_number", "BEAST_1");
    if (!number || dlvsym(vdso, "beast_number", "LINUX_2.6"))
        return 2;
    printf("%ld %ld\n", number(), (long)time(0));
    return 0;
}
