/* Loads the vDSO by its path, with no header: for each line, the temperature now. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    char line[16];
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    double (*temperature)(void);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&temperature = dlsym(library, "weather_temperature");
    if (!temperature)
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        printf("%g\n", temperature());
        fflush(stdout);
    }
    return 0;
}
