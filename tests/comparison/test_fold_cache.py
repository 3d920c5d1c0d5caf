"""What of the kept folds is used."""

import json
import sys

import numpy as np
import pytest

from sklperturb.baseline import NoChangeRegressor
from sklperturb.comparison import compare
from sklperturb.files._unfinished import mark

X, Y = np.zeros((6, 2)), np.arange(18.0).reshape(6, 3)


def run(cache):
    return compare(
        {"zeros": NoChangeRegressor()}, X, Y, cv=2, cache=cache, baselines=None
    )


def damage(**changed):
    return lambda kept: json.dumps(kept | changed)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda kept: "",
        lambda kept: json.dumps(kept)[:-5],
        lambda kept: "\x00" * 500,
        lambda kept: "[" * 100_000,
        lambda kept: "[]",
        damage(rows={}),
        damage(rows={"mrrmse": [0.5]}),
        damage(rows={"mrrmse": [0.5, 0.5, float("nan")]}),
        damage(rows={"mrrmse": [0.5, 0.5, "0.5"]}),
        damage(rows={"mrrmse": [0.5, 0.5, [0.5]]}),
        damage(rows=None),
        damage(seconds=None),
        damage(memory=True, seconds="1"),
    ],
)
def test_a_damaged_fold_is_fitted_again(tmp_path, damaged):
    expected = run(tmp_path).folds
    path = sorted(tmp_path.iterdir())[0]
    kept = path.read_text()
    path.write_text(damaged(json.loads(kept)))
    with pytest.warns(UserWarning, match=rf"{path.name}.*The fold is fitted again"):
        found = run(tmp_path).folds
    assert found["value"].tolist() == expected["value"].tolist()
    assert json.loads(path.read_text())["rows"] == json.loads(kept)["rows"]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks, by which it is known")
def test_what_a_killed_run_left_goes_though_nothing_is_to_be_written(tmp_path):
    run(tmp_path)
    before = sorted(tmp_path.iterdir())
    left = tmp_path / ".unfinished-x"
    left.mkdir()
    mark(left).close()  # as by a process that has ended
    run(tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_folds_of_former_formats_are_not_used(tmp_path, monkeypatch):
    from sklperturb.comparison import _fold_cache

    with monkeypatch.context() as patch:
        patch.setattr(_fold_cache, "_FORMAT", 1)
        run(tmp_path)
    before = set(tmp_path.iterdir())
    for path in before:
        kept = json.loads(path.read_text())
        path.write_text(json.dumps(kept | {"rows": {"mrrmse": [99.0] * 3}}))
    assert run(tmp_path).folds["value"].max() < 99
    assert len(set(tmp_path.iterdir()) - before) == 2
