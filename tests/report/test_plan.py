"""A plan of experiments in a report."""

import re

import numpy as np
import pandas as pd
import pytest

from sklperturb.comparison import compare
from sklperturb.datasets import make_chemical_screen
from sklperturb.files._reading import FileError
from sklperturb.linear_model import ResponseKernelRidge
from sklperturb.model_selection import suggest_experiments
from sklperturb.report import write_html
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


def test_names_stay_as_they_are_written(table, tmp_path):
    table["sm_name"], table["plate"] = ["1e5", "NA", None], [" 7", "TRUE", "1.50"]
    table.to_csv(tmp_path / "p.csv", index=False)
    shown = [row[1:] for row in read_plan(tmp_path / "p.csv")["conditions"]]
    assert shown == [["1e5", " 7"], ["NA", "TRUE"], ["", "1.50"]]


def test_numbers_that_may_be_missing_are_read(table, tmp_path):
    table["cost"] = pd.array([1, None, 3], "Int64")
    table.to_parquet(tmp_path / "p.parquet")
    assert read_plan(tmp_path / "p.parquet")["cost"] == [1.0, None, 3.0]


def test_a_page_of_a_long_and_wide_plan_is_short(table, tmp_path):
    long = pd.concat([table] * 20_000, ignore_index=True)
    more = pd.DataFrame(1, long.index, [f"c{i}" for i in range(100)])
    long = pd.concat([long, more], axis=1)
    long["expected_error"] = np.linspace(1, 0, len(long))
    long.to_parquet(tmp_path / "p.parquet")
    plan = read_plan(tmp_path / "p.parquet")
    assert len(plan["expected"]) == len(long) and plan["n_columns"] == 102
    assert len(plan["conditions"]) < 1000 and len(plan["conditions"][0]) < 30
    points = curve(plan)["points"].split()
    assert len(points) < 1000
    first, last = (float(points[end].split(",")[0]) for end in (0, -1))
    assert (first, last) == (60.0, 510.0)


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(3, 10, 6, random_state=0)


@pytest.fixture(scope="module")
def comparison(screen):
    return compare(["gene_mean"], screen.X, screen.y, cv=2, return_predictions=True)


def test_a_plan_of_the_function_is_on_the_page(screen, comparison, tmp_path):
    model = ResponseKernelRidge()
    plan = suggest_experiments(model, screen.X, screen.y, screen.X_test, 3)
    given = comparison, screen.X, screen.y
    page = write_html(*given, tmp_path / "a.html", plan=plan).read_text("utf-8")
    assert "With 3 experiments more" in page and "<polyline" in page
    assert all(name in page for name in plan["sm_name"])
    plan.to_csv(tmp_path / "p.csv", index=False)
    for path in (tmp_path / "p.csv", str(tmp_path / "p.csv")):
        other = write_html(*given, tmp_path / "b.html", plan=path, overwrite=True)
        part = other.read_text("utf-8").partition('id="plan"')[2].partition("</section")
        assert part[0] == page.partition('id="plan"')[2].partition("</section")[0]
    page = write_html(*given, tmp_path / "c.html").read_text("utf-8")
    assert "Next experiments" not in page


def test_names_of_a_plan_are_no_markup(table, screen, comparison, tmp_path):
    bad = "<script>alert(1)</script>"
    table = table.assign(reason=bad).rename(columns={"sm_name": bad})
    given = comparison, screen.X, screen.y, tmp_path / "a.html"
    page = write_html(*given, plan=table).read_text("utf-8")
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "<b>x</b>" not in page
    assert bad not in page and page.count("&lt;script&gt;alert(1)") == 4


def test_what_is_no_plan_leaves_no_page(table, screen, comparison, tmp_path):
    given = comparison, screen.X, screen.y, tmp_path / "a.html"
    with pytest.raises(ValueError, match=r"plan is no plan.*lacks \['cost'\]"):
        write_html(*given, plan=table.drop(columns="cost"))
    with pytest.raises(ValueError, match=r"'cost' is -1\.0 in row 2"):
        write_html(*given, plan=table.assign(cost=[0.0, -1.0, 2.0]))
    with pytest.raises(FileNotFoundError, match=r"p\.csv"):
        write_html(*given, plan=tmp_path / "p.csv")
    assert not list(tmp_path.iterdir())


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
        (lambda t: t.assign(cost=[True, False, True]), "'cost' holds other"),
        (lambda t: t.assign(cost=np.inf), "'cost' is inf in row 1"),
        (lambda t: t.assign(expected_error=-0.1), "'expected_error' is -0.1 in row 1"),
        (lambda t: t.iloc[:0], "no rows|no experiments"),
    ],
)
def test_what_is_no_plan_is_refused(table, tmp_path, change, said):
    path = tmp_path / "p.csv"
    change(table).to_csv(path, index=False)
    with pytest.raises(FileError, match=said) as error:
        read_plan(path)
    assert re.search("p.csv", str(error.value))
