// Waits for some seconds in each of C++'s ways, and prints how long each lasted by both clocks.
#include <chrono>
#include <condition_variable>
#include <future>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>

using namespace std::chrono;

template <typename Wait> static void check(const char *name, Wait wait)
{
	auto start = steady_clock::now();
	auto wall = system_clock::now();

	wait();
	double passed = duration<double>(steady_clock::now() - start).count();
	double shown = duration<double>(system_clock::now() - wall).count();
	std::cout << name << " " << passed << " " << shown << std::endl;
}

int main(int, char **arguments)
{
	auto span = duration_cast<system_clock::duration>(duration<double>(std::stod(arguments[1])));
	std::mutex mutex;
	std::condition_variable condition;
	std::unique_lock<std::mutex> lock(mutex);
	std::promise<int> promise;
	auto future = promise.get_future();

	std::cout.precision(12);
	check("sleep_until", [&] { std::this_thread::sleep_until(system_clock::now() + span); });
	check("sleep_for", [&] { std::this_thread::sleep_for(span); });
	check("condition", [&] { condition.wait_until(lock, system_clock::now() + span); });
	check("condition_for", [&] { condition.wait_for(lock, span); });
	check("future", [&] { future.wait_until(system_clock::now() + span); });
	check("future_for", [&] { future.wait_for(span); });
}
