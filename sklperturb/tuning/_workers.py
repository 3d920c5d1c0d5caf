"""Where folds are run: here, in processes, in threads, or on a Dask cluster."""

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import joblib
from joblib.parallel import get_active_backend

from sklperturb.files._unfinished import unfinished_folder
from sklperturb.tuning._fold_task import StoredData
from sklperturb.utils._calls import alone, await_workers, cluster_of, spread
from sklperturb.utils._threads import as_worker, deaf_workers, expect_replacements

_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1"
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
}


class _Inline(Executor):
    """Run a call when it is submitted."""

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass
class Workers:
    """An executor, how many calls it runs at once, and the data as it wants them.

    Attributes
    ----------
    data : object
        What to pass as data of a call.
    renewed : callable or None
        Gives another executor, and the data for it.
    around : tuple of callable
        ``around[0](function, *args)`` is what the executor is given, if there is one.
    starting : callable
        Context in which calls are submitted, the first of which may start processes.
    """

    executor: Executor
    n_workers: int
    data: object
    renewed: Callable | None = None
    around: tuple = ()
    starting: Callable = nullcontext

    def submit(self, function, *args):
        try:
            with self.starting():
                return self.executor.submit(*self.around, function, self.data, *args)
        except Exception as error:
            # The pool broke; the caller renews it when it has seen all that was lost.
            future = Future()
            future.set_exception(error)
            return future

    def renew(self):
        """Replace an executor whose process has died."""
        if self.renewed is not None:
            self.executor, self.data = self.renewed()


@contextmanager
def open_workers(n_jobs, data):
    """Open what joblib's active backend and `n_jobs` ask for.

    Parameters
    ----------
    n_jobs : int or None
        As in joblib: None is one, or what ``joblib.parallel_config`` says.
    data : tuple
        Shared by all calls.
    """
    backend = get_active_backend()[0]
    client = cluster_of(backend)
    if client is not None:
        await_workers(client)
    n_workers = joblib.effective_n_jobs(n_jobs)
    if client is not None:
        workers = _dask(client, n_workers, data)
        try:
            yield workers
        except BaseException:
            workers.executor.shutdown(wait=False)
            raise
    elif n_workers == 1:
        yield Workers(_Inline(), 1, data)
    elif getattr(backend, "supports_sharedmem", False):
        with ThreadPoolExecutor(n_workers) as executor:
            yield Workers(executor, n_workers, data)
    else:
        with _processes(n_workers, data) as workers:
            yield workers


@contextmanager
def _processes(n_workers, data):
    from joblib.executor import get_memmapping_executor

    def executor():
        # Kept for the next search: starting Python and importing torch takes seconds.
        # Joblib's own, since loky keeps one and joblib chokes on that of others.
        with deaf_workers():  # if there are some, more are started here
            return get_memmapping_executor(n_workers, timeout=300, env=_ONE_THREAD)

    # Of our own making, so that those of processes that were killed are deleted.
    with unfinished_folder(Path(tempfile.gettempdir())) as folder:
        # On disk once, so that a large response does not travel with every call.
        path = folder / "data.joblib"
        joblib.dump(data, path)
        stored = StoredData(path)
        expect_replacements()
        workers = Workers(
            executor(),
            n_workers,
            stored,
            renewed=lambda: (executor(), stored),
            around=(as_worker, os.getpid()),
            starting=deaf_workers,
        )
        try:
            yield workers
        except BaseException:
            workers.executor.shutdown(wait=False, kill_workers=True)
            raise


def _dask(client, n_workers, data):
    def connect():
        return client.get_executor(pure=False), tuple(spread(client, data))

    executor, scattered = connect()
    return Workers(executor, n_workers, scattered, connect, (alone,))
