// For each line of input, the weather; "reload" opens the file again first.
#include "weather.hpp"

#include <iostream>

int main(int, char **arguments) try {
    weather::Weather weather(arguments[1]);
    for (std::string line; std::getline(std::cin, line);) {
        if (line == "reload") weather.reload();
        const weather::Wind wind = weather.wind();
        std::cout << static_cast<unsigned>(weather.condition()) << ' ' << weather.temperature() << ' '
                  << weather.open() << ' ' << weather.station() << ' ' << weather.gusts()[2] << ' '
                  << wind.speed << ' ' << wind.from << ' ' << weather.visitors() << std::endl;
    }
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
