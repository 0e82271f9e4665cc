// Waits in every way for the seconds given, each in a process of its own, and prints for each its
// name, the milliseconds that passed by the program's own clock, and whether it ended as it should.
// A second argument names one to leave out.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static long span;
static volatile sig_atomic_t came;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static struct timespec in(clockid_t clock, long seconds)
{
	struct timespec time;

	clock_gettime(clock, &time);
	time.tv_sec += seconds;
	return time;
}

static void handler(int signal)
{
	came = signal;
}

// Waits for a signal that may come before the wait.
static int signalled(void)
{
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, &old);
	while (!came)
		sigsuspend(&old);
	return 1;
}

static int condition_of(clockid_t clock)
{
	pthread_condattr_t attributes;
	pthread_cond_t own;
	struct timespec end;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, clock);
	pthread_cond_init(&own, &attributes);
	pthread_mutex_lock(&mutex);
	end = in(clock, span);
	return pthread_cond_timedwait(&own, &mutex, &end) == ETIMEDOUT;
}

static int condition_real(void) { return condition_of(CLOCK_REALTIME); }
static int condition_monotonic(void) { return condition_of(CLOCK_MONOTONIC); }

static int c11_condition(void)
{
	struct timespec end;
	cnd_t own;
	mtx_t lock;

	cnd_init(&own);
	mtx_init(&lock, mtx_plain);
	mtx_lock(&lock);
	timespec_get(&end, TIME_UTC);
	end.tv_sec += span;
	return cnd_timedwait(&own, &lock, &end) == thrd_timedout;
}

static int semaphore(void)
{
	struct timespec end = in(CLOCK_REALTIME, span);
	sem_t own;

	sem_init(&own, 0, 0);
	return sem_timedwait(&own, &end) == -1 && errno == ETIMEDOUT;
}

static int mutex_real(void)
{
	struct timespec end = in(CLOCK_REALTIME, span);

	pthread_mutex_lock(&mutex);
	return pthread_mutex_timedlock(&mutex, &end) == ETIMEDOUT;
}

static int queue(void)
{
	struct mq_attr attributes = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	struct timespec end;
	char name[40], buffer[8];
	mqd_t own;

	sprintf(name, "/vdsokit-%d", getpid());
	own = mq_open(name, O_CREAT | O_RDWR, 0600, &attributes);
	mq_unlink(name);
	end = in(CLOCK_REALTIME, span);
	return mq_timedreceive(own, buffer, sizeof(buffer), 0, &end) == -1 && errno == ETIMEDOUT;
}

static int sleep_until(clockid_t clock)
{
	struct timespec end = in(clock, span);

	return clock_nanosleep(clock, TIMER_ABSTIME, &end, 0) == 0;
}

static int sleep_until_real(void) { return sleep_until(CLOCK_REALTIME); }
static int sleep_until_monotonic(void) { return sleep_until(CLOCK_MONOTONIC); }
static int sleep_until_boottime(void) { return sleep_until(CLOCK_BOOTTIME); }
static int sleep_for(void) { return sleep(span) == 0; }

static int descriptor_of(clockid_t clock)
{
	struct itimerspec set = { .it_value = in(clock, span) }, left;
	int timer = timerfd_create(clock, 0);
	uint64_t count;

	timerfd_settime(timer, TFD_TIMER_ABSTIME, &set, 0);
	timerfd_gettime(timer, &left);
	return left.it_value.tv_sec >= span / 2 && left.it_value.tv_sec <= span &&
	       read(timer, &count, 8) == 8 && count == 1;
}

static int descriptor_real(void) { return descriptor_of(CLOCK_REALTIME); }
static int descriptor_monotonic(void) { return descriptor_of(CLOCK_MONOTONIC); }

static int descriptor_interval(void)
{
	struct itimerspec set = { { span / 4, 1 }, { span / 4, 1 } };
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t count, all = 0;

	if (span < 4)
		return sleep_for();
	timerfd_settime(timer, 0, &set, 0);
	while (all < 4 && read(timer, &count, 8) == 8)
		all += count;
	return all >= 4;
}

static int timer_of(int flags)
{
	struct itimerspec set = { .it_value = { span, 0 } };
	timer_t timer;

	signal(SIGALRM, handler);
	timer_create(CLOCK_REALTIME, 0, &timer);
	if (flags)
		set.it_value = in(CLOCK_REALTIME, span);
	timer_settime(timer, flags, &set, 0);
	return signalled();
}

static int timer_real(void) { return timer_of(TIMER_ABSTIME); }
static int timer_relative(void) { return timer_of(0); }
static int polls(void) { return poll(0, 0, span * 1000) == 0; }

static int polls_spec(void)
{
	struct timespec time = { span, 0 };

	return ppoll(0, 0, &time, 0) == 0;
}

static int selects(void)
{
	struct timeval time = { span, 0 };

	return select(0, 0, 0, 0, &time) == 0 && time.tv_sec == 0;
}

// More microseconds than a second has, which select(2) takes.
static int selects_microseconds(void)
{
	struct timeval time = { 0, span * 1000000 };

	return syscall(SYS_select, 0, 0, 0, 0, &time) == 0;
}

static int epolls(void)
{
	struct epoll_event event;

	return epoll_wait(epoll_create1(0), &event, 1, span * 1000) == 0;
}

static int alarms(void)
{
	signal(SIGALRM, handler);
	alarm(span);
	return signalled();
}

static int interval(void)
{
	struct itimerval set = { .it_value = { span, 0 } };

	signal(SIGALRM, handler);
	setitimer(ITIMER_REAL, &set, 0);
	return signalled();
}

static int signals(void)
{
	struct timespec time = { span, 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return sigtimedwait(&set, 0, &time) == -1 && errno == EAGAIN;
}

static int semaphores(void)
{
	struct timespec time = { span, 0 };
	struct sembuf operation = { 0, -1, 0 };
	int id = semget(IPC_PRIVATE, 1, 0600), result, error;

	result = semtimedop(id, &operation, 1, &time);
	error = errno;
	semctl(id, 0, IPC_RMID);
	return result == -1 && error == EAGAIN;
}

static int receives(void)
{
	struct timeval time = { span, 0 };
	int pair[2];
	char byte;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	return recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN;
}

// A socket that was accepted has the time-out of the one that listened.
static int receives_accepted(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval time = { span, 0 };
	socklen_t length = sizeof(address);
	char byte;

	bind(listener, (struct sockaddr *)&address, length);
	listen(listener, 1);
	getsockname(listener, (struct sockaddr *)&address, &length);
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	connect(client, (struct sockaddr *)&address, length);
	return recv(accept(listener, 0, 0), &byte, 1, 0) == -1 && errno == EAGAIN;
}

static const struct {
	const char *name;
	int (*wait)(void);
} kinds[] = {
#define KIND(kind) { #kind, kind }
	KIND(condition_real), KIND(condition_monotonic), KIND(c11_condition), KIND(semaphore),
	KIND(mutex_real), KIND(queue), KIND(sleep_until_real),
	KIND(sleep_until_monotonic), KIND(sleep_until_boottime), KIND(sleep_for),
	KIND(descriptor_real), KIND(descriptor_monotonic), KIND(descriptor_interval),
	KIND(timer_real), KIND(timer_relative), KIND(polls), KIND(polls_spec), KIND(selects),
	KIND(epolls), KIND(alarms), KIND(interval), KIND(signals), KIND(semaphores),
	KIND(receives), KIND(receives_accepted), KIND(selects_microseconds),
};

int main(int count, char **arguments)
{
	span = count > 1 ? atol(arguments[1]) : 1;
	setvbuf(stdout, 0, _IOLBF, 0);
	for (size_t kind = 0; kind < sizeof(kinds) / sizeof(*kinds); kind++) {
		if (count > 2 && !strcmp(kinds[kind].name, arguments[2]))
			continue;
		if (!fork()) {
			struct timespec start = in(CLOCK_MONOTONIC, 0), end;
			int is_right = kinds[kind].wait();

			end = in(CLOCK_MONOTONIC, 0);
			printf("%s %ld %s\n", kinds[kind].name,
			       (end.tv_sec - start.tv_sec) * 1000 +
			       (end.tv_nsec - start.tv_nsec) / 1000000,
			       is_right ? "right" : "wrong");
			exit(0);
		}
	}
	while (wait(0) > 0)
		;
	return 0;
}
