"""Prints the temperature now for each line that it reads: python3 reader.py ./libweather.so.1"""

import ctypes
import sys

weather = ctypes.CDLL(sys.argv[1])
weather.weather_temperature.restype = ctypes.c_double
for _ in sys.stdin:
    print(f"{weather.weather_temperature():g}", flush=True)
