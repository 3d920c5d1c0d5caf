"""The tune command, and submit with what it found."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from sklperturb.datasets import make_chemical_screen, write_screen

COMMAND = [sys.executable, "-m", "sklperturb"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    return write_screen(tmp_path_factory.mktemp("tuning") / "screen", screen)


def test_tune_is_killed_goes_on_and_submit_uses_it(cli, folder, tmp_path):
    output = tmp_path / "tuned"
    tune = ["tune", "--data", folder, "--model", "ridge", "--n-splits", 2]
    tune += ["--n-trials", 6, "--output", output]
    process = subprocess.Popen(
        [*COMMAND, *map(str, tune)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    log = output / "study.log"
    while not log.exists() or "fold:1" not in log.read_text():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    done = cli(*tune)
    assert "6 of 6 trials" in done.stdout
    best = json.loads((output / "best.json").read_text())
    assert best["model"] == "ridge"
    assert best["trials"] == 6
    table = pd.read_csv(output / "trials.csv")
    assert len(table) == 6
    assert -table["mean_test_score"].max() == pytest.approx(best["score"])
    for plot in ("history", "slices"):
        assert (output / f"{plot}.png").stat().st_size > 5_000
    cli(*tune, "--plots", "svg")
    drawn = (output / "history.svg").read_text()
    assert "MRRMSE (lower is better)" in drawn
    # Of plots in another format, none is left beside the tables.
    assert not list(output.glob("*.png"))

    params = ["--params", output / "best.json"]
    submit = ["submit", "--data", folder, "--output"]
    cli(*submit, tmp_path / "default.csv", "--model", "ridge")
    done = cli(*submit, tmp_path / "tuned.csv", "--model", "ridge", *params)
    assert str(best["params"]) in done.stderr
    default, tuned = (
        pd.read_csv(tmp_path / f"{name}.csv").iloc[:, 1:].to_numpy()
        for name in ("default", "tuned")
    )
    assert (default != tuned).any() == (table["mean_test_score"].idxmax() != 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": "ridge", "params": {}},
            "has the parameters of 'ridge', not of 'additive'",
        ),
        ({}, 'has no "params"'),
        ({"params": {"effects": 3}}, "best.json cannot be read as parameters"),
        ({"params": {"effects": float("nan")}}, "'effects' is nan"),
    ],
)
def test_submit_refuses_what_tune_did_not_write(
    cli, folder, tmp_path, content, message
):
    path, output = tmp_path / "best.json", tmp_path / "x.csv"
    path.write_text(json.dumps(content))
    submit = ["submit", "--data", folder, "--model", "additive", "--output", output]
    done = cli(*submit, "--params", path, code=2)
    assert message in done.stderr
    assert not output.exists()


def test_no_plot_of_an_earlier_search_is_left(cli, folder, tmp_path):
    """Two trials are too few for one of importance."""
    old = [tmp_path / name for name in ("importance.png", "importance.svg")]
    for path in old:
        path.write_text("of an earlier search")
    (tmp_path / "mine.png").write_text("")
    tune = ["tune", "--data", folder, "--model", "ridge", "--n-splits", 2]
    done = cli(*tune, "--n-trials", 2, "--output", tmp_path)
    assert "importance.png, importance.svg in" in done.stderr
    assert not any(path.exists() for path in old)
    assert (tmp_path / "mine.png").exists() and (tmp_path / "slices.png").exists()


def test_tune_refuses_to_forget_and_what_has_nothing_to_tune(cli, folder, tmp_path):
    tune = ["tune", "--data", folder, "--model"]
    done = cli(*tune, "ridge", code=2)
    assert "pass --output, --storage or both" in done.stderr
    done = cli(*tune, "no_change", "--output", tmp_path / "none", code=2)
    assert "nothing to tune" in done.stderr
