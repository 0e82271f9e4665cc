"""A hundred tests, each of which waits for what takes 36 seconds: an hour of sleeping."""

import time
import unittest


class Sleepers(unittest.TestCase):
    pass


def sleeps(self):
    start = time.monotonic()
    time.sleep(36)
    self.assertGreaterEqual(time.monotonic() - start, 36)


for number in range(100):
    setattr(Sleepers, f"test_{number:02}", sleeps)

if __name__ == "__main__":
    unittest.main(verbosity=0)
