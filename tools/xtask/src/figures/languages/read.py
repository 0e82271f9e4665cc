# Nanoseconds of one read.
import sys
import time
from gauge import Gauge

level = Gauge(sys.argv[1]).level
count = int(sys.argv[2])
start = time.perf_counter_ns()
for _ in range(count):
    level()
print((time.perf_counter_ns() - start) / count)
