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

static volatile sig_atomic_t noted;

static void note(int signal)
{
	(void)signal;
	noted++;
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

// A timer whose number is another one's now. Only a duplicate leads to it.
static int renumbered(void)
{
	struct itimerspec in = { .it_value = { 1000, 0 } }, later = { .it_value = { 1000000000, 0 } };
	int timer = timerfd_create(CLOCK_MONOTONIC, 0), again;
	uint64_t count;

	timerfd_settime(timer, 0, &in, 0);
	again = dup(timer);
	close(timer);
	if (timerfd_create(CLOCK_MONOTONIC, 0) != timer)
		return 1;
	timerfd_settime(timer, 0, &later, 0);
	say("waits\n");
	return read(again, &count, 8) != 8;
}

// Timers for a time of the wall clock that were set to none, or deleted, without a look at that clock.
static int disarmed(void)
{
	struct itimerspec at = tomorrow(), never = { 0 };
	int timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	struct timespec none = { 0, 0 };
	timer_t set, deleted;
	uint64_t count;
	sigset_t signals;
	char byte;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	sigprocmask(SIG_BLOCK, &signals, 0);
	timer_create(CLOCK_REALTIME, 0, &set);
	timer_create(CLOCK_REALTIME, 0, &deleted);
	timer_settime(set, TIMER_ABSTIME, &at, 0);
	timer_settime(deleted, TIMER_ABSTIME, &at, 0);
	timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, 0);
	timer_settime(set, 0, &never, 0);
	timer_delete(deleted);
	timerfd_settime(timer, 0, &never, 0);
	say("waits\n");
	if (read(0, &byte, 1) != 1 || now(CLOCK_REALTIME) < at.it_value.tv_sec)
		return 1;
	return sigtimedwait(&signals, 0, &none) != -1 || read(timer, &count, 8) != -1;
}

// An interval timer that was due when its clock stood still: it fires for what has passed, and no more.
static int stands(void)
{
	struct itimerspec at = { { 10, 0 }, { now(CLOCK_REALTIME) - 95, 0 } };
	int timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	uint64_t count = 0;

	timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, 0);
	return read(timer, &count, 8) != 8 || count != 10 || read(timer, &count, 8) != -1;
}

// An interval timer that is read once after the whole time.
static int counted(void)
{
	struct itimerspec in = { { 100, 0 }, { 100, 0 } };
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t count = 0;

	timerfd_settime(timer, 0, &in, 0);
	sleep(1050);
	return read(timer, &count, 8) != 8 || count != 10;
}

// The signal of a timer has to come to a program that makes no call.
static int spins(void)
{
	struct sigaction action = { .sa_handler = note };

	sigaction(SIGALRM, &action, 0);
	alarm(100000);
	say("waits\n");
	while (!noted)
		;
	return 0;
}

// A timer of CPU time is the kernel's.
static int cpu_time(void)
{
	struct itimerspec in = { .it_value = { 3000, 0 } };
	timer_t timer;

	timer_create(CLOCK_PROCESS_CPUTIME_ID, 0, &timer);
	timer_settime(timer, 0, &in, 0);
	sleep(100);
	timer_gettime(timer, &in);
	return in.it_value.tv_sec < 2950;
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
	else if (!strcmp(arguments[1], "renumbered"))
		wrong = renumbered();
	else if (!strcmp(arguments[1], "disarmed"))
		wrong = disarmed();
	else if (!strcmp(arguments[1], "stands"))
		wrong = stands();
	else if (!strcmp(arguments[1], "counted"))
		wrong = counted();
	else if (!strcmp(arguments[1], "spins"))
		wrong = spins();
	else if (!strcmp(arguments[1], "cpu-time"))
		wrong = cpu_time();
	say(wrong ? "wrong\n" : "right\n");
	return wrong;
}
