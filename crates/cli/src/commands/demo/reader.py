"""A reader that knows nothing of vdsokit: ctypes loads libsystem like any library.

Prints "value NAME NUMBER" and "cost WHAT NANOSECONDS" lines.
"""

import ctypes
import sys
import time


class Load(ctypes.Structure):
    _fields_ = [(name, ctypes.c_float) for name in ("one", "five", "fifteen")]


system = ctypes.CDLL(sys.argv[1])


def function(name, result):
    call = getattr(system, "system_" + name)
    call.restype = result
    return call


for name, result in [
    ("processes", ctypes.c_uint32),
    ("threads", ctypes.c_uint32),
    ("running", ctypes.c_uint32),
    ("memory_total", ctypes.c_uint64),
    ("memory_available", ctypes.c_uint64),
    ("free_pages", ctypes.c_uint64),
    ("uptime", ctypes.c_double),
    ("context_switches", ctypes.c_uint64),
    ("forks", ctypes.c_uint64),
]:
    print("value", name, function(name, result)(), sep="\t")

load = Load()
system.system_load(ctypes.byref(load))
print("value", "load.one", f"{load.one:.2f}", sep="\t")


def read_proc():
    with open("/proc/loadavg") as file:
        file.read()


def cost(what, calls, call):
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter_ns() - start) / calls)
    print("cost", "Python: " + what, f"{best:.2f}", sep="\t")


cost("system.system_threads()", 20000, function("threads", ctypes.c_uint32))
cost("open, read and close /proc/loadavg", 500, read_proc)
