"""For each line, the temperature now."""

import ctypes
import sys

weather = ctypes.CDLL(sys.argv[1])
weather.weather_temperature.restype = ctypes.c_double
for _ in sys.stdin:
    print(f"{weather.weather_temperature():g}", flush=True)
