/* The running task, without a system call: libcurrent.so.1, which `vdso serve current` installs.
 *
 * Where no page is published for this process's user, or only the kernel knows, every function makes
 * the system call that it names. All of them may be called by any thread, in a signal handler, and after
 * fork(2) and vfork(2). The library also defines getpid, gettid, getppid and clock_gettime. */
#ifndef VDSO_CURRENT_H
#define VDSO_CURRENT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The process's id in its own PID namespace: getpid(2). */
uint32_t current_pid(void);

/* The thread's id in its own PID namespace: gettid(2). */
uint32_t current_tid(void);

/* The parent's id, 0 when it is in an outer PID namespace: getppid(2). */
uint32_t current_parent(void);

/* The thread's CPU time in nanoseconds: CLOCK_THREAD_CPUTIME_ID. Never goes back for one thread. */
uint64_t current_thread_cpu_time(void);

/* The process's CPU time in nanoseconds: CLOCK_PROCESS_CPUTIME_ID. A system call for a process of several
 * threads. */
uint64_t current_process_cpu_time(void);

/* The thread's context switches, because it waited and because another task was to run:
 * getrusage(2) of RUSAGE_THREAD. */
void current_switches(uint64_t *voluntary, uint64_t *involuntary);

/* For how many nanoseconds the thread has waited for a CPU while it could run, or -1 where no
 * page knows: no system call returns it. */
int64_t current_run_delay(void);

#ifdef __cplusplus
}
#endif

#endif
