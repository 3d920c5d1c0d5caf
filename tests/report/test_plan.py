"""A plan of experiments in a report."""

import re

import numpy as np
import pandas as pd
import pytest

from sklperturb.files._reading import FileError
from sklperturb.report._plan import PLAN, curve, read_plan
from sklperturb.report._run import Source


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "cell_type": ["A549", "A549", "U2OS"],
            "sm_name": ["<b>x</b>", "001", "z"],
            "gain": [0.2, 0.1, 0.05],
            "expected_error": [0.8, 0.7, 0.65],
            "expected_error_unmeasured": [0.9, 0.8, np.nan],
            "cost": [1.0, 2.0, 3.0],
            "reason": ["tells of 3 compounds", "of 2", "of 1"],
        }
    )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_suggest_has_written_is_read(table, tmp_path, suffix):
    path = tmp_path / f"suggestions{suffix}"
    (table.to_csv if suffix == ".csv" else table.to_parquet)(path, index=False)
    plan = read_plan(path)
    assert PLAN.read(plan, "plan", Source()) == plan
    assert plan["columns"] == ["cell_type", "sm_name"]
    assert plan["conditions"][0] == ["A549", "<b>x</b>"]
    assert plan["before"] == pytest.approx(1.0)
    assert plan["expected"] == [0.8, 0.7, 0.65]
    assert plan["rest"] == [0.9, 0.8, None]
    assert plan["reason"][1] == "of 2"


def test_the_curve_falls_from_the_error_before(table, tmp_path):
    table.to_csv(tmp_path / "p.csv", index=False)
    drawn = curve(read_plan(tmp_path / "p.csv"))
    points = np.array([p.split(",") for p in drawn["points"].split()], dtype=float)
    assert len(points) == 4 and (np.diff(points[:, 0]) > 0).all()
    # Down the page is towards less error, in proportion.
    steps = np.diff(points[:, 1])
    np.testing.assert_allclose(steps / steps.sum(), np.array([4, 2, 1]) / 7, atol=0.01)
    assert [text for _, text in drawn["along"]] == ["0", "1", "2", "3"]
    assert [text for _, text in drawn["up"]][:: len(drawn["up"]) - 1] == [
        "0.650",
        "1.000",
    ]


def test_a_plan_without_a_model_has_no_curve(table, tmp_path):
    errors = ["gain", "expected_error", "expected_error_unmeasured"]
    table[errors] = np.nan
    table.to_csv(tmp_path / "p.csv", index=False)
    plan = read_plan(tmp_path / "p.csv")
    assert plan["before"] is None and curve(plan) is None


def test_one_experiment_has_a_curve(table, tmp_path):
    table.iloc[:1].to_csv(tmp_path / "p.csv", index=False)
    assert len(curve(read_plan(tmp_path / "p.csv"))["points"].split()) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="reason"), r"lacks \['reason'\].*suggest --output"),
        (lambda t: t.assign(expected_error="low"), "'expected_error' holds other"),
        (lambda t: t.iloc[:0], "no rows|no experiments"),
    ],
)
def test_what_is_no_plan_is_refused(table, tmp_path, change, said):
    path = tmp_path / "p.csv"
    change(table).to_csv(path, index=False)
    with pytest.raises(FileError, match=said) as error:
        read_plan(path)
    assert re.search("p.csv", str(error.value))
