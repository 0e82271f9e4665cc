// Time-outs that are submitted to io_uring(7), in this process, in a child of fork(2) with the same ring, and
// in one that executes this program: each prints how they ended.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct io_uring_params params;
static int ring;
static char *rings;
static struct io_uring_sqe *entries;

#define AT(offset) ((unsigned *)(rings + (offset)))

static struct io_uring_sqe *next(int operation, int fd) {
    unsigned tail = *AT(params.sq_off.tail), index = tail & *AT(params.sq_off.ring_mask);
    AT(params.sq_off.array)[index] = index;
    memset(&entries[index], 0, sizeof *entries);
    entries[index].opcode = operation;
    entries[index].fd = fd;
    entries[index].user_data = operation;
    __atomic_store_n(AT(params.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
    return &entries[index];
}

static long enter(unsigned submits, unsigned least, unsigned flags, void *argument, size_t size) {
    return syscall(SYS_io_uring_enter, ring, submits, least, flags | IORING_ENTER_GETEVENTS, argument, size);
}

static int results[IORING_OP_LAST];

/// Waits until so many operations have ended.
static void end(int count) {
    while (count > 0) {
        unsigned head = *AT(params.cq_off.head);
        if (head == __atomic_load_n(AT(params.cq_off.tail), __ATOMIC_ACQUIRE)) {
            enter(0, 1, 0, 0, 0);
            continue;
        }
        struct io_uring_cqe *cqes = (void *)(rings + params.cq_off.cqes);
        struct io_uring_cqe cqe = cqes[head & *AT(params.cq_off.ring_mask)];
        __atomic_store_n(AT(params.cq_off.head), head + 1, __ATOMIC_RELEASE);
        results[cqe.user_data] = cqe.res;
        count--;
    }
}

static void times_out(const char *who) {
    struct __kernel_timespec time = {0, 10000000};
    struct io_uring_sqe *timeout = next(IORING_OP_TIMEOUT, -1);
    timeout->addr = (unsigned long)&time;
    timeout->len = 1;
    enter(1, 1, 0, 0, 0);
    end(1);
    int ends[2];
    char byte;
    if (pipe(ends)) return;
    struct io_uring_sqe *read = next(IORING_OP_READ, ends[0]);
    read->addr = (unsigned long)&byte;
    read->len = 1;
    read->flags = IOSQE_IO_LINK;
    timeout = next(IORING_OP_LINK_TIMEOUT, -1);
    timeout->addr = (unsigned long)&time;
    timeout->len = 1;
    enter(2, 1, 0, 0, 0);
    end(2);
    struct io_uring_getevents_arg argument = {.ts = (unsigned long)&time};
    long waited = enter(0, 1, IORING_ENTER_EXT_ARG, &argument, sizeof argument);
    int error = waited < 0 ? errno : 0;
    int read_ended = results[IORING_OP_READ];
    printf("%s %d %d %d\n", who, results[IORING_OP_TIMEOUT] == -ETIME,
           read_ended == -ECANCELED || read_ended == -EINTR, error == ETIME);
    fflush(stdout);
}

int main(int count, char **arguments) {
    ring = syscall(SYS_io_uring_setup, 8, &params);
    if (ring < 0) return errno == ENOSYS || errno == EPERM ? 77 : 1;
    size_t sq = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t cq = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    // Both rings are in one mapping (IORING_FEAT_SINGLE_MMAP, Linux 5.4).
    rings = mmap(0, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    size_t size = params.sq_entries * sizeof *entries;
    entries = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    if (rings == MAP_FAILED || entries == MAP_FAILED) return 2;
    times_out(count > 1 ? "program" : "parent");
    if (count > 1) return 0;
    int status;
    pid_t child = fork();
    if (!child) {
        times_out("child");
        execl("/proc/self/exe", arguments[0], "again", (char *)0);
        return 3;
    }
    return waitpid(child, &status, 0) != child || status;
}
