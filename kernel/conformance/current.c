/* The ids of the running task, from the slot of its CPU and from the page of its process, beside the
   system calls: threads, forks, vforks, processes that share memory, programs and orphans at once.
   Where there are no slots, the pages of processes alone are compared. The output is TAP. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vdso.h"

#define PAGE 4096

typedef long (*id)(void);

/* The functions of the vDSO; NULL where there is none. */
static id slot_tid, slot_pid, slot_ppid, page_pid, page_ppid;

/* What one kind of task has read: shared by all processes. */
struct counts {
    atomic_long reads, wrong;
};
static struct counts *counts;

static void compare(id function, long number) {
    if (function == NULL)
        return;
    long before = syscall(number), read = function(), after = syscall(number);
    counts->reads++;
    /* A parent may end between two of them; no other id changes. */
    if (read != before && read != after) {
        counts->wrong++;
        printf("# call %ld: %ld, read %ld, then %ld\n", number, before, read, after);
    }
}

static void compare_all(void) {
    compare(slot_tid, SYS_gettid);
    compare(slot_pid, SYS_getpid);
    compare(page_pid, SYS_getpid);
    compare(slot_ppid, SYS_getppid);
    compare(page_ppid, SYS_getppid);
}

/* Reads of what can't change, with nothing between them. */
static void read_many(void) {
    long tid = syscall(SYS_gettid), pid = syscall(SYS_getpid), wrong = 0;
    enum { READS = 100 };
    for (int i = 0; i < READS; i++) {
        wrong += slot_tid != NULL && slot_tid() != tid;
        wrong += slot_pid != NULL && slot_pid() != pid;
        wrong += page_pid() != pid;
    }
    counts->reads += slot_tid != NULL ? 3 * READS : READS;
    counts->wrong += wrong;
}

static void *compare_often(void *times) {
    for (intptr_t i = (intptr_t)times; i > 0; i--) {
        compare_all();
        read_many();
        if (i % 16 == 0)
            sched_yield();
    }
    return NULL;
}

/* A child that was not made or that ended with anything but 0 counts as a wrong answer. */
static void wait_for(pid_t child) {
    int status = -1;
    pid_t ended;
    do
        ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (child < 0 || ended != child || status != 0)
        counts->wrong++;
}

static void in_threads(int count, void *(*run)(void *), intptr_t argument) {
    pthread_t threads[8];
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run, (void *)argument) != 0)
            abort();
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void threads(int rounds) {
    in_threads(6, compare_often, rounds * 10);
}

static void new_threads(int rounds) {
    for (int i = 0; i < rounds / 2; i++)
        in_threads(3, compare_often, 2);
}

static void forks(int rounds) {
    for (int i = 0; i < rounds / 4; i++) {
        pid_t child = fork();
        if (child == 0) {
            compare_all();
            pid_t grandchild = fork();
            compare_all();
            if (grandchild == 0)
                _exit(0);
            wait_for(grandchild);
            compare_all();
            _exit(0);
        }
        compare_all();
        wait_for(child);
        compare_all();
    }
}

static void vfork_once(void) {
    pid_t child = vfork();
    if (child == 0) {
        compare_all();
        _exit(0);
    }
    compare_all();
    wait_for(child);
    compare_all();
}

static void vforks(int rounds) {
    for (int i = 0; i < rounds; i++)
        vfork_once();
}

static const char *self;

static void vfork_and_execute(void) {
    char *arguments[] = { (char *)self, "child", NULL };
    pid_t child = vfork();
    if (child == 0) {
        compare_all();
        execv(self, arguments);
        _exit(1);
    }
    compare_all();
    wait_for(child);
}

static void vforks_that_execute(int rounds) {
    for (int i = 0; i < rounds / 8; i++)
        vfork_and_execute();
}

static int compare_some(void *argument) {
    for (int i = 0; i < 20; i++)
        compare_all();
    return argument != NULL;
}

/* Processes in the same memory that run at the same time as the one that made them. */
static void in_shared_memory(int rounds) {
    enum { STACK = 16 * PAGE };
    char *stacks = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < rounds / 8; i++) {
        pid_t children[2];
        for (int n = 0; n < 2; n++)
            children[n] = clone(compare_some, stacks + (n + 1) * STACK, CLONE_VM | SIGCHLD, NULL);
        for (int n = 0; n < 20; n++)
            compare_all();
        wait_for(children[0]);
        wait_for(children[1]);
    }
}

static void on_signal(int signal) {
    int error = errno;
    compare(slot_tid, SYS_gettid);
    compare(slot_pid, SYS_getpid);
    errno = error;
    (void)signal;
}

static atomic_bool is_done;

static void *compare_until_done(void *argument) {
    while (!is_done)
        compare_all();
    return argument;
}

/* Handlers read while a read of the same thread is interrupted. */
static void signals(int rounds) {
    pthread_t others[2];
    signal(SIGUSR1, on_signal);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&others[i], NULL, compare_until_done, NULL) != 0)
            abort();
    for (int i = 0; i < rounds; i++) {
        pthread_kill(others[i % 2], SIGUSR1);
        compare_all();
    }
    is_done = true;
    pthread_join(others[0], NULL);
    pthread_join(others[1], NULL);
}

/* Parents end while their children read. */
static void orphans(int rounds) {
    for (int i = 0; i < rounds / 8; i++) {
        pid_t child = fork();
        if (child == 0) {
            pid_t orphan = fork();
            if (orphan == 0)
                for (int n = 0; n < 40; n++)
                    compare_all();
            _exit(orphan < 0);
        }
        wait_for(child);
    }
}

static const struct {
    const char *name;
    void (*run)(int);
} kinds[] = {
    { "threads", threads },
    { "new threads", new_threads },
    { "fork", forks },
    { "vfork", vforks },
    { "vfork and exec", vforks_that_execute },
    { "shared memory", in_shared_memory },
    { "signals", signals },
    { "orphans", orphans },
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* The counts of each kind, and of what is none; shared by all processes. */
static struct counts *all_counts;

static bool prepare(void) {
    if (!read_vdso())
        return false;
    slot_tid = function("gettid");
    slot_pid = function("current_getpid");
    slot_ppid = function("current_getppid");
    page_pid = function("vdso_getpid");
    page_ppid = function("vdso_getppid");
    if (slot_pid == NULL)
        slot_tid = NULL;
    return page_pid != NULL && page_ppid != NULL;
}

/* The kernel's counts of calls. */
static _Atomic uint64_t *calls;

/* Whether the slots have right answers for a task that nothing disturbs, without a system call. */
static bool slots_answer(void) {
    long tid = syscall(SYS_gettid), pid = syscall(SYS_getpid), ppid = syscall(SYS_getppid);
    uint64_t before = calls[SYS_gettid] + calls[SYS_getpid] + calls[SYS_getppid];
    for (int i = 0; i < 1000; i++)
        if (slot_tid() != tid || slot_pid() != pid || slot_ppid() != ppid)
            return false;
    uint64_t made = calls[SYS_gettid] + calls[SYS_getpid] + calls[SYS_getppid] - before;
    /* A read that was interrupted at each of many attempts makes the call: on no idle machine. */
    return made < 10;
}

static void *answer_in_thread(void *answers) {
    *(bool *)answers = slots_answer();
    return NULL;
}

static const char *answers_of_slots(void) {
    int file = open("/dev/image/calls", O_RDONLY);
    calls = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (calls == MAP_FAILED)
        return "the kernel's counts can't be mapped";
    if (!slots_answer())
        return "a slot has no answer or a wrong one";
    bool answers = false;
    in_threads(1, answer_in_thread, (intptr_t)&answers);
    if (!answers)
        return "a slot has no answer in a thread";
    pid_t child = fork();
    if (child == 0)
        _exit(!slots_answer());
    wait_for(child);
    child = vfork();
    if (child == 0)
        _exit(!slots_answer());
    wait_for(child);
    return counts->wrong != 0 ? "a slot has no answer in a child of fork or vfork" : NULL;
}

static const char *torture(int rounds) {
    pid_t children[KINDS];
    for (int i = 0; i < KINDS; i++) {
        fflush(stdout);
        children[i] = fork();
        if (children[i] == 0) {
            counts = &all_counts[i];
            kinds[i].run(rounds);
            fflush(stdout);
            _exit(0);
        }
    }
    counts = &all_counts[KINDS];
    /* Process 1 has the orphans, too. */
    for (pid_t ended = 0; ended >= 0 || errno == EINTR;) {
        int status = 0;
        ended = wait(&status);
        for (int i = 0; i < KINDS; i++)
            if (ended == children[i])
                printf("# %s ended with %d\n", kinds[i].name, status);
        fflush(stdout);
        if (ended > 0 && status != 0)
            counts->wrong++;
    }
    long reads = 0, wrong = counts->wrong;
    for (int i = 0; i < KINDS; i++) {
        printf("# %-16s %8ld reads %4ld wrong\n", kinds[i].name, (long)all_counts[i].reads,
            (long)all_counts[i].wrong);
        if (all_counts[i].reads == 0)
            wrong++;
        reads += all_counts[i].reads;
        wrong += all_counts[i].wrong;
    }
    printf("# %-16s %8ld reads %4ld wrong\n", "all", reads, wrong);
    return wrong != 0 ? "a read was wrong" : NULL;
}

int main(int count, char **arguments) {
    self = (const char *)getauxval(AT_EXECFN);
    if (!prepare())
        return 1;
    all_counts = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all_counts == MAP_FAILED)
        return 1;
    counts = &all_counts[KINDS];
    if (count > 1 && strcmp(arguments[1], "child") == 0) {
        compare_all();
        return counts->wrong != 0;
    }
    printf("TAP version 13\n1..2\n");
    bool has_slots = slot_tid != NULL && slot_ppid != NULL;
    const char *why = has_slots ? answers_of_slots() : NULL;
    bool failed = why != NULL;
    printf("%sok 1 - slots answer without a system call, also in a child of vfork%s\n",
        failed ? "not " : "",
        has_slots ? "" : " # SKIP no instruction tells programs the number of the CPU");
    if (failed)
        printf("# %s\n", why);
    fflush(stdout);
    why = torture(count > 1 ? atoi(arguments[1]) : 400);
    failed |= why != NULL;
    printf("%sok 2 - no read is wrong under torture\n", why != NULL ? "not " : "");
    fflush(stdout);
    return failed;
}
