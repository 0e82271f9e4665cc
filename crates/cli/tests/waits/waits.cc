// Waits for an hour in every way, and says how each ended.
#include <chrono>
#include <condition_variable>
#include <future>
#include <iostream>
#include <mutex>
#include <thread>

using namespace std::chrono;

template <typename Wait> static void check(const char *name, Wait wait)
{
	auto start = steady_clock::now();
	auto wall = system_clock::now();

	wait();
	double passed = duration<double>(steady_clock::now() - start).count();
	double shown = duration<double>(system_clock::now() - wall).count();
	double apart = shown > passed ? shown - passed : passed - shown;
	std::cout << name;
	if (passed < 3599.9 || passed > 3700 || apart > 1)
		std::cout << " " << passed << " " << shown;
	std::cout << std::endl;
}

int main()
{
	std::mutex mutex;
	std::condition_variable condition;
	std::unique_lock<std::mutex> lock(mutex);
	std::promise<int> promise;
	auto future = promise.get_future();

	check("sleep_until", [] { std::this_thread::sleep_until(system_clock::now() + hours(1)); });
	check("sleep_for", [] { std::this_thread::sleep_for(hours(1)); });
	check("condition", [&] { condition.wait_until(lock, system_clock::now() + hours(1)); });
	check("condition_for", [&] { condition.wait_for(lock, hours(1)); });
	check("future", [&] { future.wait_until(system_clock::now() + hours(1)); });
}
