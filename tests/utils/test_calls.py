"""Calls on a Dask cluster whose workers come and go."""

import os
import signal
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib import delayed

from sklperturb.utils._calls import WorkerLost, run_calls

distributed = pytest.importorskip(
    "distributed", reason='distributed is not installed (pip "sklperturb[scale]")'
)


def _sum(number, table, folder, wait=0.0):
    """Sum a table; leave a file behind that says so."""
    (folder / f"{number}-{time.monotonic_ns()}").touch()
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline and not (folder / "go").exists():
        time.sleep(0.01)
    return number, float(table.sum())


def _fail(number, folder):
    if number == 2:
        raise ValueError("Number 2 is wrong.")
    return number


def _kill_yourself(number):
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_all(client):
    for pid in client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)


def test_without_a_cluster_joblib_runs_them():
    calls = (delayed(divmod)(i, 3) for i in range(5))
    assert list(run_calls(calls, 1, ordered=True)) == [divmod(i, 3) for i in range(5)]
    calls = (delayed(divmod)(i, 3) for i in range(5))
    assert sorted(run_calls(calls, 2)) == [divmod(i, 3) for i in range(5)]


def test_results_come_in_order_and_shared_data_is_sent_once(dask_client, tmp_path):
    table = np.arange(200_000.0).reshape(-1, 20)
    sent = []
    scatter = dask_client.scatter
    dask_client.scatter = lambda *args, **kwargs: (
        sent.append(args) or scatter(*args, **kwargs)
    )
    calls = [delayed(_sum)(i, table, tmp_path) for i in range(12)]
    with joblib.parallel_config("dask", client=dask_client):
        found = list(run_calls(calls, shared=[table], ordered=True))
    assert found == [(i, table.sum()) for i in range(12)]
    [[[only]]] = sent
    assert only is table


def test_nothing_is_lost_with_all_workers_and_the_data_they_had(dask_client, tmp_path):
    """Joblib's own backend raises an error here."""
    table = np.ones((300, 40))
    calls = [delayed(_sum)(i, table, tmp_path, 60.0) for i in range(6)]
    found = []

    def run():
        with joblib.parallel_config("dask", client=dask_client):
            found.extend(run_calls(calls, shared=[table]))

    running = threading.Thread(target=run)
    running.start()
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.01)
    _kill_all(dask_client)
    (tmp_path / "go").touch()
    running.join(120)
    assert sorted(found) == [(i, 12_000.0) for i in range(6)]


def test_an_error_of_a_call_is_raised_as_it_is(dask_client, tmp_path):
    calls = [delayed(_fail)(i, tmp_path) for i in range(5)]
    with (
        joblib.parallel_config("dask", client=dask_client),
        pytest.raises(ValueError, match="Number 2 is wrong"),
    ):
        list(run_calls(calls))


def test_a_call_that_kills_its_workers_is_given_up(dask_client):
    with (
        joblib.parallel_config("dask", client=dask_client),
        pytest.raises(WorkerLost, match="workers of the cluster died of the same call"),
    ):
        list(run_calls([delayed(_kill_yourself)(0)]))


def test_what_is_no_longer_wanted_is_not_begun(dask_client, tmp_path):
    table = np.ones(3)
    calls = [delayed(_sum)(i, table, tmp_path, 0.2) for i in range(50)]
    with joblib.parallel_config("dask", client=dask_client):
        results = run_calls(calls)
        next(results)
        results.close()  # as an interrupt does
    time.sleep(1.5)
    assert len(list(tmp_path.iterdir())) < 10


def _overlap(number, folder):
    """Return whether another call was at work in the process meanwhile."""
    path = Path(folder) / f"busy-{os.getpid()}"
    busy = path.exists()
    path.touch()
    time.sleep(0.05)
    path.unlink(missing_ok=True)
    return busy


def test_one_call_at_a_time_runs_in_a_process(tmp_path):
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=4, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask", client=client),
        pytest.warns(UserWarning, match="several threads"),
    ):
        assert not any(run_calls(delayed(_overlap)(i, tmp_path) for i in range(8)))


def test_workers_may_come_later(tmp_path):
    with (
        distributed.LocalCluster(
            n_workers=0, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask", client=client),
    ):
        threading.Timer(1.0, cluster.scale, [1]).start()
        table = np.ones(5)
        calls = [delayed(_sum)(i, table, tmp_path) for i in range(3)]
        assert len(list(run_calls(calls, shared=[table]))) == 3
