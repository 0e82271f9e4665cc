/* A kernel that calls all that it needs, and is linked with nothing else. */
#include "vdsokit_guest.h"

volatile uint64_t input, output;

#ifdef WITHOUT_GUEST
void entry(void) { output = input; }
#else
static _Alignas(16) uint8_t memory[VDSOKIT_GUEST_SIZE];
static _Alignas(4096) uint8_t frame[4096];

void entry(void) {
    vdsokit_start start = { .frequency = input, .ticks = input, .promise = input };
    vdsokit_guest *guest;
    vdsokit_page page;
    int64_t seconds;
    uint32_t nanoseconds;
    uint64_t base;
    size_t size, offset;
    output = vdsokit_guest_start(memory, sizeof memory, frame, &start, &guest);
    vdsokit_guest_tick(guest, input);
    vdsokit_guest_system_calls(guest);
    output = vdsokit_guest_time(guest, (uint32_t)input, input, &seconds, &nanoseconds);
    output = vdsokit_guest_set_wall(guest, input, (int64_t)input, (uint32_t)input);
    vdsokit_guest_slew(guest, (int64_t)input);
    output = vdsokit_guest_correct(guest, (int64_t)input);
    vdsokit_guest_set_tai(guest, (int)input);
    vdsokit_guest_set_leap(guest, (int)input, (int64_t)input);
    vdsokit_guest_resumed(guest, input, input, input);
    output = vdsokit_guest_change_counter(guest, input, input, input);
    vdsokit_guest_reseeded(guest);
    output = vdsokit_plan_page(ARCHITECTURE, 4096, input, &page);
    output = vdsokit_plan_place(ARCHITECTURE, 4096, input, input, input, &base, &size);
    output = vdsokit_image_symbol(ARCHITECTURE, "__kernel_rt_sigreturn", &offset);
    output = seconds + nanoseconds + base + size + offset + page.offset;
}
#endif

/* What a compiler expects of a kernel. */
void *memcpy(void *to, const void *from, size_t count) {
    for (size_t at = 0; at < count; at++)
        ((volatile char *)to)[at] = ((const char *)from)[at];
    return to;
}
void *memset(void *to, int byte, size_t count) {
    for (size_t at = 0; at < count; at++)
        ((volatile char *)to)[at] = (char)byte;
    return to;
}
int memcmp(const void *left, const void *right, size_t count) {
    for (size_t at = 0; at < count; at++)
        if (((const unsigned char *)left)[at] != ((const unsigned char *)right)[at])
            return ((const unsigned char *)left)[at] - ((const unsigned char *)right)[at];
    return 0;
}
int bcmp(const void *left, const void *right, size_t count) { return memcmp(left, right, count); }
size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}
