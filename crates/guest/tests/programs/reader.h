/* Reads a clock from a page, by docs/page-format.md alone. */
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

typedef struct { int64_t seconds; uint64_t nanoseconds; } page_time;
typedef uint64_t (*page_counter)(void);

static int page_is_format_1(const unsigned char *page) {
    uint32_t format;
    uint64_t layout;
    memcpy(&format, page + 8, 4);
    memcpy(&layout, page + 16, 8);
    return !memcmp(page, "vvarpage", 8) && format == 1 && layout == 0x0b617a3434b70b1e;
}

static page_time page_line(const uint64_t *line, uint64_t ticks) {
    unsigned __int128 fraction = (unsigned __int128)ticks * line[3] + line[6];
    uint64_t nanoseconds = ticks * line[2] + line[5] + (uint64_t)(fraction >> 64);
    page_time time = { (int64_t)line[4] + nanoseconds / 1000000000, nanoseconds % 1000000000 };
    return time;
}

/* 1: `time` is the clock's. 0: the system call's, raised to `time`. -1: the system call's. */
static int page_read(const unsigned char *page, unsigned id, page_counter counter, page_time *time) {
    if (id >= 12)
        return -1;
    const unsigned char *latch = page + 64 + 320 * id;
    _Atomic uint64_t *sequence = (_Atomic uint64_t *)latch;
    for (;;) {
        uint64_t before = atomic_load_explicit(sequence, memory_order_acquire);
        _Atomic uint64_t *copy = (_Atomic uint64_t *)(latch + (before % 2 ? 136 : 8));
        uint64_t ticks = counter(), words[16];
        for (int i = 0; i < 16; i++)
            words[i] = atomic_load_explicit(copy + i, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(sequence, memory_order_relaxed) != before)
            continue;
        unsigned kind = words[0] & 0xff;
        if (kind == 2) {
            time->seconds = (int64_t)words[5];
            time->nanoseconds = words[6];
            return 1;
        }
        if (kind != 1)
            return -1;
        for (int line = 1; line <= 8; line += 7)
            if (ticks - words[line] < words[line + 1]) {
                *time = page_line(words + line, ticks);
                return 1;
            }
        if (!(words[0] >> 16 & 1))
            return -1;
        const uint64_t *current = words + (words[0] >> 17 & 1 ? 8 : 1);
        const uint64_t *former = words + (words[0] >> 17 & 1 ? 1 : 8);
        uint64_t end = current[0] + current[1];
        uint64_t lasted = end - (former[1] ? former[0] : current[0]);
        if (ticks - end >= (lasted > 1 << 30 ? lasted : 1 << 30))
            return -1;
        *time = page_line(current, end);
        return 0;
    }
}
