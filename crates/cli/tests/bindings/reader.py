"""For each line of input, the weather; "reload" opens the file again first."""

import sys

from weather import Weather

weather = Weather(sys.argv[1])
for line in sys.stdin:
    if line.strip() == "reload":
        weather.reload()
    wind = weather.wind()
    print(
        int(weather.condition()),
        weather.temperature(),
        int(weather.open()),
        weather.station(),
        weather.gusts()[2],
        wind.speed,
        wind.from_,
        weather.visitors(),
        flush=True,
    )
