"""Runs tests of CPython's own, and prints which of them fail: a module, or the names of tests."""

import sys
import time
import unittest

# A test that is run without another time would set the machine's clock.
del time.clock_settime, time.clock_settime_ns


def tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests(test)
        else:
            yield test.id()


suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
count = len(list(tests(suite)))
result = unittest.TestResult()
suite.run(result)
failed = result.failures + result.errors + [(test, "") for test in result.unexpectedSuccesses]
# A subtest is one of a test.
failed = {getattr(test, "test_case", test).id() for test, _ in failed}
print(count, len(result.skipped), *sorted(failed))
