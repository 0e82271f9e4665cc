/*
 * Bounded time: the interval in which the true time of a clock lies.
 *
 * The function is in the clock image, which `vdso serve clock` publishes: load its file with
 * dlopen(3), by a path. Linking with it does not do: its soname is that of the kernel's vDSO, which
 * the loader takes instead. SPDX-License-Identifier: MIT
 */
#ifndef VDSO_CLOCK_H
#define VDSO_CLOCK_H

#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Stores the earliest and the latest moment that the true time of `clock` may be, and returns 0.
 *
 * The true time of a wall clock (CLOCK_REALTIME, CLOCK_TAI) is UTC or TAI. For the other clocks it
 * is the kernel's own clock; the two moments are equal where the kernel's own time is returned.
 *
 * Otherwise it returns a negative number of errno.h, and stores nothing:
 *   -EINVAL   the clock has no true time: a CPU-time clock, an unknown one, or an alarm clock on a
 *             machine without a real-time clock
 *   -ENODATA  no bound is known: a wall clock that no NTP daemon (chronyd, ntpd,
 *             systemd-timesyncd) keeps
 *
 * Event A surely happened before event B, on another machine too, if the latest moment of A is
 * before the earliest moment of B, both by CLOCK_REALTIME.
 *
 * It is async-signal-safe and thread-safe. Neither pointer may be null.
 */
int vdso_clock_bound(clockid_t clock, struct timespec *earliest, struct timespec *latest);

#ifdef __cplusplus
}
#endif

#endif
