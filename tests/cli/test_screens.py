"""The command line, as a user types it."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import make_chemical_screen, write_screen

COMMAND = [sys.executable, "-m", "sklperturb"]


def run(*arguments, code=0):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    return write_screen(tmp_path_factory.mktemp("cli") / "screen", screen)


def test_models_lists_the_registry():
    done = run("models")
    assert "product_kernel" in done.stdout
    assert "mean_across_celltypes" in done.stdout


def test_simulate_then_leaderboard_then_submit(tmp_path):
    data, results = tmp_path / "data", tmp_path / "results"
    size = ["--contexts", 4, "--compounds", 20, "--genes", 30]
    run("simulate", "--output", data, *size)
    done = run("simulate", "--output", data, *size, code=2)
    assert done.stderr.startswith("error: ")
    run("simulate", "--output", data, *size, "--seed", 1, "--overwrite")

    models = ["--models", "ridge,product_kernel", "--folds", 3]
    done = run("leaderboard", "--data", data, "--output", results, *models)
    table = pd.read_csv(results / "leaderboard.csv")
    assert list(table) == [
        "rank",
        "model",
        "kind",
        "metric",
        "mean",
        "std",
        "ci_low",
        "ci_high",
        "difference",
        "difference_low",
        "difference_high",
        "relative_to_zeros",
        "fit_seconds",
        "peak_memory_mb",
    ]
    assert {"ridge", "product_kernel", "no_change"} <= set(table["model"])
    assert table["mean"].is_monotonic_increasing
    pd.testing.assert_frame_equal(
        pd.read_parquet(results / "leaderboard.parquet"), table
    )
    assert (results / "leaderboard.png").stat().st_size > 10_000
    shown = [line.split()[1] for line in done.stdout.splitlines()[1 : 1 + len(table)]]
    assert shown == table["model"].tolist()
    assert "…" not in done.stdout

    submission = tmp_path / "submission.csv"
    done = run("submit", "--data", data, "--model", "ridge", "--output", submission)
    assert "MRRMSE on the known answers" in done.stdout
    written = pd.read_csv(submission)
    sample = pd.read_csv(data / "sample_submission.csv")
    assert list(written) == list(sample)
    assert written["id"].tolist() == sample["id"].tolist()
    done = run(
        "submit", "--data", data, "--model", "ridge", "--output", submission, code=2
    )
    assert "--overwrite" in done.stderr


def test_submit_takes_a_budget_for_best(folder, tmp_path):
    submission = tmp_path / "submission.csv"
    arguments = ["submit", "--data", folder, "--output", submission, "--model"]
    done = run(*arguments, "ridge", "--budget", "fast", code=2)
    assert "--budget is for the model 'best'" in done.stderr
    done = run(*arguments, "best", "--budget", "slow", code=2)
    assert "pass one of ['fast', 'thorough']" in done.stderr
    assert not submission.exists()
    done = run(*arguments, "best", "--budget", "fast", "--jobs", "1")
    assert "MRRMSE on the known answers" in done.stdout


def test_stopped_leaderboard_goes_on(folder, tmp_path):
    arguments = [
        "leaderboard",
        "--data",
        str(folder),
        "--output",
        str(tmp_path / "out"),
        "--models",
        "transformer",
        "--folds",
        "2",
    ]
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    kept = tmp_path / "out" / "folds"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(kept.glob("*.json"))) < 5:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert before
    run(*arguments)
    after = {path: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert {path: after[path] for path in before} == before
    table = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    assert len(after) == 2 * len(table)
    assert np.isfinite(table["mean"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["leaderboard", "--data", "{none}"], "does not exist"),
        (
            ["leaderboard", "--data", "{data}", "--models", "rigde"],
            "Did you mean ridge",
        ),
        (["leaderboard", "--data", "{data}", "--metric", "mrrsme"], "mrrmse"),
        (["leaderboard", "--data", "{data}", "--cv", "kfold"], "unseen-pair"),
        (
            ["leaderboard", "--data", "{data}", "--folds", "99", "--cv", "unseen-pair"],
            "",
        ),
        (
            ["submit", "--data", "{data}", "--model", "x", "--output", "a.csv"],
            "no model",
        ),
        (
            ["submit", "--data", "{data}", "--model", "ridge", "--output", "a.txt"],
            "must end in .csv or .h5ad",
        ),
    ],
)
def test_errors_are_one_line(folder, tmp_path, arguments, message):
    names = {"none": tmp_path / "none", "data": folder}
    done = run(*(a.format(**names) for a in arguments), code=2)
    assert "error: " in done.stderr
    assert message in done.stderr


def test_real_layouts(shared_data, tmp_path):
    for name, shape in (
        ("tggates_op2_layout", (242, 294)),
        ("l1000_consensus_op2_layout", (246, 979)),
    ):
        data, output = shared_data(name), tmp_path / f"{name}.csv"
        done = run("leaderboard", "--data", data, "--models", "additive_joint")
        assert "additive_joint" in done.stdout
        run("submit", "--data", data, "--model", "additive_joint", "--output", output)
        written = pd.read_csv(output)
        assert written.shape == shape
        assert written["id"].tolist() == pd.read_csv(data / "id_map.csv")["id"].tolist()
