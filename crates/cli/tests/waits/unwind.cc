// Unwinds from within waits, at moments that differ from one time to the next.
//
// cancel:     cancels threads that wait. Each has a cleanup handler, a destructor and a handler of the
//             forced unwind, all of which have to run.
// backtrace:  sends signals to a thread that waits. Their handler has to find the function in which
//             the thread began to wait.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <cxxabi.h>
#include <execinfo.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static const long SPAN = 100000;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sem_t semaphore;
static mqd_t queue;
static int epoll, pair[2];
static std::atomic<int> cleanups, destructors, catches;

// A time that never comes. It is read once: unwinders know no functions of the kernel's vDSO, which
// a read of the clock may be in.
static timespec later()
{
	static const timespec end = [] {
		timespec time;

		clock_gettime(CLOCK_REALTIME, &time);
		time.tv_sec += SPAN;
		return time;
	}();
	return end;
}

static void count(void *)
{
	cleanups++;
}

static void unlock(void *)
{
	pthread_mutex_unlock(&mutex);
}

static void sleeps()
{
	timespec time = { SPAN, 0 };
	nanosleep(&time, nullptr);
}

static void takes_a_semaphore()
{
	timespec end = later();
	sem_timedwait(&semaphore, &end);
}

static void waits_for_a_condition()
{
	timespec end = later();

	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(unlock, nullptr);
	pthread_cond_timedwait(&condition, &mutex, &end);
	pthread_cleanup_pop(1);
}

static void polls()
{
	poll(nullptr, 0, SPAN * 1000);
}

static void polls_spec()
{
	timespec time = { SPAN, 0 };
	ppoll(nullptr, 0, &time, nullptr);
}

static void selects()
{
	timeval time = { SPAN, 0 };
	select(0, nullptr, nullptr, nullptr, &time);
}

static void polls_events()
{
	epoll_event event;
	epoll_wait(epoll, &event, 1, SPAN * 1000);
}

static void waits_for_a_signal()
{
	timespec time = { SPAN, 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigtimedwait(&set, nullptr, &time);
}

static void receives_a_message()
{
	timespec end = later();
	char buffer[8];

	mq_timedreceive(queue, buffer, sizeof(buffer), nullptr, &end);
}

static void receives()
{
	char byte;

	if (recv(pair[0], &byte, 1, 0) < 0) {
	}
}

static void (*const kinds[])() = {
	sleeps, takes_a_semaphore, waits_for_a_condition, polls, polls_spec, selects, polls_events,
	waits_for_a_signal, receives_a_message, receives,
};
static const int KINDS = sizeof(kinds) / sizeof(*kinds);

struct Guard {
	~Guard() { destructors++; }
};

static void *cancelled(void *kind)
{
	Guard guard;

	try {
		pthread_cleanup_push(count, nullptr);
		kinds[(long)kind]();
		pthread_cleanup_pop(0);
	} catch (abi::__forced_unwind &) {
		catches++;
		throw;
	}
	return nullptr;
}

// Another moment each time, from none at all to a millisecond or so.
static void passes()
{
	static unsigned state = 1;

	state = state * 1103515245 + 12345;
	for (volatile unsigned spins = state >> 13 & 0xfffff; spins; spins--)
		;
}

static int cancel(int rounds)
{
	int wrong = 0;

	for (int round = 0; round < rounds; round++)
		for (long kind = 0; kind < KINDS; kind++) {
			pthread_t thread;
			void *result;

			cleanups = destructors = catches = 0;
			pthread_create(&thread, nullptr, cancelled, (void *)kind);
			passes();
			pthread_cancel(thread);
			pthread_join(thread, &result);
			bool is_unwound = destructors == 1 && cleanups == 1 && catches == 1;
			bool is_held = pthread_mutex_trylock(&mutex) != 0;
			if (!is_held)
				pthread_mutex_unlock(&mutex);
			if (result != PTHREAD_CANCELED || !is_unwound || is_held) {
				printf("kind %ld: destructors %d, handlers %d, catches %d, held %d\n", kind,
				       destructors.load(), cleanups.load(), catches.load(), is_held);
				wrong++;
			}
		}
	return wrong;
}

static thread_local void *caller;
static std::atomic<long> handled, lost;
static std::atomic<bool> has_begun;

static void handler(int)
{
	void *frames[64];
	int length = backtrace(frames, 64), found = 0;

	for (int frame = 0; frame < length; frame++)
		found += frames[frame] == caller;
	lost += !found;
	handled++;
}

__attribute__((noinline)) static void wait_again_and_again(long kind)
{
	caller = __builtin_extract_return_addr(__builtin_return_address(0));
	has_begun = true;
	for (;;)
		kinds[kind]();
}

static void *interrupted(void *kind)
{
	wait_again_and_again((long)kind);
	// Not the last call: that would take this function's place on the stack.
	return kind;
}

static int backtraces(int signals)
{
	// The first call loads libgcc.
	void *frames[4];
	backtrace(frames, 4);
	for (long kind = 0; kind < KINDS; kind++) {
		struct sigaction action = {};
		pthread_t thread;

		action.sa_handler = handler;
		sigaction(SIGUSR1, &action, nullptr);
		has_begun = false;
		pthread_create(&thread, nullptr, interrupted, (void *)kind);
		while (!has_begun)
			;
		for (int sent = 0; sent < signals; sent++) {
			long before = handled;

			passes();
			pthread_kill(thread, SIGUSR1);
			while (handled == before)
				sched_yield();
		}
		pthread_cancel(thread);
		pthread_join(thread, nullptr);
	}
	if (lost)
		printf("%ld of %ld backtraces end too early\n", lost.load(), handled.load());
	return lost != 0;
}

int main(int, char **arguments)
{
	mq_attr attributes = {};
	timeval time = { SPAN, 0 };
	char name[40];
	sigset_t set;

	attributes.mq_maxmsg = 1;
	attributes.mq_msgsize = 8;
	snprintf(name, sizeof(name), "/vdsokit-unwind-%d", getpid());
	queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attributes);
	mq_unlink(name);
	later();
	sem_init(&semaphore, 0, 0);
	epoll = epoll_create1(0);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, nullptr);

	int rounds = atoi(arguments[2]);
	int wrong = strcmp(arguments[1], "cancel") ? backtraces(rounds) : cancel(rounds);
	if (!wrong)
		puts("right");
	return wrong != 0;
}
