/* A static program that loads the image by itself. For each line, the temperature now. */
#include "image.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    char line[16];
    double (*temperature)(void);
    if (argc != 2 || !(*(void **)&temperature = load(argv[1], "weather_temperature")))
        return 1;
    while (fgets(line, sizeof line, stdin)) {
        printf("%g\n", temperature());
        fflush(stdout);
    }
    return 0;
}
