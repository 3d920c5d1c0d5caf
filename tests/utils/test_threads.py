"""Libraries are kept to one thread, and looked for when there may be new ones."""

import os
import subprocess
import sys
import time
import types

import numpy  # noqa: F401, whose BLAS is one of them
import psutil
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info

from sklperturb.utils import _threads
from sklperturb.utils._threads import as_worker, one_thread


def threads():
    return [library["num_threads"] for library in threadpool_info()]


def test_libraries_have_one_thread_meanwhile():
    before = threads()
    assert before
    for _ in range(2):
        with one_thread():
            assert set(threads()) == {1}
        assert threads() == before


def test_libraries_are_looked_for_after_imports_alone(monkeypatch):
    looks = []

    def look():
        looks.append(1)
        return ThreadpoolController()

    _threads._libraries.cache_clear()
    monkeypatch.setattr(_threads, "ThreadpoolController", look)
    for _ in range(3):
        with one_thread():
            pass
    assert len(looks) == 1
    monkeypatch.setitem(sys.modules, "one_more_module", types.ModuleType("one"))
    with one_thread():
        pass
    assert len(looks) == 2
    _threads._libraries.cache_clear()


WORKERS = """
import os, signal
from joblib import delayed
from sklperturb.tuning._workers import open_workers
from sklperturb.utils._calls import run_calls

def blocked(*_):
    return os.getpid(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])

if __name__ == "__main__":
    found = set(run_calls([delayed(blocked)() for _ in range(8)], 2))
    with open_workers(3, ()) as workers:  # another number: other processes
        found |= {workers.submit(blocked).result() for _ in range(9)}
    print(len(found), all(deaf for _, deaf in found), blocked()[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_workers_leave_an_interrupt_to_the_process_that_waits(tmp_path):
    # In a process of its own: workers that others started are used again.
    path = tmp_path / "workers.py"
    path.write_text(WORKERS)
    ended = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=120
    )
    n_workers, deaf, here = ended.stdout.split()
    assert int(n_workers) >= 2, ended.stderr
    assert (deaf, here) == ("True", "False")


def test_other_workers_are_left_to_whoever_started_them(monkeypatch):
    monkeypatch.setattr(_threads, "_end_with", lambda _: pytest.fail("it would end"))
    threads_of_the_process_itself = os.getpid()
    workers_on_other_machines = -1
    assert as_worker(threads_of_the_process_itself, max, 2, 3) == 3
    assert as_worker(workers_on_other_machines, max, 2, 3) == 3


ORPHANS = """
import os, sys, time
from joblib import delayed
from sklperturb.tuning._workers import open_workers
from sklperturb.utils._calls import run_calls

def ready(*_):
    print(os.getpid(), flush=True)
    time.sleep(0.5)
    return os.getpid()

if __name__ == "__main__":
    if sys.argv[1] == "calls":
        list(run_calls([delayed(ready)() for _ in range(2)], 2))
    else:
        with open_workers(2, ()) as workers:
            [f.result() for f in [workers.submit(ready) for _ in range(2)]]
    print("idle", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
@pytest.mark.parametrize("how", ["calls", "search"])
def test_workers_end_with_the_process_that_was_killed(tmp_path, how):
    path = tmp_path / "orphans.py"
    path.write_text(ORPHANS)
    with subprocess.Popen(
        [sys.executable, path, how], stdout=subprocess.PIPE, text=True
    ) as parent:
        lines = iter(parent.stdout.readline, "idle\n")
        workers = {int(line) for line in lines}
        parent.kill()
        # The workers hold its end of the pipe, too.
        until = time.monotonic() + 30
        while any(map(psutil.pid_exists, workers)) and time.monotonic() < until:
            time.sleep(0.2)
    assert workers
    assert not any(map(psutil.pid_exists, workers))
