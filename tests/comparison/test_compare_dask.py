"""Comparisons on a Dask cluster: the same numbers, and none lost with a worker."""

import os
import signal
from pathlib import Path

import joblib
import pandas as pd
import pytest

from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen, write_screen
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.models import make_model


class DyingMean(GroupStatisticRegressor):
    """A model whose process is killed the first time that it is fitted."""

    def __init__(self, folder=None, *, random_state=None):
        super().__init__()
        self.folder = folder
        self.random_state = random_state

    def fit(self, X, y):
        folder = Path(self.folder)
        n_fits = len(list(folder.iterdir()))
        (folder / f"{n_fits}-{os.getpid()}").touch()
        if n_fits == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y)


class Failing(GroupStatisticRegressor):
    def fit(self, X, y):
        raise ValueError("no luck")


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 20, 30, random_state=0)


def compared(screen, models, **options):
    cv = UnseenPairKFold(3, random_state=0)
    return compare(models, screen.X, screen.y, cv=cv, **options)


def unmeasured(table):
    """Return a table without the columns of time and memory."""
    return table.drop(columns=[c for c in table if "seconds" in c or "memory" in c])


def assert_same(found, expected):
    for table in ("folds", "summary"):
        pair = (unmeasured(getattr(each, table)) for each in (found, expected))
        pd.testing.assert_frame_equal(*pair)


def test_a_cluster_gives_what_one_process_gives(dask_client, screen):
    net = make_model("token_mlp", schema=screen.schema, random_state=0)
    [epochs] = (name for name in net.get_params() if name.endswith("max_epochs"))
    net.set_params(**{epochs: 2})
    models = {"ridge": "ridge", "net": net}
    with joblib.parallel_config("dask", client=dask_client):
        found = compared(screen, models, return_predictions=True)
    expected = compared(screen, models, return_predictions=True)
    assert_same(found, expected)
    for name, predicted in expected.predictions.items():
        assert (found.predictions[name] == predicted).all()


def test_a_killed_worker_loses_no_fold(dask_client, screen, tmp_path):
    models = {"mean": GroupStatisticRegressor(), "ridge": "ridge"}
    expected = compared(screen, models)
    models["mean"] = DyingMean(str(tmp_path))
    with joblib.parallel_config("dask", client=dask_client):
        found = compared(screen, models)
    assert len(list(tmp_path.iterdir())) > 3
    assert_same(found, expected)


def test_finished_folds_are_kept_when_one_fails(dask_client, screen, tmp_path):
    models = {"ridge": "ridge", "bad": Failing()}
    with (
        joblib.parallel_config("dask", client=dask_client),
        pytest.raises(ValueError, match="no luck") as raised,
    ):
        compared(screen, models, cache=tmp_path)
    assert any("'bad' in fold" in note for note in raised.value.__notes__)
    kept = list(tmp_path.glob("*.json"))
    assert kept
    before = [path.stat().st_mtime_ns for path in kept]
    found = compared(screen, {"ridge": "ridge"}, cache=tmp_path)
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert_same(found, compared(screen, {"ridge": "ridge"}))


def test_the_command_line_computes_on_a_cluster(cli, dask_cluster, screen, tmp_path):
    data = write_screen(tmp_path / "screen", screen)
    tables, predicted = [], []
    for name, where in (
        ("here", []),
        ("there", ["--dask", dask_cluster.scheduler_address]),
    ):
        output = tmp_path / name
        of_ridge = ["--models", "ridge", "--n-splits", 3, "--output", output]
        done = cli("leaderboard", "--data", data, *of_ridge, *where)
        assert "Traceback" not in done.stderr
        tables.append(unmeasured(pd.read_csv(output / "leaderboard.csv")))
        file = tmp_path / f"{name}.csv"
        cli("submit", "--data", data, "--model", "blend", "--output", file, *where)
        predicted.append(file.read_bytes())
    pd.testing.assert_frame_equal(*tables)
    assert predicted[0] == predicted[1]
