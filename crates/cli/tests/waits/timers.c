// Timers that meet waits. The first argument says which.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		exit(1);
}

static void handler(int signal)
{
	(void)signal;
}

// Signals of timers that are due before the end of a wait have to interrupt it. A signal that comes before
// the wait does not: the timers leave a program on a busy machine the time to get there.
static int interrupts(void)
{
	struct sigaction action = { .sa_handler = handler };
	struct itimerspec in = { .it_value = { 2, 0 } };
	timer_t timer;

	sigaction(SIGALRM, &action, 0);
	timer_create(CLOCK_MONOTONIC, 0, &timer);
	for (int round = 0; round < 6; round++) {
		struct timeval value = { 30, 0 };
		struct timespec spec = { 30, 0 };
		double start = now(CLOCK_MONOTONIC), passed;
		int result;

		if (round & 1)
			timer_settime(timer, 0, &in, 0);
		else
			alarm(2);
		switch (round / 2) {
		case 0: result = select(0, 0, 0, 0, &value); break;
		case 1: result = poll(0, 0, 30000); break;
		default: result = nanosleep(&spec, 0);
		}
		passed = now(CLOCK_MONOTONIC) - start;
		if (result != -1 || errno != EINTR || passed < 2 || passed > 25) {
			printf("round %d: %d after %.3f s\n", round, result, passed);
			return 1;
		}
	}
	return 0;
}

// A timer that only a duplicate, in another process, still leads to.
static int inherited(void)
{
	struct itimerspec in = { .it_value = { 3600, 0 } }, left;
	int timer = timerfd_create(CLOCK_MONOTONIC, 0), other = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t count;
	int status;

	timerfd_settime(other, 0, &in, 0);
	in.it_value.tv_sec = 7200;
	timerfd_settime(timer, 0, &in, 0);
	if (!fork()) {
		int again = dup(timer);

		if (fork())
			_exit(0);
		close(timer);
		timerfd_gettime(again, &left);
		if (left.it_value.tv_sec < 3700 || left.it_value.tv_sec > 7200)
			say("it is another timer's time that is left\n");
		say("waits\n");
		double start = now(CLOCK_MONOTONIC);
		if (read(again, &count, 8) != 8 || now(CLOCK_MONOTONIC) - start < 7000)
			say("too early\n");
		say("done\n");
		_exit(0);
	}
	close(timer);
	wait(&status);
	return 0;
}

static struct itimerspec tomorrow(void)
{
	struct itimerspec at = { .it_value = { now(CLOCK_REALTIME) + 86400, 0 } };

	return at;
}

// A timer that a step of the wall clock cancels.
static int cancelled(int polls)
{
	struct itimerspec at = tomorrow();
	int timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
	struct pollfd set = { timer, POLLIN, 0 };
	uint64_t count;

	timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, 0);
	say("waits\n");
	if (polls)
		return poll(&set, 1, -1) != 1;
	return read(timer, &count, 8) != -1 || errno != ECANCELED;
}

// Timers that are due some milliseconds after another wait has ended, at a moment at which nothing
// runs. The supervisor then stops the thread that waits for the signal, whose call must not fail by that.
static int due_after_another_wait(void)
{
	struct timespec most = { 1000, 0 };
	struct itimerspec in = { .it_value = { 10, 0 } };
	timer_t id;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, 0);
	timer_create(CLOCK_MONOTONIC, 0, &id);
	for (int round = 0; round < 60; round++) {
		double start = now(CLOCK_MONOTONIC), passed;
		pid_t child = fork();

		if (!child) {
			struct timespec time = { 10, 0 };

			nanosleep(&time, 0);
			for (;;)
				pause();
		}
		in.it_value.tv_nsec = round * 200000;
		timer_settime(id, 0, &in, 0);
		if (sigtimedwait(&set, 0, &most) != SIGALRM) {
			passed = now(CLOCK_MONOTONIC) - start;
			printf("round %d: no signal in %.3f s\n", round, passed);
			kill(child, SIGKILL);
			return 1;
		}
		kill(child, SIGKILL);
		waitpid(child, 0, 0);
	}
	return 0;
}

// A timer for a time of the wall clock. A step of that passes it.
static int passed(int posix)
{
	struct itimerspec at = tomorrow(), left;
	int timer = timerfd_create(CLOCK_REALTIME, 0), signal;
	timer_t id;
	uint64_t count;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, 0);
	if (!posix) {
		timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, 0);
		say("waits\n");
		return read(timer, &count, 8) != 8 || count != 1;
	}
	timer_create(CLOCK_REALTIME, 0, &id);
	timer_settime(id, TIMER_ABSTIME, &at, 0);
	say("waits\n");
	sigwait(&set, &signal);
	timer_gettime(id, &left);
	return left.it_value.tv_sec != 0 || now(CLOCK_REALTIME) < at.it_value.tv_sec;
}

// A number of a descriptor that is another timer's now, which is not set.
static int reused(void)
{
	struct itimerspec in = { .it_value = { 3600, 0 } }, left;
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);

	timerfd_settime(timer, 0, &in, 0);
	close(timer);
	if (timerfd_create(CLOCK_MONOTONIC, 0) != timer)
		return 1;
	timerfd_gettime(timer, &left);
	return left.it_value.tv_sec != 0;
}

// A connection that is inherited: its time-out is, too.
static int receives(void)
{
	struct timeval time = { 3600, 0 }, left;
	socklen_t length = sizeof(left);
	int pair[2], status = 0;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	for (int round = 0; round < 3; round++)
		if (!fork()) {
			int again = dup(pair[0]);
			char byte;

			getsockopt(again, SOL_SOCKET, SO_RCVTIMEO, &left, &length);
			if (left.tv_sec != 3600)
				_exit(1);
			if (!round)
				say("waits\n");
			double start = now(CLOCK_MONOTONIC);
			long result = round ? read(again, &byte, 1) : recv(again, &byte, 1, 0);
			double passed = now(CLOCK_MONOTONIC) - start;
			_exit(result != -1 || errno != EAGAIN || passed < 3599 || passed > 7200);
		}
	while (wait(&status) > 0)
		if (status)
			return 1;
	return 0;
}

int main(int count, char **arguments)
{
	int wrong = 1;

	if (count < 2)
		return 1;
	if (!strcmp(arguments[1], "interrupts"))
		wrong = interrupts();
	else if (!strcmp(arguments[1], "inherited"))
		return inherited();
	else if (!strcmp(arguments[1], "cancelled"))
		wrong = cancelled(0);
	else if (!strcmp(arguments[1], "polled"))
		wrong = cancelled(1);
	else if (!strcmp(arguments[1], "due-after-another-wait"))
		wrong = due_after_another_wait();
	else if (!strcmp(arguments[1], "passed"))
		wrong = passed(0);
	else if (!strcmp(arguments[1], "passed-posix"))
		wrong = passed(1);
	else if (!strcmp(arguments[1], "reused"))
		wrong = reused();
	else if (!strcmp(arguments[1], "receives"))
		wrong = receives();
	say(wrong ? "wrong\n" : "right\n");
	return wrong;
}
