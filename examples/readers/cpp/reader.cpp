// Prints the temperature now for each line that it reads.
//
//   c++ reader.cpp -I. -L. -lweather -Wl,-rpath,. -o reader
#include "weather.h"
#include <iostream>
#include <string>

int main()
{
    for (std::string line; std::getline(std::cin, line);)
        std::cout << weather_temperature() << std::endl;
}
