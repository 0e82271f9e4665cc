/* A vDSO for guests of emulators, unikernels and sandboxes: https://github.com/vdsokit/vdsokit
 *
 * Nothing here allocates, calls a C library, or keeps state besides the memory that it is given. A
 * guest belongs to one lock of its user's; the processes that read its page take none.
 */

#ifndef VDSOKIT_GUEST_H
#define VDSOKIT_GUEST_H

/* Generated from crates/guest-capi/src/lib.rs by its test `header`. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The bytes of memory that a guest needs, at a multiple of 16.
#define VDSOKIT_GUEST_SIZE 1280

// Whether a function succeeded, and if not, what it refused. Then it has changed nothing.
typedef enum {
  // Success.
  VDSOKIT_STATUS_OK = 0,
  // The memory for the guest is smaller than VDSOKIT_GUEST_SIZE or not at a multiple of 16, or
  // the page is not at a multiple of 8.
  VDSOKIT_STATUS_MEMORY = 1,
  // The counter has 0 Hz, or a tick of more than a second.
  VDSOKIT_STATUS_FREQUENCY = 2,
  // The promise is shorter than a tick, or 2^62 ticks or longer.
  VDSOKIT_STATUS_PROMISE = 3,
  // The frequency correction is over one tenth.
  VDSOKIT_STATUS_CORRECTION = 4,
  // The nanoseconds are not below 1,000,000,000.
  VDSOKIT_STATUS_NANOSECONDS = 5,
  // There is no image for this architecture in the library.
  VDSOKIT_STATUS_ARCHITECTURE = 6,
  // The image is not linked for this page size.
  VDSOKIT_STATUS_PAGE_SIZE = 7,
  // There is no such page, function or clock.
  VDSOKIT_STATUS_NONE = 8,
  // The range of addresses is too small.
  VDSOKIT_STATUS_RANGE = 9,
} vdsokit_status;

// A guest: its timekeeper and the page that its processes read.
typedef struct vdsokit_guest vdsokit_guest;

// The state with which a guest starts.
typedef struct {
  // The frequency in Hz of the counter that the guest's programs read.
  uint64_t frequency;
  // That counter now.
  uint64_t ticks;
  // Monotonic time now, in nanoseconds: 0 at the guest's boot.
  uint64_t monotonic;
  // Wall time now, in seconds since 1970.
  int64_t wall_seconds;
  // Its nanoseconds, below 1,000,000,000.
  uint32_t wall_nanoseconds;
  // International atomic time minus wall time, in seconds: 37 since 2017, 0 when it is not
  // known.
  int32_t tai;
  // For how many nanoseconds the page is valid after vdsokit_guest_tick(). Twice the time
  // between two ticks leaves a whole period for a late one.
  uint64_t promise;
} vdsokit_start;

// A page to map into each process of a guest.
typedef struct {
  // Its distance from the base in bytes.
  size_t offset;
  // Its first bytes, `length` of them; behind them it has zeroes. NULL for the page that the
  // guest's programs read time from: every process has that very memory.
  const uint8_t *bytes;
  // How many.
  size_t length;
  // Whether programs may execute it. Programs may read every page and write none.
  bool executable;
} vdsokit_page;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Starts a guest in `memory`, which has `size` bytes; `page` has 4,096 bytes, is mapped into no
// process yet, and is all overwritten. `*guest` is the guest.
//
// Its programs make system calls until the first vdsokit_guest_tick().
//
// # Safety
// The pointers are valid; `memory` and `page` stay so and are used for nothing else while the
// guest is used.
vdsokit_status vdsokit_guest_start(uint8_t *memory,
                                   size_t size,
                                   uint8_t *page,
                                   const vdsokit_start *start,
                                   vdsokit_guest **guest);

// A tick: publishes the guest's time for the promise after `ticks`, the counter now.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
void vdsokit_guest_tick(vdsokit_guest *guest, uint64_t ticks);

// Makes every clock the guest's system call, until the next tick: for the time in which there is
// no counter that all of its CPUs agree on.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
void vdsokit_guest_system_calls(vdsokit_guest *guest);

// The time of a clock, by its Linux number, at `ticks`: for the guest's own system calls, which
// continue where the page's time ends.
//
// # Safety
// `guest` is a guest, no other call that changes it runs, and the pointers are valid.
vdsokit_status vdsokit_guest_time(const vdsokit_guest *guest,
                                  uint32_t clock,
                                  uint64_t ticks,
                                  int64_t *seconds,
                                  uint32_t *nanoseconds);

// Sets wall time at once. `ticks` is the counter now.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
vdsokit_status vdsokit_guest_set_wall(vdsokit_guest *guest,
                                      uint64_t ticks,
                                      int64_t seconds,
                                      uint32_t nanoseconds);

// Slews time by so many nanoseconds, as adjtime(3) does.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
void vdsokit_guest_slew(vdsokit_guest *guest, int64_t nanoseconds);

// Corrects the counter's frequency: `freq` of adjtimex(2), in 2^-16 parts in a million.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
vdsokit_status vdsokit_guest_correct(vdsokit_guest *guest, int64_t correction);

// Sets international atomic time minus wall time, in seconds.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
void vdsokit_guest_set_tai(vdsokit_guest *guest, int32_t seconds);

// Announces a leap second before `midnight`, in seconds since 1970: 1 inserts one, -1 deletes
// one, and 0 takes back what was announced.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
void vdsokit_guest_set_leap(vdsokit_guest *guest, int32_t direction, int64_t midnight);

// The guest was suspended for so many nanoseconds, from the counter at `suspended` on, and the
// counter is at `ticks` now, whatever it did meanwhile.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
void vdsokit_guest_resumed(vdsokit_guest *guest,
                           uint64_t suspended,
                           uint64_t ticks,
                           uint64_t nanoseconds);

// The guest's counter has another frequency from now on, as after a migration: the old one was at
// `before` when the new one is at `ticks`.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
vdsokit_status vdsokit_guest_change_counter(vdsokit_guest *guest,
                                            uint64_t before,
                                            uint64_t ticks,
                                            uint64_t frequency);

// The guest's generator of random numbers has a new key: to be called after the key was replaced,
// and for the first time before the guest's first program starts. From then on the image makes
// random bytes without a system call.
//
// # Safety
// `guest` is a guest, and no other call with it runs.
void vdsokit_guest_reseeded(vdsokit_guest *guest);

// The nth page to map into each process of a guest of `architecture`: "x86_64", "x86", "aarch64",
// "riscv64" or "loongarch64". VDSOKIT_STATUS_NONE when there are no more.
//
// A process has them from a base on, a multiple of the page size, which the auxiliary vector
// tells it as AT_SYSINFO_EHDR (33).
//
// # Safety
// `architecture` is a text that ends with a NUL, and `page` is valid.
vdsokit_status vdsokit_plan_page(const char *architecture,
                                 size_t page_size,
                                 size_t nth,
                                 vdsokit_page *page);

// A base for the pages within `start` and `end`, chosen by 64 random bits. `*size` is how much
// address space they take.
//
// # Safety
// `architecture` is a text that ends with a NUL, and the pointers are valid.
vdsokit_status vdsokit_plan_place(const char *architecture,
                                  size_t page_size,
                                  uint64_t start,
                                  uint64_t end,
                                  uint64_t random,
                                  uint64_t *base,
                                  size_t *size);

// The distance of a function of the image from the base: "__vdso_clock_gettime", or
// "__kernel_rt_sigreturn" for signal handlers.
//
// # Safety
// The texts end with a NUL, and `offset` is valid.
vdsokit_status vdsokit_image_symbol(const char *architecture, const char *name, size_t *offset);

// A sentence in English about a status, which ends with a NUL.
const char *vdsokit_status_text(vdsokit_status status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VDSOKIT_GUEST_H */
