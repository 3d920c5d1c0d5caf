"""Measure what a call costs in time and memory."""

import os
import threading
import time

import psutil


class ResourceMeter:
    """Time a block and watch the peak memory of this process meanwhile.

    The peak is the resident size of the whole process, sampled every 10 ms by a
    thread: what a user needs to know is whether the process fits.

    Attributes
    ----------
    seconds : float
    peak_memory_mb : float
    """

    def __enter__(self):
        self._process = psutil.Process(os.getpid())
        self._peak = self._process.memory_info().rss
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *error):
        self.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._watcher.join()
        self._sample()
        self.peak_memory_mb = self._peak / 2**20

    def _watch(self):
        while not self._stop.wait(0.01):
            self._sample()

    def _sample(self):
        self._peak = max(self._peak, self._process.memory_info().rss)
