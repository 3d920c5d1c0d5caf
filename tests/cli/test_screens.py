"""The command line, as a user types it."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import make_chemical_screen, write_screen
from sklperturb.models._parts import PLANS, Plan
from tests.vcpi import write_vcpi

MANY_FOLDS = ["--n-splits", "99", "--cv", "unseen-pair"]
COMMAND = [sys.executable, "-m", "sklperturb"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    return write_screen(tmp_path_factory.mktemp("cli") / "screen", screen)


def test_models_lists_the_registry(cli):
    done = cli("models")
    assert "product_kernel" in done.stdout
    assert "mean_across_celltypes" in done.stdout
    line = next(t for t in done.stdout.splitlines() if t.startswith("nearest_compound"))
    assert "yes" in line
    assert "NearestCompoundRegressor" in line
    assert "chem extra, smiles" in line
    line = next(t for t in done.stdout.splitlines() if t.startswith("conv "))
    assert "yes" not in line
    assert "pipeline of an encoder" in line


def test_simulate_then_leaderboard_then_submit(cli, tmp_path):
    data, results = tmp_path / "data", tmp_path / "results"
    size = ["--n-contexts", 4, "--n-compounds", 20, "--n-genes", 30]
    cli("simulate", "--output", data, *size)
    done = cli("simulate", "--output", data, *size, code=2)
    assert done.stderr.startswith("error: ")
    cli("simulate", "--output", data, *size, "--seed", 1, "--overwrite")

    models = ["--models", "ridge,product_kernel", "--n-splits", 3]
    done = cli("leaderboard", "--data", data, "--output", results, *models)
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
        "ceiling",
        "ceiling_low",
        "ceiling_high",
        "share_of_ceiling",
        "share_low",
        "share_high",
        "unit",
        "n_units",
        "fit_seconds",
        "peak_memory_mb",
    ]
    assert {"ridge", "product_kernel", "no_change"} <= set(table["model"])
    assert table["mean"].is_monotonic_increasing
    pd.testing.assert_frame_equal(
        pd.read_parquet(results / "leaderboard.parquet"), table
    )
    folds = pd.read_parquet(results / "folds.parquet")
    assert sorted(set(folds["fold"])) == [0, 1, 2]
    assert set(folds["model"]) == set(table["model"])
    assert (results / "leaderboard.png").read_bytes().startswith(b"\x89PNG")
    shown = [line.split()[1] for line in done.stdout.splitlines()[1 : 1 + len(table)]]
    assert shown == table["model"].tolist()
    assert "…" not in done.stdout
    again = ["--plots", "svg"]
    done = cli("leaderboard", "--data", data, "--output", results, *models, *again)
    assert "leaderboard.png in" in done.stderr
    assert (results / "leaderboard.svg").exists()
    assert not (results / "leaderboard.png").exists()

    submission = tmp_path / "submission.csv"
    done = cli("submit", "--data", data, "--model", "ridge", "--output", submission)
    assert "MRRMSE on the known answers" in done.stdout
    written = pd.read_csv(submission)
    sample = pd.read_csv(data / "sample_submission.csv")
    assert list(written) == list(sample)
    assert written["id"].tolist() == sample["id"].tolist()
    done = cli(
        "submit", "--data", data, "--model", "ridge", "--output", submission, code=2
    )
    assert "--overwrite" in done.stderr


def test_submit_takes_a_budget_for_best(cli, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(PLANS, "fast", Plan(2, 1, 1))
    submission = tmp_path / "submission.csv"
    arguments = ["submit", "--data", folder, "--output", submission, "--model"]
    done = cli(*arguments, "ridge", "--budget", "fast", code=2)
    assert "--budget is for the model 'best'" in done.stderr
    done = cli(*arguments, "best", "--budget", "slow", code=2)
    assert "one of ['fast', 'thorough'], or a number of seconds" in done.stderr
    assert not submission.exists()
    done = cli(*arguments, "best", "--budget", "fast", "--jobs", "1")
    assert "Learning the weight of" in done.stderr
    assert "MRRMSE on the known answers" in done.stdout


def test_stopped_leaderboard_goes_on(cli, folder, tmp_path):
    arguments = [
        "leaderboard",
        "--data",
        str(folder),
        "--output",
        str(tmp_path / "out"),
        "--models",
        "transformer",
        "--n-splits",
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
    cli(*arguments)
    after = {path: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert {path: after[path] for path in before} == before
    table = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    assert len(after) == 2 * len(table)
    assert np.isfinite(table["mean"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["leaderboard", "--data", "{data}", "--models", "rigde"],
            "Did you mean 'ridge'",
        ),
        (
            ["leaderboard", "--data", "{data}", *MANY_FOLDS],
            "--n-splits 99",
        ),
        (
            ["submit", "--data", "{data}", "--model", "x", "--output", "a.csv"],
            "is no model",
        ),
        (
            ["submit", "--data", "{data}", "--model", "ridge", "--output", "a.txt"],
            "must end in .csv or .h5ad",
        ),
    ],
)
def test_errors_are_one_line(cli, folder, tmp_path, arguments, message):
    done = cli(*(a.format(data=folder) for a in arguments), code=2)
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr


def test_real_layouts(cli, shared_data, tmp_path):
    for name, shape in (
        ("tggates_op2_layout", (242, 294)),
        ("l1000_consensus_op2_layout", (246, 979)),
    ):
        data, output = shared_data(name), tmp_path / f"{name}.csv"
        board = ["leaderboard", "--data", data, "--n-splits", 2]
        done = cli(*board, "--models", "additive_joint")
        assert "additive_joint" in done.stdout
        cli("submit", "--data", data, "--model", "additive_joint", "--output", output)
        written = pd.read_csv(output)
        assert written.shape == shape
        assert written["id"].tolist() == pd.read_csv(data / "id_map.csv")["id"].tolist()


def test_what_is_known_of_genes_reaches_models(cli, tmp_path):
    rng = np.random.RandomState(0)
    genes = [f"G{i}" for i in range(40)]
    table = pd.DataFrame(rng.normal(size=(40, 3)), genes)
    response = table.to_numpy() @ rng.normal(size=(3, 12))
    response += 0.3 * rng.normal(size=response.shape)
    screens = {}
    for name, rows in (("screen", slice(0, 30)), ("other", slice(0, 40))):
        folder = tmp_path / name
        folder.mkdir()
        frame = pd.DataFrame(response[rows]).add_prefix("M")
        frame.insert(0, "target_gene", genes[rows])
        frame.insert(0, "cell_type", "A")
        frame.to_parquet(folder / "de_train.parquet")
        id_map = pd.DataFrame({"id": range(10), "cell_type": "A"})
        id_map.assign(target_gene=genes[30:]).to_csv(folder / "id_map.csv", index=False)
        screens[name] = folder
    table.rename_axis("gene").to_csv(tmp_path / "table.csv")
    known = ["--embedding", tmp_path / "table.csv", "--source", screens["other"]]
    data = ["--data", screens["screen"]]

    # Among the default models once there is something to tell it.
    default = ["--models", "default", "--n-splits", 2]
    done = cli("leaderboard", *data, *known, "--models", "gene_kernel", "--n-splits", 2)
    assert "told nothing of genes" not in done.stderr
    assert done.stdout.index("gene_kernel") < done.stdout.index("context_mean")
    output = tmp_path / "submission.csv"
    cli("submit", *data, *known, "--model", "gene_kernel", "--output", output)
    predicted = pd.read_csv(output, index_col="id").to_numpy()
    beyond = response[30:] - response[:30].mean(axis=0)
    rest = predicted - response[30:]
    assert np.square(rest).mean() < 0.5 * np.square(beyond).mean()
    trials = ["--n-trials", 2, "--n-splits", 2, "--output", tmp_path / "tuned"]
    cli("tune", *data, *known, "--model", "gene_kernel", *trials)

    output = tmp_path / "ridge.csv"
    done = cli("submit", *data, *known, "--model", "ridge", "--output", output, code=2)
    assert "--embedding and --source are for the models 'gene_kernel'" in done.stderr
    # And alone it is the mean of the context: that is said.
    done = cli("submit", *data, "--model", "gene_kernel", "--output", output)
    assert "told nothing of genes" in done.stderr and "--source" in done.stderr
    assert "30 perturbations in training, 10 to predict" in done.stderr + done.stdout
    assert "compound" not in done.stderr + done.stdout
    assert "no sources" not in done.stderr
    known = ["--embedding", tmp_path / "table.csv", "--output", tmp_path / "m.skpt"]
    cli("fit", *data, "--model", "gene_kernel", *known)
    asked = tmp_path / "asked.csv"
    pd.DataFrame({"cell_type": ["A"], "target_gene": "G35"}).to_csv(asked, index=False)
    done = cli(
        *("predict", tmp_path / "m.skpt", "--conditions", asked),
        *("--output", tmp_path / "predicted.csv"),
    )
    assert "not measured: G35" in done.stderr + done.stdout
    assert "does not read" not in done.stderr + done.stdout
    done = cli(
        "leaderboard",
        *data,
        "--source",
        screens["other"] / "id_map.csv",
        *default,
        code=2,
    )
    assert "error: " in done.stderr


def test_folder_of_the_vcpi_contest(cli, tmp_path):
    data, results = write_vcpi(tmp_path / "vcpi"), tmp_path / "results"
    models = ("--models", "additive", "--n-splits", 3, "--output", results)
    done = cli("leaderboard", "--data", data, *models, "--scoring", "wmse")
    assert "wmse (95 % interval)" in done.stdout
    assert "2 of other conditions" in done.stderr
    table = pd.read_csv(results / "leaderboard.csv").set_index("model")["mean"]
    assert table["gene_mean"] < table["no_change"] / 20

    arguments = ("submit", "--data", data, "--model", "gene_mean", "--output")
    done = cli(*arguments, tmp_path / "sub.h5ad", code=2)
    assert "must end in .csv or .parquet" in done.stderr
    cli(*arguments, tmp_path / "sub.parquet")
    submission = pd.read_parquet(tmp_path / "sub.parquet")
    assert submission.columns.tolist() == [
        "compound",
        "gene_id",
        "predicted_expression",
    ]
    assert len(submission) == 3 * 5
    done = cli(*arguments, data / "weights.parquet", "--overwrite", code=2)
    assert "is read by this command" in done.stderr

    done = cli("leaderboard", "--data", data, "--clip", 4, code=2)
    assert "Leave them out" in done.stderr
    (data / "weights.parquet").unlink()
    done = cli("leaderboard", "--data", data, "--scoring", "wmse", code=2)
    assert "--scoring wmse needs weights" in done.stderr


def test_tune_by_the_weighted_error(cli, tmp_path):
    data = write_vcpi(tmp_path / "vcpi")
    options = ("--data", data, "--model", "ridge", "--n-trials", 2, "--n-splits", 2)
    done = cli("tune", *options, "--scoring", "wmse", "--output", tmp_path / "out")
    assert '"scoring": "wmse"' in done.stdout
    done = cli("tune", *options, "--scoring", "wmse", "--output", tmp_path / "out")
    assert '"trials": 2' in done.stdout  # goes on, with nothing left to do


def test_a_table_with_columns_of_ones_own(cli, folder, tmp_path):
    table = pd.read_parquet(folder / "de_train.parquet")
    table = table.rename(columns={"sm_name": "Agent", "cell_type": "Line"})
    table.drop(columns=["sm_lincs_id", "SMILES"]).to_csv(
        tmp_path / "mine.csv", index=False
    )
    few = ["--models", "ridge", "--n-splits", 2]
    done = cli("leaderboard", "--data", tmp_path / "mine.csv", *few, code=2)
    assert "Call a table of signatures de_train.csv" in done.stderr
    (tmp_path / "mine.csv").rename(tmp_path / "de_train.csv")
    data = ["--data", tmp_path]
    done = cli("leaderboard", *data, *few, code=2)
    assert "Pass --perturbation to name it" in done.stderr
    mixed = table.assign(Line=table["Line"].replace(table["Line"].iloc[0], "101"))
    mixed.to_csv(tmp_path / "de_train.csv", index=False)
    done = cli("leaderboard", *data, *few, "--perturbation", "Agent", code=2)
    assert "name it as a role, such as --context 'Line'." in done.stderr
    roles = ["--perturbation", "Agent", "--context", "Line"]
    table.drop(columns=["sm_lincs_id", "SMILES"]).to_csv(
        tmp_path / "de_train.csv", index=False
    )
    done = cli("leaderboard", *data, *few, *roles)
    assert "UnseenPairKFold" in done.stderr
    assert "--perturbation Agent --context Line --model" in done.stderr
    cli("audit", *data, "--model", "ridge", "--n-splits", 2, *roles)
    model = tmp_path / "model.skpt"
    cli("fit", *data, "--model", "ridge", *roles, "--output", model)
    wanted = tmp_path / "wanted.csv"
    table[["Line", "Agent"]].head(3).to_csv(wanted, index=False)
    output = tmp_path / "predicted.csv"
    cli("predict", model, "--conditions", wanted, "--output", output)
    assert len(pd.read_csv(output)) == 3
    ids = table[["Line", "Agent"]].head(3).rename_axis("id")
    ids.to_csv(tmp_path / "id_map.csv")
    sent = tmp_path / "sent.csv"
    cli("submit", *data, "--model", "ridge", *roles, "--output", sent)
    assert len(pd.read_csv(sent)) == 3
    study = ["--n-trials", 1, "--n-splits", 2, "--output", tmp_path / "tuned"]
    assert (
        '"trials": 1' in cli("tune", *data, "--model", "ridge", *roles, *study).stdout
    )
    table[["Line", "Agent"]].tail(4).to_csv(wanted, index=False)
    plan = ["--candidates", wanted, "--skip-measured"]
    plan += ["--output", tmp_path / "plan.csv"]
    done = cli("suggest", *data, *roles, "--n", 2, *plan, code=2)
    assert "All 4 candidates are measured already" in done.stderr


def test_what_is_said_to_be_run_next_can_be(cli, folder, tmp_path):
    data = tmp_path / "my screen"
    data.mkdir()
    table = pd.read_parquet(folder / "de_train.parquet")
    table.iloc[0, -1] = np.nan
    table.to_parquet(data / "de_train.parquet")
    genes = pd.DataFrame({"gene": table["sm_name"].unique(), "x": 1.0})
    genes.to_csv(tmp_path / "of genes.csv", index=False)
    known = ["--embedding", tmp_path / "of genes.csv", "--on-nonfinite", "replace"]
    few = ["--models", "ridge,gene_kernel", "--n-splits", 2]
    done = cli("leaderboard", "--data", data, *few, *known)
    line = next(x for x in done.stderr.splitlines() if x.startswith("Next: "))
    words = shlex.split(line)[2:]
    assert "gene_kernel" not in words  # it alone takes what is known of genes
    model = tmp_path / "my model.skpt"
    words[words.index("--output") + 1] = model
    done = cli(*words)
    assert f"Next: sklperturb predict '{model}' --conditions" in done.stderr


def test_screen_without_an_id_map(cli, folder, tmp_path):
    data = shutil.copytree(folder, tmp_path / "screen")
    for path in data.iterdir():
        if path.name != "de_train.parquet":
            path.unlink()
    few = ["--models", "ridge,additive_joint", "--n-splits", 2]
    done = cli("leaderboard", "--data", data, *few, "--clip", 5)
    first = done.stdout.splitlines()[1].split()[1]
    assert f"--clip 5.0 --model {first} --output {first}.skpt" in done.stderr
    assert "UnseenPairKFold" in done.stderr
    output = tmp_path / "submission.csv"
    done = cli("submit", "--data", data, "--model", "ridge", "--output", output, code=2)
    assert "has no id_map.csv" in done.stderr and "sklperturb fit" in done.stderr
    assert not output.exists()


def test_replicates_give_a_ceiling(cli, tmp_path):
    rng = np.random.RandomState(0)
    names = [f"c{i}" for i in range(30)]
    truth = np.repeat(rng.normal(size=(30, 20)), 3, axis=0)
    table = pd.DataFrame({"cell_type": "B", "sm_name": np.repeat(names, 3)})
    table["sm_lincs_id"] = table["sm_name"]
    table["SMILES"] = np.repeat(["C" * (i + 1) for i in range(30)], 3)
    table["control"] = False
    y = pd.DataFrame(truth + rng.normal(size=truth.shape)).add_prefix("g")
    measured = tmp_path / "measured"
    measured.mkdir()
    pd.concat([table, y], axis=1).to_parquet(measured / "de_train.parquet")
    board = ["--models", "ridge", "--n-splits", 2, "--cv", "unseen-perturbation"]
    done = cli("leaderboard", "--data", measured, *board, "--output", tmp_path / "out")
    assert "of ceiling (95 %)" in done.stdout
    assert "replicates of 30 perturbations" in done.stderr
    assert "Ceiling: 1.0" in done.stderr or "Ceiling: 0.9" in done.stderr
    assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout  # nothing is cut off
    written = pd.read_csv(tmp_path / "out" / "leaderboard.csv")
    assert written["ceiling"].notna().all()
    once = tmp_path / "once"
    once.mkdir()
    rows = pd.concat([table, y], axis=1).drop_duplicates("sm_name")
    rows.to_parquet(once / "de_train.parquet")
    done = cli("leaderboard", "--data", once, *board)
    assert "of ceiling" not in done.stdout and "No ceiling" in done.stderr
