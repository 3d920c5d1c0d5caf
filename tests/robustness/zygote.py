"""A process that has imported the package, and forks a child for each input.

To import torch takes seconds, and to fork milliseconds. Each line of the standard
input is a job, as JSON, and each line of the standard output what came of it.
"""

import gc
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

from benchmarks._machine import worked

# Above what the program itself takes: what an input of a few kilobytes may ask for.
MEMORY = 2 * 2**30
SECONDS = 20


def main():
    """Answer jobs until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed while importing
    _import()
    gc.freeze()  # a collection in a child would copy all of these pages
    limit = _address_space() + MEMORY
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), limit)), file=answers, flush=True)


def _import():
    """Import all that readers import, and start no thread."""
    import anndata.io
    import h5py
    import narwhals.stable.v2 as narwhals
    import optuna
    import pandas as pd
    import pyarrow.csv
    import pyarrow.pandas_compat
    import pyarrow.parquet
    import pydantic.types
    import safetensors.torch
    import sklearn.model_selection
    import sqlalchemy
    import torch
    import zarr

    import sklperturb.baseline
    import sklperturb.cli
    import sklperturb.comparison
    import sklperturb.compose
    import sklperturb.datasets
    import sklperturb.embedding
    import sklperturb.evaluation
    import sklperturb.flow
    import sklperturb.models
    import sklperturb.preprocessing
    import sklperturb.signatures
    import sklperturb.tuning

    del anndata, h5py, optuna, safetensors, sklearn, sqlalchemy, zarr, sklperturb
    torch.set_num_threads(1)
    pyarrow.set_cpu_count(1)
    # These import more, when they are first used.
    with torch.device("meta"):
        torch.nn.Linear(1, 1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    narwhals.from_native(pd.DataFrame())
    pydantic.TypeAdapter(int)


def _address_space():
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def _answer(job, limit):
    """Run a job in a child, and return how it ended."""
    start = time.perf_counter()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _work(job, limit)
    ended = _ends(child)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status) if ended else None,
        "seconds": time.perf_counter() - start,
        "peak": used.ru_maxrss * 1024,
    }


def _ends(child):
    """Return whether a child ends before it has done nothing for some seconds.

    What works without end has a limit of processor time, and what is only slow, since
    others use the processors, is let go on.
    """
    descriptor, before, used = os.pidfd_open(child), -1.0, 0.0
    try:
        while used > before:
            ended, _, _ = select.select([descriptor], [], [], SECONDS)
            if ended:
                return True
            before, used = used, worked(child)
        return False
    finally:
        os.close(descriptor)


def _work(job, limit):
    """Run a job in this process, which ends with it."""
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(job["folder"])
        os.environ.update(job["environment"])
        for number, name in enumerate(("/dev/null", job["stdout"], job["stderr"])):
            flags = os.O_RDONLY if number == 0 else os.O_CREAT | os.O_WRONLY
            os.dup2(os.open(name, flags), number)
        if "argv" in job:
            from sklperturb.cli import app

            app(job["argv"])
        else:
            code = _call(job)
    except SystemExit as stopped:
        code = stopped.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _call(job):
    """Call a Python function as a user would; its errors are told as a command's."""
    from tests.robustness import entries

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.showwarning = _show_warning
        try:
            found = getattr(entries, job["call"])(*job["arguments"])
        except (ValueError, TypeError, OSError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            if not entries.is_named(error):
                traceback.print_exc()
            return 2
    print(entries.digest(found))
    return 0


def _show_warning(message, *_, **__):
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
