/*
 * Reads and sets the times of a file by every system call that does so, and compares them with the clock.
 * Prints what is wrong, and "right" at the end if nothing is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ll
#define NOW ((1l << 30) - 1)
#define OMIT ((1l << 30) - 2)
/* Files are stamped by a clock that ticks each 10 ms at most, which a rate of 60 makes 0.6 s. */
#define TICK (2 * SECOND)

static int failures;

static void expect(int holds, const char *what, long long a, long long b)
{
	if (!holds) {
		failures++;
		printf("%s: %lld %lld\n", what, a, b);
	}
}

/* What the kernel takes and gives, whatever this C library has of it. */
struct mark { int64_t seconds; uint32_t part; int32_t reserved; };
struct extended {
	uint32_t mask; char others[60];
	struct mark access, birth, change, modification;
	char rest[128];
};
struct wide { int64_t seconds, part; };

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

enum { ACCESS, MODIFICATION, CHANGE };

/* Reads all three times by call number `way`. Returns 0 behind the last. */
static int read_by(int way, const char *path, int fd, long long *times, const char **name)
{
	long result;
#define WAY(call) *name = #call; result = syscall
#if defined __i386__
	uint32_t s[32];
	int at = 16;
	switch (way) {
	case 0: WAY(SYS_stat)(106, path, s); at = 8; break;
	case 1: WAY(SYS_lstat)(107, path, s); at = 8; break;
	case 2: WAY(SYS_fstat)(108, fd, s); at = 8; break;
	case 3: WAY(SYS_stat64)(195, path, s); break;
	case 4: WAY(SYS_lstat64)(196, path, s); break;
	case 5: WAY(SYS_fstat64)(197, fd, s); break;
	case 6: WAY(SYS_fstatat64)(300, AT_FDCWD, path, s, 0); break;
#define TIME(which) (s[at + 2 * which] * SECOND + s[at + 1 + 2 * which])
#else
	struct stat s;
	switch (way) {
#ifdef SYS_stat
	case 0: WAY(SYS_stat)(SYS_stat, path, &s); break;
	case 1: WAY(SYS_lstat)(SYS_lstat, path, &s); break;
#else
	case 0: case 1:
#endif
	case 2: case 3: WAY(SYS_fstat)(SYS_fstat, fd, &s); break;
	case 4: case 5: WAY(SYS_newfstatat)(SYS_newfstatat, fd, "", &s, AT_EMPTY_PATH); break;
	case 6: WAY(SYS_newfstatat)(SYS_newfstatat, AT_FDCWD, path, &s, 0); break;
#define MARKS(s) ((struct timespec[]){s.st_atim, s.st_mtim, s.st_ctim})
#define TIME(which) (MARKS(s)[which].tv_sec * SECOND + MARKS(s)[which].tv_nsec)
#endif
	case 7: case 8: {
		struct extended x;
		*name = "SYS_statx";
		result = syscall(SYS_statx, AT_FDCWD, path, 0, way == 7 ? 0x7ff : 0xfff, &x);
		times[ACCESS] = x.access.seconds * SECOND + x.access.part;
		times[MODIFICATION] = x.modification.seconds * SECOND + x.modification.part;
		times[CHANGE] = x.change.seconds * SECOND + x.change.part;
		expect(result == 0, *name, result, errno);
		return 1;
	}
	default: return 0;
	}
	expect(result == 0, *name, result, errno);
	for (int which = ACCESS; which <= CHANGE; which++)
		times[which] = TIME(which);
	return 1;
}

/* All ways to read agree. */
static void read_all(const char *path, int fd, long long *times)
{
	const char *name;
	read_by(6, path, fd, times, &name);
	for (int way = 0;; way++) {
		long long others[3];
		if (!read_by(way, path, fd, others, &name))
			break;
		for (int which = ACCESS; which <= CHANGE; which++)
			expect(others[which] == times[which], name, others[which], times[which]);
	}
}

static void is_now(const char *what, long long before, long long time)
{
	long long after = now();
	expect(before - TICK <= time && time <= after, what, time - before, time - after);
}

static void set_and_read(const char *path, int fd)
{
	/* Some time ago, in a different part of a second for each. */
	long long at = now() - 3600 * SECOND, access = at - 123456789, modification = at - 987654321;
	long long start = now(), times[3];
	long result = -1;
	for (int way = 0; way < 5; way++) {
		long long unit = 1;
		const char *name = "SYS_utimensat";
		struct timespec own[2] = {
			{access / SECOND, access % SECOND}, {modification / SECOND, modification % SECOND},
		};
		struct timeval parts[2] = {
			{access / SECOND, access % SECOND / 1000}, {modification / SECOND, modification % SECOND / 1000},
		};
		long seconds[2] = {access / SECOND, modification / SECOND};
		switch (way) {
		case 0: result = syscall(SYS_utimensat, AT_FDCWD, path, own, 0); break;
		case 1: result = syscall(SYS_utimensat, fd, NULL, own, 0); break;
#ifdef SYS_utime
		case 2: name = "SYS_utime", unit = SECOND; result = syscall(SYS_utime, path, seconds); break;
		case 3: name = "SYS_utimes", unit = 1000; result = syscall(SYS_utimes, path, parts); break;
		case 4: name = "SYS_futimesat", unit = 1000; result = syscall(SYS_futimesat, AT_FDCWD, path, parts); break;
#endif
		default: (void)parts, (void)seconds; continue;
		}
		expect(result == 0, name, result, errno);
		read_all(path, fd, times);
		expect(times[ACCESS] == access / unit * unit, name, times[ACCESS], access);
		expect(times[MODIFICATION] == modification / unit * unit, name, times[MODIFICATION], modification);
		is_now("the change", start, times[CHANGE]);
	}
#ifdef __i386__
	struct wide wide[2] = {{access / SECOND, access % SECOND}, {0, OMIT}};
	expect(syscall(412, AT_FDCWD, path, wide, 0) == 0, "SYS_utimensat_time64", errno, 0);
	long long former = times[MODIFICATION];
	read_all(path, fd, times);
	expect(times[ACCESS] == access && times[MODIFICATION] == former, "time64", times[ACCESS], access);
#endif
	struct timespec special[2] = {{0, OMIT}, {0, NOW}};
	start = now();
	access = times[ACCESS];
	expect(syscall(SYS_utimensat, AT_FDCWD, path, special, 0) == 0, "UTIME_NOW", errno, 0);
	read_all(path, fd, times);
	expect(times[ACCESS] == access, "UTIME_OMIT", times[ACCESS], access);
	is_now("UTIME_NOW", start, times[MODIFICATION]);
	expect(syscall(SYS_utimensat, AT_FDCWD, path, NULL, 0) == 0, "no times", errno, 0);
	read_all(path, fd, times);
	is_now("no times", start, times[ACCESS]);
	struct timespec invalid[2] = {{0, SECOND}, {0, 0}};
	result = syscall(SYS_utimensat, AT_FDCWD, path, invalid, 0);
	expect(result == -1 && errno == EINVAL, "EINVAL", result, errno);
	result = syscall(SYS_utimensat, AT_FDCWD, path, 8, 0);
	expect(result == -1 && errno == EFAULT, "EFAULT", result, errno);
}

/* A time that is not asked for stays as the kernel leaves it, and errors are the kernel's. */
static void errors(const char *path)
{
	struct extended x;
	struct stat s;
	memset(&x, 0, sizeof x);
	/* 8 is no address. */
	long result = syscall(SYS_statx, AT_FDCWD, path, 0, 0xfff, 8);
	expect(result == -1 && errno == EFAULT, "statx EFAULT", result, errno);
	result = fstat(-1, &s);
	expect(result == -1 && errno == EBADF, "EBADF", result, errno);
	result = stat("there is no such file", &s);
	expect(result == -1 && errno == ENOENT, "ENOENT", result, errno);
	result = utimensat(AT_FDCWD, "there is no such file", (struct timespec[2]){{1, 1}, {1, 1}}, 0);
	expect(result == -1 && errno == ENOENT, "utimensat ENOENT", result, errno);
	int ends[2];
	long long start = now();
	expect(pipe(ends) == 0 && fstat(ends[0], &s) == 0, "pipe", errno, 0);
	is_now("pipe", start, s.st_mtim.tv_sec * SECOND + s.st_mtim.tv_nsec);
}

static volatile int handled;

static void handle(int signal)
{
	struct stat s;
	(void)signal;
	handled += stat("/", &s) == 0;
}

/* A signal may end such a call before it is served, but no result is the file system's. */
static void signals(const char *path, int fd)
{
	long long times[3];
	read_all(path, fd, times);
	struct sigaction action = {.sa_handler = handle};
	sigaction(SIGALRM, &action, NULL);
	struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 200 || handled < 20; i++) {
		struct stat s;
		int result = i % 2 ? stat(path, &s) : fstat(fd, &s);
		if (result == -1 && errno == EINTR)
			continue;
		long long time = s.st_mtim.tv_sec * SECOND + s.st_mtim.tv_nsec;
		expect(result == 0 && time == times[MODIFICATION], "a signal", time, errno);
	}
	setitimer(ITIMER_REAL, &never, NULL);
}

int main(int count, char **arguments)
{
	const char *path = arguments[1];
	long long start = now(), times[3];
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	expect(fd >= 0, "open", errno, 0);
	read_all(path, fd, times);
	for (int which = ACCESS; which <= CHANGE; which++)
		is_now("a new file", start, times[which]);
	set_and_read(path, fd);
	errors(path);
	if (count > 2)
		signals(path, fd);
	unlink(path);
	puts(failures ? "wrong" : "right");
	return 0;
}
