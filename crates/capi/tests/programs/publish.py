"""Publishes the weather: publish.py DECLARATION FILE. Checks what must be refused on the way."""

import errno
import sys
import time

import vdsokit


def refused(number, action):
    try:
        action()
    except vdsokit.Error as error:
        assert error.errno == number, error
        assert error.strerror, error
    else:
        raise AssertionError("nothing was refused")


declaration, path = sys.argv[1:]
refused(errno.ENOENT, lambda: vdsokit.Publisher.open("/nonexistent/libweather.so.1"))
before = time.monotonic_ns()
earliest, latest = vdsokit.bounds(time.CLOCK_MONOTONIC)
assert before <= latest and earliest <= latest and earliest <= time.monotonic_ns()
refused(errno.EINVAL, lambda: vdsokit.bounds(77))
with vdsokit.Publisher.create(declaration, path) as weather:
    refused(errno.EBUSY, lambda: vdsokit.Publisher.create(declaration, path))
    weather.scalar("temperature").set(21.5)
    weather.scalar("visitors").set(2**64 - 1)
    small = weather.scalar("small")
    small.set(-128)
    refused(errno.ERANGE, lambda: small.set(128))
    refused(errno.EINVAL, lambda: small.set(1.0))
    small.close()
    weather.scalar("open").set(True)
    weather.set("region", 'north "and" west')
    weather.assign(wind__speed=3, wind__from="north west")
    refused(errno.EINVAL, lambda: weather.assign(temperature=30, wind__speed="fast"))
    assert weather.get("region") == 'north "and" west'
    assert weather.get("temperature") == "21.5"
    weather.stale_after(60)
    weather.beat()
    print("published", flush=True)
    sys.stdin.readline()
