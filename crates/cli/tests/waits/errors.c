// Calls that the kernel refuses, and what they leave behind. It prints each result.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static void is(const char *name, long result)
{
	printf("%s %ld %s\n", name, result, result < 0 ? strerrorname_np(errno) : "");
}

static void sleeps(void)
{
	struct timespec time = { 0, 1 };

	for (int clock = 0; clock < 14; clock++)
		// 2 and 3 are CPU-time clocks; 8 and 9 need a clock that wakes the machine.
		if (clock < 2 || (clock > 3 && clock < 8) || clock > 9)
			for (int flags = 0; flags < 2; flags++)
				is("clock_nanosleep", syscall(SYS_clock_nanosleep, clock, flags, &time, 0));
}

static void futexes(void)
{
	static uint32_t word = 5;
	struct { uint64_t value, address; uint32_t flags, reserved; } one = { 5, (uintptr_t)&word, 2, 0 };
	struct timespec time = { 0, 1 };

	for (int clock = -1; clock < 14; clock++)
		is("futex_waitv", syscall(SYS_futex_waitv, &one, 1, 0, &time, clock));
}

static void polls(void)
{
	struct timespec time = { 5, 0 };
	uint64_t signals = 0;

	is("ppoll", syscall(SYS_ppoll, 0, 0, &time, &signals, 4));
	printf("%ld %ld\n", (long)time.tv_sec, time.tv_nsec);
	is("ppoll", syscall(SYS_ppoll, 0, 0, &time, 8, 8));
	printf("%ld %ld\n", (long)time.tv_sec, time.tv_nsec);
}

static void receives(void)
{
	struct timespec time = { 5, 0 }, *fixed;
	char byte;
	struct iovec vector = { &byte, 1 };
	struct mmsghdr message = { .msg_hdr = { .msg_iov = &vector, .msg_iovlen = 1 } };
	int pair[2];

	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	is("recvmmsg", recvmmsg(pair[0], &message, 1, MSG_DONTWAIT, &time));
	is("recvmmsg", recvmmsg(-1, &message, 1, 0, &time));
	printf("%ld %ld\n", (long)time.tv_sec, time.tv_nsec);
	send(pair[1], "x", 1, 0);
	fixed = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*fixed = time;
	mprotect(fixed, 4096, PROT_READ);
	is("recvmmsg", recvmmsg(pair[0], &message, 1, 0, fixed));
}

static void timers(void)
{
	struct itimerval interval = { .it_value = { 1000, 0 } };
	struct itimerspec set = { .it_value = { 1000, 0 } };
	int timer = timerfd_create(CLOCK_REALTIME, 0);
	uint64_t count = 0;

	for (int flag = 4; flag; flag <<= 1)
		is("timerfd_settime", timerfd_settime(timer, flag, &set, 0));
	// It was due ten times.
	clock_gettime(CLOCK_REALTIME, &set.it_value);
	set.it_value.tv_sec -= 9500;
	set.it_interval.tv_sec = 1000;
	is("timerfd_settime", timerfd_settime(timer, TFD_TIMER_ABSTIME, &set, 0));
	is("read", read(timer, &count, 8));
	printf("%ld\n", (long)count);
	setitimer(ITIMER_REAL, &interval, 0);
	is("setitimer", syscall(SYS_setitimer, ITIMER_REAL, 0, 0));
	getitimer(ITIMER_REAL, &interval);
	printf("%ld\n", (long)interval.it_value.tv_sec);
}

static void timeouts(void)
{
	struct timeval time = { 7, 0 };
	socklen_t length = sizeof(time);
	int pair[2];
	char byte;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	is("setsockopt", setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, -1));
	is("setsockopt", setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	time = (struct timeval){ 0, 1000000 };
	is("setsockopt", setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	time = (struct timeval){ -1, 0 };
	is("setsockopt", setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	is("getsockopt", getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, &length));
	printf("%ld %ld\n", (long)time.tv_sec, (long)time.tv_usec);
	is("recv", recv(pair[0], &byte, 1, 0));
}

int main(void)
{
	sleeps();
	futexes();
	polls();
	receives();
	timers();
	timeouts();
	return 0;
}
