"""What the program of a report does, in a headless Chromium where there is one."""

import json
import re
import shutil
import subprocess

import pytest

from sklperturb.comparison import compare
from sklperturb.report import write_html

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--dump-dom",
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"none of {', '.join(NAMES)} is installed"
)


@pytest.fixture(scope="module")
def report(screen, tmp_path_factory):
    first = screen.X["sm_name"].iloc[0]
    hostile = {first: "<img src=x onerror=alert(1)>"}
    X = screen.X.assign(sm_name=screen.X["sm_name"].replace(hostile))
    comparison = compare(
        ["ridge"],
        X,
        screen.y,
        cv=2,
        baselines=["no_change", "context_mean"],
        return_predictions=True,
    )
    return write_html(
        comparison, X, screen.y, tmp_path_factory.mktemp("report") / "report.html"
    )


@pytest.fixture
def opened(report, tmp_path):
    """Return what the page is once its program has run, opened with a state."""

    def run(state="", path=report):
        done = subprocess.run(
            [
                CHROMIUM,
                *FLAGS,
                f"--user-data-dir={tmp_path}",
                f"{path.as_uri()}{state}",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not said, said
        return done.stdout

    return run


def conditions(page):
    """Return the names and the numbers of the rows of the table of conditions."""
    table = page.partition('id="table-conditions"')[2].partition("</table>")[0]
    body = table.partition("<tbody>")[2]
    rows = re.findall(r"<tr.*?</tr>", body, re.S)
    names = [re.search(r"<bdi>(.*?)</bdi>", row)[1] for row in rows]
    numbers = [re.findall(r'<td class="n">(.*?)</td>', row) for row in rows]
    return names, [[float(n.replace("\u2212", "-")) for n in own] for own in numbers]


def test_it_draws(opened):
    page = opened()
    for label in ("Scores of 3 models", "Slopes of 3 models", "Measured and predicted"):
        assert f'role="img" aria-label="{label}' in page, label
    strength = [own[0] for own in conditions(page)[1]]
    assert strength == sorted(strength, reverse=True)
    assert "<img" not in page and "&lt;img src=x" in page


def test_it_sorts(opened):
    numbers = conditions(opened("#sort=table-conditions:mrrmse:asc"))[1]
    errors = [own[1] for own in numbers]
    assert errors == sorted(errors) and len(set(errors)) > 3
    page = opened("#sort=table-1:model:desc")
    table = page.partition('id="table-1"')[2].partition("</table>")[0]
    models = re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', table)
    assert models == ["ridge", "no_change", "context_mean"]
    assert re.search(r'data-key="model"[^>]*aria-sort="descending"', table)
    assert table.count("aria-sort") == 1


def test_it_filters_and_groups(opened):
    everything = conditions(opened())[0]
    name = everything[-1]
    page = opened(f"#q={name.upper()}")
    shown = conditions(page)[0]
    assert set(shown) == {name} and len(shown) < len(everything)
    assert f"{len(shown)} of {len(everything)} conditions." in page
    page = opened("#by=perturbation")
    assert sorted(conditions(page)[0]) == sorted(set(everything))
    assert "0 of " in opened("#q=nothing+has+this+name")


def test_it_draws_the_condition_that_is_asked_for(opened):
    page = opened("#row=3&model=no_change")
    chosen = re.findall(r'<tr class="chosen">.*?<bdi>(.*?)</bdi>', page)
    title = re.search(r'id="signature".*?<h3><bdi>(.*?)</bdi>', page, re.S)[1]
    assert chosen == [title]
    assert "predicted by no_change" in page
    page = opened("#row=99999&model=none&sort=x:y&by=toString")
    assert conditions(page)[0]


def test_scores_that_differ_by_rounding_only_are_drawn(report, opened):
    """An axis whose ticks do not differ would never be done."""
    source = report.read_text("utf-8")
    data = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', source
    )
    run = json.loads(data[1])
    for row, value in zip(
        run["leaderboard"], (0.3, 0.30000000000000004, 0.3), strict=True
    ):
        row.update(mean=value, ci_low=None, ci_high=None, ceiling=None)
    run["calibration"][0]["slope"] = 1e-200
    text = json.dumps(run).replace("<", "\\u003c")
    damaged = report.with_name("damaged.html")
    damaged.write_text(source.replace(data[1], text), "utf-8")
    page = opened(path=damaged)
    assert 'role="img" aria-label="Scores of 3 models' in page
    assert conditions(page)[0]
