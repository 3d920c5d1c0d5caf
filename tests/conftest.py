import contextlib
import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

# Read when torch and the linear algebra libraries are first imported. Their threads
# wait for each other for most of the time on problems as small as those of the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What scanpy has compiled before it is first called takes ten seconds, in each worker,
# and the tests give it a few rows.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")


@pytest.fixture(scope="session")
def shared_data():
    """Return a function that gives a folder of real data, or skips."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("SKLPERTURB_SHARED_DATA", beside))

    def folder(name):
        if not (root / name).is_dir():
            pytest.skip(f"{name} is not in {root}; set SKLPERTURB_SHARED_DATA")
        return root / name

    return folder


@pytest.fixture
def server(monkeypatch):
    """A web server on this machine, and no proxy before it."""
    from tests.server import serving

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
def screen():
    """A small generated screen; it is shared, so copy before changing it."""
    from sklperturb.datasets import make_chemical_screen

    return make_chemical_screen(4, 20, 30, random_state=0)


@pytest.fixture(scope="session")
def cli():
    """Return a function that runs the command line in this process.

    It checks the exit code, and that the user sees no traceback.
    """
    from sklperturb.cli import app

    def run(*arguments, code=0):
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stopped,
        ):
            app([str(argument) for argument in arguments])
        done = SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())
        assert stopped.value.code == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def dask_cluster():
    """Return a Dask cluster of two worker processes of one thread.

    All tests share it, since each new worker imports the package, for seconds. Whatever
    a test changes in a worker has to be harmless after.
    """
    distributed = pytest.importorskip(
        "distributed", reason='distributed is not installed (pip "sklperturb[scale]")'
    )
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def dask_client(dask_cluster):
    """Return a client of the cluster, both workers of which are alive."""
    from distributed import Client

    with Client(dask_cluster) as client:
        client.wait_for_workers(2)
        yield client


@pytest.fixture
def pyplot():
    """Return matplotlib.pyplot without a window; its figures are closed after."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
