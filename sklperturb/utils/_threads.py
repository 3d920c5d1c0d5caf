"""Keep numerical libraries to one thread, and workers from complaining or staying."""

import os
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import resource_tracker

import joblib
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from threadpoolctl import ThreadpoolController

_LOOK = 2.0  # seconds between two looks at whether the parent of a worker lives


@lru_cache(maxsize=1)
def _libraries(n_modules):
    """Return the numerical libraries of this process; to look for them takes 7 ms.

    Imports bring new ones: the number of modules says whether there were any.
    """
    return ThreadpoolController()


@contextmanager
def one_thread():
    """Leave the other cores to other fits; the result is then the same everywhere."""
    torch = sys.modules.get("torch")
    n_threads = None if torch is None else torch.get_num_threads()
    with _libraries(len(sys.modules)).limit(limits=1):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(n_threads)


@contextmanager
def quiet_workers():
    """Say nothing of a worker that joblib replaces; no result is lost with it.

    A worker whose memory grows is taken for one that leaks, as it does when it loads
    torch for the first network that it is given.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")
        yield


@contextmanager
def deaf_workers(n_jobs):
    """Let processes that start in the block not hear Ctrl-C: the one that waits does.

    A terminal sends it to all of them, and those that are still importing would end in
    a traceback. They inherit what is blocked; here it comes at the end of the block.
    """
    can_block = hasattr(signal, "pthread_sigmask")  # not on Windows
    if not can_block or joblib.effective_n_jobs(n_jobs) == 1:
        yield
        return
    # Begun first: some versions unblock the signal when they have begun one.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def as_worker(parent, function, *args, **kwargs):
    """Call a function in a worker, which is not to outlive the process it works for.

    One that is killed cannot tell its workers to go, and those of joblib may wait for
    it for ever, with all that they hold in memory. Workers on other machines, and those
    that something in between has started, are left to whoever did.
    """
    if os.getppid() == parent:
        _end_with(parent)
    return function(*args, **kwargs)


@lru_cache(maxsize=1)
def _end_with(parent):
    def watch():
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
