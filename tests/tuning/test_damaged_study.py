"""Journals and notes that cannot be read: tried again, with a warning."""

import json
import os
import re

import numpy as np
import optuna
import pytest
from sklearn.linear_model import Ridge

from sklperturb.tuning import PerturbationSearchCV, _trial_store

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))


def search(storage, n_trials=4):
    space = {"alpha": optuna.distributions.FloatDistribution(0.1, 10)}
    params = {"storage": storage, "n_trials": n_trials, "refit": False, "verbose": 0}
    search = PerturbationSearchCV(Ridge(), space, cv=2, random_state=0, **params)
    return search.fit(X, Y)


@pytest.fixture(scope="module")
def expected():
    return search(None).cv_results_


def searched(path, n_trials=4):
    """Return the lines of the journal of a search by a process that has ended."""
    search(path, n_trials)
    return re.sub(rb'"created":[0-9.]+', b'"created":1.0', path.read_bytes())


def same(found, expected):
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected["mean_test_score"]
    )


@pytest.mark.parametrize(
    ("share", "damaged"),
    [
        (0.3, b"\n"),
        (0.4, b"{\n"),
        (0.5, b"\x00\xff\n"),
        (0.6, b'{"op_code": "4"}\n'),
        (0.9, b"[" * 9999 + b"\n"),
    ],
)
def test_a_damaged_line_costs_what_is_behind_it(tmp_path, expected, damaged, share):
    path = tmp_path / "study.log"
    lines = searched(path).splitlines(keepends=True)
    number = int(share * len(lines))
    lines[number] = damaged
    path.write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match=rf"Line {number + 1} of .*study\.log is dam"):
        same(search(path), expected)
    assert (tmp_path / "study.log.damaged").read_bytes() == b"".join(lines)
    same(search(path), expected)  # and now without a warning


def test_a_last_line_without_its_end_is_cut_off(tmp_path, expected):
    path = tmp_path / "study.log"
    path.write_bytes(searched(path, n_trials=2)[:-4])
    same(search(path), expected)
    assert os.listdir(tmp_path) == ["study.log"]


def test_what_is_no_journal_is_refused_with_its_name(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(ValueError, match=r"notes\.txt is no Optuna journal"):
        search(path)
    path.write_text(json.dumps({"op_code": 8, "worker_id": "a"}) + "\n")
    with pytest.raises(ValueError, match=r"notes\.txt cannot be read as an Optuna"):
        search(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a pipe"):
        search(tmp_path / "pipe")
    assert path.read_text().startswith('{"op_code"')


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (_trial_store.FOLD + "0", "text"),
        (_trial_store.FOLD + "1", {"scores": {"score": "0.5"}}),
        (_trial_store.FOLD + "0", {"scores": {"score": float("nan")}}),
        (_trial_store.POSITION, "first"),
        (_trial_store.POSITION, -1),
        (_trial_store.RUN, 7),
        (_trial_store.ATTEMPT, None),
    ],
)
def test_notes_that_cannot_be_read(tmp_path, expected, key, value):
    path = tmp_path / "study.log"
    lines, n_changed = searched(path).decode().splitlines(), 0
    for number, line in enumerate(lines):
        record = json.loads(line)
        if key in record.get("user_attr", record.get("user_attrs", {})):
            record.get("user_attr", record.get("user_attrs"))[key] = value
            lines[number], n_changed = json.dumps(record), n_changed + 1
            break
    assert n_changed == 1
    path.write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match="trial 0 cannot be read"):
        same(search(path), expected)


@pytest.mark.parametrize(
    "value", [7, {}, {"alive": True}, {"alive": True, "machine": 1}]
)
def test_a_heartbeat_that_cannot_be_read_is_of_the_dead(value):
    assert not _trial_store._is_alive(value)
