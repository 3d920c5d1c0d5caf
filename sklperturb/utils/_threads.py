"""Keep numerical libraries to one thread, and workers from complaining or staying."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import resource_tracker

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


def expect_replacements():
    """Say nothing of a worker that joblib replaces; no result is lost with it.

    A worker whose memory grows is taken for one that leaks, as it does when it loads
    torch for the first network that it is given. The filter stays, since filters are
    of the whole process: to put back those of before could undo what others do.
    """
    warnings.filterwarnings("ignore", "A worker stopped while some jobs")


@contextmanager
def deaf_workers():
    """Let processes that start in the block not hear Ctrl-C: the one that waits does.

    A terminal sends it to all of them, and those that are still importing would end in
    a traceback. They inherit what is blocked; here it comes at the end of the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
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


def as_worker(parent, function, /, *args, **kwargs):
    """Call a function in a worker, which is not to outlive the process it works for.

    One that is killed cannot tell its workers to go, and those of joblib may wait for
    it for ever, with all that they hold in memory. Whoever else calls, such as a thread
    or a machine of a cluster, is left alone.
    """
    starter = multiprocessing.parent_process()
    if starter is not None and starter.pid == parent:
        _end_with(starter)
        _hear_nothing()
    return function(*args, **kwargs)


@lru_cache(maxsize=1)
def _end_with(starter):
    direct = os.getppid() == starter.pid

    def lives():
        if sys.platform == "win32":
            return starter.is_alive()
        # It may have died before the first call; or a server of forks is in between.
        return os.getppid() == starter.pid if direct else _exists(starter.pid)

    def watch():
        while lives():
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@lru_cache(maxsize=1)
def _hear_nothing():
    """Have Ctrl-C do nothing from now on, rather than wait.

    Programs that a call starts would inherit what is blocked, but not this.
    """
    can_block = hasattr(signal, "pthread_sigmask")
    if can_block and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
