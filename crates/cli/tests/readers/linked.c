/* Linked with -lweather: for each line it is sent, the temperature now. */
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
