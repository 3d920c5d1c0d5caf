"""Libraries are kept to one thread, and looked for when there may be new ones."""

import os
import subprocess
import sys
import time
import types
import warnings

import numpy  # noqa: F401, whose BLAS is one of them
import psutil
import pytest
from joblib import delayed, parallel_config
from threadpoolctl import ThreadpoolController, threadpool_info

from sklperturb.utils import _threads
from sklperturb.utils._calls import run_calls
from sklperturb.utils._threads import as_worker, expect_replacements, one_thread


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


def test_of_workers_only_that_one_was_replaced_is_not_told():
    stopped = "A worker stopped while some jobs were given to the executor."
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        expect_replacements()
        warnings.warn(stopped, stacklevel=1)
        warnings.warn("another", stacklevel=1)
    assert [str(w.message) for w in told] == ["another"]


WORKERS = """
import os, signal, subprocess, sys, time
from joblib import delayed, parallel_config
from sklperturb.tuning._workers import open_workers
from sklperturb.utils._calls import run_calls

SIGNAL = "import signal; print(signal.SIGINT in signal.pthread_sigmask(0, []))"

def interrupted(*_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)
    return os.getpid()

def started(*_):
    return subprocess.check_output([sys.executable, "-c", SIGNAL], text=True).strip()

if __name__ == "__main__":
    found = set(run_calls([delayed(interrupted)() for _ in range(8)], 2))
    for n_workers in 2, 3:  # more of them, beside those that are there
        with open_workers(n_workers, ()) as workers:
            calls = [workers.submit(interrupted) for _ in range(9)]
            found |= {call.result() for call in calls}
    with parallel_config("threading"):
        programs = list(run_calls([delayed(started)()], 2))
    programs += list(run_calls([delayed(started)()], 2))
    here = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    print(len(found), *programs, here)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
def test_workers_leave_an_interrupt_to_the_process_that_waits(tmp_path):
    # In a process of its own: workers that others started are used again.
    path = tmp_path / "workers.py"
    path.write_text(WORKERS)
    ended = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=120
    )
    assert not ended.returncode, ended.stderr
    n_workers, *is_blocked = ended.stdout.split()
    assert int(n_workers) >= 3
    # Not in programs that a call starts, and not here.
    assert is_blocked == ["False"] * 3


@pytest.mark.parametrize("backend", ["threading", "multiprocessing", "loky"])
def test_calls_come_back_from_any_backend_of_joblib(backend):
    calls = [delayed(divmod)(i, 3) for i in range(7)]
    with parallel_config(backend, n_jobs=2):
        found = list(run_calls(calls, ordered=True))
        assert sorted(run_calls(calls)) == sorted(found)
    assert found == [divmod(i, 3) for i in range(7)]


def test_who_was_started_by_another_process_is_left_to_it(monkeypatch):
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
    time.sleep(0.5)
    return os.getpid()

if __name__ != "__main__" and os.environ["WHEN"] == "starting":
    time.sleep(4)  # of workers: these are given calls while they start

if __name__ == "__main__":
    if sys.argv[1] == "calls":
        found = run_calls([delayed(ready)() for _ in range(2)], 2)
        print("starting", flush=True)
        list(found)
    else:
        with open_workers(2, ()) as workers:
            found = [workers.submit(ready) for _ in range(2)]
            print("starting", flush=True)
            [future.result() for future in found]
    print("idle", flush=True)
    time.sleep(60)
"""


def lives(process):
    # Where nobody asks how it ended, it is still listed.
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.skipif(sys.platform == "win32", reason="signals are of POSIX")
@pytest.mark.parametrize("when", ["starting", "idle"])
@pytest.mark.parametrize("how", ["calls", "search"])
def test_workers_end_with_the_process_that_was_killed(tmp_path, how, when):
    path = tmp_path / "orphans.py"
    path.write_text(ORPHANS)
    with subprocess.Popen(
        [sys.executable, path, how],
        stdout=subprocess.PIPE,
        env=os.environ | {"WHEN": when},
        text=True,
    ) as parent:
        while parent.stdout.readline() != f"{when}\n":
            assert parent.poll() is None
        time.sleep(1)  # calls are sent by a thread
        workers = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
        parent.wait()
        # Starting takes seconds, and they look whether it lives every other second.
        until = time.monotonic() + 60
        while any(map(lives, workers)) and time.monotonic() < until:
            time.sleep(0.2)
        left = [worker for worker in workers if lives(worker)]
    assert len(workers) >= 2
    assert not left
