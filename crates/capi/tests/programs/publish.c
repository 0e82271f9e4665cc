/* Publishes the weather: publish DECLARATION FILE. Checks what must be refused on the way. */
#define _POSIX_C_SOURCE 200809L /* CLOCK_MONOTONIC */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vdsokit.h>

#define REQUIRE(condition)                                                            \
    do {                                                                              \
        if (!(condition)) {                                                           \
            const char *why = vdsokit_error();                                        \
            fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, why ? why : ""); \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

int main(int count, char **arguments)
{
    REQUIRE(count == 3);
    REQUIRE(vdsokit_error() == NULL);
    REQUIRE(vdsokit_open("/nonexistent/libweather.so.1") == NULL);
    REQUIRE(errno == ENOENT);
    REQUIRE(strstr(vdsokit_error(), "/nonexistent") != NULL);

    uint64_t earliest = 1, latest = 0;
    REQUIRE(vdsokit_bounds(CLOCK_MONOTONIC, &earliest, &latest) == 0 && 0 < earliest && earliest <= latest);
    REQUIRE(vdsokit_bounds(77, &earliest, &latest) == -1 && errno == EINVAL);
    REQUIRE(vdsokit_bounds(CLOCK_MONOTONIC, &earliest, NULL) == -1 && errno == EFAULT);

    vdsokit_publisher *weather = vdsokit_create(arguments[1], arguments[2]);
    REQUIRE(weather != NULL);
    REQUIRE(vdsokit_create(arguments[1], arguments[2]) == NULL && errno == EBUSY);

    vdsokit_variable *temperature = vdsokit_var(weather, "temperature");
    vdsokit_variable *visitors = vdsokit_var(weather, "visitors");
    vdsokit_variable *small = vdsokit_var(weather, "small");
    vdsokit_variable *open = vdsokit_var(weather, "open");
    REQUIRE(temperature && visitors && small && open);
    REQUIRE(vdsokit_var(weather, "wind") == NULL && errno == EINVAL);
    REQUIRE(vdsokit_var(weather, "humidity") == NULL && errno == ENOENT);

    REQUIRE(vdsokit_var_set_f64(temperature, 21.5) == 0);
    REQUIRE(vdsokit_var_set_u64(visitors, 18446744073709551615u) == 0);
    REQUIRE(vdsokit_var_set_i64(small, -128) == 0);
    REQUIRE(vdsokit_var_set_i64(small, 128) == -1 && errno == ERANGE);
    REQUIRE(vdsokit_var_set_f64(small, 1) == -1 && errno == EINVAL);
    REQUIRE(vdsokit_var_set_bool(open, true) == 0);

    REQUIRE(vdsokit_set(weather, "region", "north \"and\" west") == 0);
    REQUIRE(vdsokit_assign(weather, "wind.speed=3 wind.from=\"north west\"") == 0);
    REQUIRE(vdsokit_assign(weather, "temperature=30 wind.speed=fast") == -1 && errno == EINVAL);
    REQUIRE(vdsokit_set(NULL, "region", "") == -1 && errno == EFAULT);
    REQUIRE(vdsokit_set(weather, "region", "\xff") == -1 && errno == EILSEQ);

    char text[8];
    REQUIRE(vdsokit_get(weather, "temperature", text, sizeof text) == 4);
    REQUIRE(strcmp(text, "21.5") == 0);
    REQUIRE(vdsokit_get(weather, "region", text, sizeof text) == 16);
    REQUIRE(strcmp(text, "north \"") == 0);
    REQUIRE(vdsokit_get(weather, "region", NULL, 0) == 16);

    REQUIRE(vdsokit_stale_after(weather, 60000000000u) == 0);
    REQUIRE(vdsokit_beat(weather) == 0);
    puts("published");
    fflush(stdout);
    getchar();

    vdsokit_var_free(temperature);
    vdsokit_var_free(visitors);
    vdsokit_var_free(small);
    vdsokit_var_free(open);
    REQUIRE(vdsokit_retire(weather) == 0);
    REQUIRE(vdsokit_set(weather, "region", "south") == -1 && errno == ESHUTDOWN);
    vdsokit_close(weather);
    vdsokit_close(NULL);
    vdsokit_var_free(NULL);
    return 0;
}
