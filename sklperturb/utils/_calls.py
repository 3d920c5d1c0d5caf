"""Run calls where joblib says: here, in processes, or on a Dask cluster."""

import asyncio
import logging
import os
import threading
import time
import warnings
from concurrent.futures import CancelledError
from contextlib import suppress

import joblib
from joblib.parallel import get_active_backend

from sklperturb.utils._threads import as_worker, deaf_workers, expect_replacements

logger = logging.getLogger("sklperturb")
# Times that a call is submitted before it is given up; workers may die meanwhile.
SUBMISSIONS = 3
# Bytes of an array that is sent to a worker by itself.
_LARGE = 2**20
_CANCELLED = (CancelledError, asyncio.CancelledError)
# Calls of one process of a cluster run one after the other: the random numbers of torch
# and the number of threads are those of the process.
_turn = threading.Lock()


class WorkerLost(RuntimeError):
    """A call was submitted several times, and its worker died each time."""


def run_calls(calls, n_jobs=None, *, shared=(), ordered=False):
    """Run delayed calls where joblib's active backend says; yield what they return.

    On a Dask cluster, a call whose worker died is run again, and what calls share is
    sent once, and again if all workers that had it died. Joblib's own way to Dask does
    the first only, and stops at the second.

    Parameters
    ----------
    calls : iterable
        Of `joblib.delayed`.
    n_jobs : int, default=None
        As in joblib. A cluster runs as many calls as it has workers.
    shared : iterable, default=()
        Objects that are arguments of several calls.
    ordered : bool, default=False
        Whether to yield in the order of the calls, or in that in which they end.

    Returns
    -------
    results : iterator

    Raises
    ------
    WorkerLost
        If workers died of the same call again and again.
    """
    backend = get_active_backend()[0]
    if cluster_of(backend) is None:
        return _with_joblib(backend, calls, n_jobs, ordered)
    found = _OnCluster(backend, list(calls), list(shared)).run()
    return _in_order(found) if ordered else (result for _, result in found)


def _with_joblib(backend, calls, n_jobs, ordered):
    how = "generator" if ordered else "generator_unordered"
    if not backend.supports_return_generator:
        how = "list"
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as=how)
    in_threads = getattr(backend, "supports_sharedmem", False)
    if joblib.effective_n_jobs(n_jobs) == 1 or in_threads:
        return iter(parallel(calls))
    expect_replacements()
    calls = (
        joblib.delayed(as_worker)(os.getpid(), function, *args, **kwargs)
        for function, args, kwargs in calls
    )
    if how == "list":  # which waits for all of them, and has to hear Ctrl-C
        return iter(parallel(calls))
    with deaf_workers():
        return parallel(calls)


def cluster_of(backend):
    """Return the client of the cluster that a joblib backend is for, or None."""
    return getattr(backend, "client", None)


def count_workers(n_jobs):
    """Return how many calls run at a time; 0 means here, one after the other."""
    backend = get_active_backend()[0]
    client = cluster_of(backend)
    if client is not None:
        await_workers(client)
        return len(client.ncores())
    n_workers = joblib.effective_n_jobs(n_jobs)
    return 0 if n_workers == 1 else n_workers


def await_workers(client):
    """Wait for the first worker of a cluster, which may grow with what is to be done.

    Warns
    -----
    UserWarning
        If workers have threads that will not be used.
    """
    if not client.ncores():
        logger.info("Waiting for a worker of %s.", client.scheduler.address)
        client.submit(int, pure=False).result()
    if max(client.ncores().values(), default=1) > 1:
        warnings.warn(
            "Workers of the cluster have several threads, of which one is used at a "
            "time. Start a process for each core instead: dask worker --nworkers auto "
            "--nthreads 1.",
            UserWarning,
            stacklevel=4,
        )


def spread(client, things):
    """Send objects to all workers, so that the loss of one does not lose them.

    Parameters
    ----------
    client : distributed.Client
    things : list

    Returns
    -------
    futures : list of distributed.Future
        To be passed to calls in place of the objects.
    """
    for _ in range(SUBMISSIONS):
        # Workers that were to get them may be gone, and others not yet there.
        with suppress(OSError, TimeoutError, KeyError, ValueError):
            return client.scatter(list(things), broadcast=True, hash=False)
        time.sleep(1.0)
    return client.scatter(list(things), broadcast=True, hash=False)


def alone(function, *args, **kwargs):
    """Call a function on a worker, when no other call runs in its process."""
    with _turn:
        return function(*args, **kwargs)


def _in_order(found):
    early, wanted = {}, 0
    for number, result in found:
        early[number] = result
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1


class _OnCluster:
    """Calls that run on a Dask cluster.

    Parameters
    ----------
    backend : joblib.ParallelBackendBase
        That of joblib for Dask, which has the client.
    calls : list of (callable, args, kwargs)
    shared : list
    """

    def __init__(self, backend, calls, shared):
        self.backend, self.client = backend, backend.client
        self.calls = calls
        self.shared = [value for value in shared if value is not None]
        self.sent = {}  # id of an object -> its future
        self.times_sent = 0
        self.running = {}  # future -> (number of the call, times sent, times submitted)

    def run(self):
        """Yield the number of each call and what it returned, as they end."""
        from distributed import as_completed

        if not self.calls:
            return
        await_workers(self.client)
        self._send()
        ended = as_completed()
        try:
            for number in range(len(self.calls)):
                ended.add(self._submit(number, 1))
            # A call that itself runs on a worker makes room for these.
            with self.backend.retrieval_context():
                for future in ended:
                    number, sent, submitted = self.running.pop(future)
                    try:
                        result = future.result()
                    except (Exception, *_CANCELLED) as error:
                        self._check_lost(error, submitted)
                        if sent == self.times_sent:
                            self._send()
                        ended.add(self._submit(number, submitted + 1))
                        continue
                    yield number, result
        finally:
            with suppress(Exception):
                self.client.cancel(list(self.running))

    def _send(self):
        futures = spread(self.client, self.shared) if self.shared else []
        self.sent = dict(zip(map(id, self.shared), futures, strict=True))
        self.times_sent += 1

    def _submit(self, number, times):
        function, args, kwargs = self.calls[number]
        args = [self._as_sent(value) for value in args]
        kwargs = {name: self._as_sent(value) for name, value in kwargs.items()}
        future = self.client.submit(alone, function, *args, pure=False, **kwargs)
        self.running[future] = number, self.times_sent, times
        return future

    def _as_sent(self, value):
        """Return the future of what is shared or large, to be sent without the call."""
        future = self.sent.get(id(value))
        if future is None and getattr(value, "nbytes", 0) > _LARGE:
            future = self.client.scatter(value, hash=False)
        return value if future is None else future

    def _check_lost(self, error, submitted):
        """Raise an error that is the call's own, and one that says it was given up."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            raise WorkerLost(
                f"{error.allowed_failures + 1} workers of the cluster died of the same "
                "call. Is there enough memory? Their logs say more."
            ) from error
        if not isinstance(error, _CANCELLED):
            raise error
        if submitted == SUBMISSIONS or self.client.status != "running":
            raise WorkerLost(
                f"The cluster dropped the same call {submitted} times. Are the "
                "scheduler and the workers still there?"
            ) from error
