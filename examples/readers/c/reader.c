/*
 * Prints the temperature now for each line that it reads.
 *
 *   cc reader.c -I. -L. -lweather -Wl,-rpath,. -o reader
 */
#include "weather.h"
#include <stdio.h>

int main(void)
{
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        printf("%g\n", weather_temperature());
        fflush(stdout);
    }
    return 0;
}
