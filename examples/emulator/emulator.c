/* A guest whose programs have a vDSO: what an emulator, a unikernel or a sandbox does with
 * libvdsokit_guest, in a simulated address space.
 *
 *   cargo rustc --release -p vdsokit-guest-capi --crate-type staticlib
 *   cc -I crates/guest-capi/include examples/emulator/emulator.c target/release/libvdsokit_guest_c.a -o emulator
 *
 * The guest's memory is memory of this process, and its program runs natively, so that this is an
 * example for x86-64 and AArch64 hosts alike. An emulator copies the same bytes into its guest's memory.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vdsokit_guest.h"

#if defined(__x86_64__)
#define ARCHITECTURE "x86_64"
#define CLOCK_GETTIME "__vdso_clock_gettime"
static uint64_t counter(void) {
    uint32_t low, high, cpu;
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(cpu)::"memory");
    return (uint64_t)high << 32 | low;
}
#elif defined(__aarch64__)
#define ARCHITECTURE "aarch64"
#define CLOCK_GETTIME "__kernel_clock_gettime"
static uint64_t counter(void) {
    uint64_t ticks;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks)::"memory");
    return ticks;
}
#endif

enum { PAGE = 4096 };

/* The frame that all processes of the guest share: at one address for the guest, read-only, and at
 * another for us. */
static void *share(int memory, void *at, int rights) {
    void *page = mmap(at, PAGE, rights, MAP_SHARED | (at ? MAP_FIXED : 0), memory, 0);
    if (page == MAP_FAILED)
        exit(1);
    return page;
}

static void check(vdsokit_status status, const char *what) {
    if (status == VDSOKIT_STATUS_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, vdsokit_status_text(status));
    exit(1);
}

int main(void) {
    /* 1. At the guest's boot. */
    static _Alignas(16) uint8_t memory[VDSOKIT_GUEST_SIZE];
    int frame = memfd_create("frame", 0);
    if (frame < 0 || ftruncate(frame, PAGE) != 0)
        return 1;
    vdsokit_start start = {
        .frequency = 1000000000, /* the guest's; the host's is about this */
        .ticks = counter(),
        .wall_seconds = 4102444800, /* the guest lives in 2100 */
        .tai = 37,
        .promise = 25000000,
    };
    vdsokit_guest *guest;
    check(vdsokit_guest_start(memory, sizeof memory, share(frame, NULL, PROT_READ | PROT_WRITE), &start, &guest),
          "start");

    /* 2. When the guest starts a program. */
    size_t size;
    uint64_t base;
    char *space = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(vdsokit_plan_place(ARCHITECTURE, PAGE, (uint64_t)space, (uint64_t)space + 64 * PAGE, 0x123456789abcdef,
                             &base, &size), "place");
    vdsokit_page page;
    for (size_t nth = 0; vdsokit_plan_page(ARCHITECTURE, PAGE, nth, &page) == VDSOKIT_STATUS_OK; nth++) {
        char *at = (char *)base + page.offset;
        if (page.bytes == NULL) {
            share(frame, at, PROT_READ);
        } else {
            mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            memcpy(at, page.bytes, page.length);
            mprotect(at, PAGE, PROT_READ | (page.executable ? PROT_EXEC : 0));
        }
    }

    /* 3. At each tick of the guest. */
    vdsokit_guest_tick(guest, counter());

    /* 4. The program: it finds the function as its C library does, here by its name. */
    size_t offset;
    check(vdsokit_image_symbol(ARCHITECTURE, CLOCK_GETTIME, &offset), CLOCK_GETTIME);
    int (*clock_gettime)(clockid_t, struct timespec *) = (void *)(base + offset);
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return 1;
    char date[64];
    strftime(date, sizeof date, "%F", gmtime(&now.tv_sec));
    printf("the program reads %s\n", date);

    /* 5. The guest's own system call has the same time. */
    int64_t seconds;
    uint32_t nanoseconds;
    check(vdsokit_guest_time(guest, CLOCK_REALTIME, counter(), &seconds, &nanoseconds), "time");
    printf("its system call is %s\n", seconds - now.tv_sec <= 1 ? "the same" : "another");

    /* 6. settimeofday in the guest. */
    vdsokit_guest_set_wall(guest, counter(), 946684800, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(date, sizeof date, "%F", gmtime(&now.tv_sec));
    printf("after settimeofday it reads %s\n", date);
    return 0;
}
