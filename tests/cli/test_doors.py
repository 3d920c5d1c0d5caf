"""What is checked before any work, and text from files that only looks like text."""

import os
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from sklperturb.cli import _choices
from sklperturb.datasets import load_op2, make_chemical_screen, write_screen
from sklperturb.models import _registry
from sklperturb.models._entry import ModelEntry

HOSTILE = "evil [/b] :x: $x_{ \x1b[31m\u202e"
SHOWN = r"evil [/b] :x: $x_{ \x1b[31m\u202e"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(4, 20, 10, random_state=0)
    return write_screen(tmp_path_factory.mktemp("doors") / "screen", screen)


@pytest.fixture
def unread(monkeypatch):
    """Fail if any data are read."""

    def load(*args, **kwargs):
        raise AssertionError("the data were read first")

    monkeypatch.setattr("sklperturb.datasets.load_op2", load)
    monkeypatch.setattr("sklperturb.datasets.load_perturbseq", load)


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A folder that nobody may write to, not even a user who may do everything."""
    made, access = tmp_path / "read_only", os.access
    made.mkdir()

    def without(path, mode):
        return not (mode & os.W_OK and Path(path) == made) and access(path, mode)

    monkeypatch.setattr("os.access", without)
    return made


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit", "--model", "ridge", "--output", "{tmp}/a.txt"], "must end in .csv"),
        (["submit", "--model", "ridge", "--output", "{tmp}/no/a.csv"], "make it first"),
        (
            ["submit", "--model", "ridge", "--output", "{tmp}/old.csv"],
            "Pass --overwrite",
        ),
        (["submit", "--model", "rigde", "--output", "{tmp}/a.csv"], "mean 'ridge'"),
        (
            ["submit", "--model", "ridge", "--output", "{tmp}/a.csv"]
            + ["--params", "{tmp}/old.csv"],
            "old.csv",
        ),
        (
            [
                "submit",
                "--model",
                "ridge",
                "--overwrite",
                "--output",
                "{data}/id_map.csv",
            ],
            "is read by this command",
        ),
        (["leaderboard", "--models", "ridge,additive,ridge"], "repeats ['ridge']"),
        (["leaderboard", "--models", " ,"], "names no model"),
        (["leaderboard", "--output", "{tmp}/old.csv/x"], "old.csv is a file"),
        (["leaderboard", "--output", "{tmp}/blocked"], "leaderboard.csv is a folder"),
        (["tune", "--model", "ridge"], "pass --output, --storage or both"),
        (["tune", "--model", "ridge", "--output", "{tmp}/old.csv/x"], "is a file"),
        (
            ["tune", "--model", "ridge", "--storage", "{tmp}/no/study.log"],
            "no does not exist",
        ),
        (
            ["tune", "--model", "ridge", "--storage", "{tmp}/old.csv"],
            "no Optuna journal",
        ),
        (
            ["tune", "--model", "ridge", "--storage", "nodb://me:secret@host/x"],
            "nodb://me:***@host/x cannot be opened: no driver for 'nodb'",
        ),
        (["tune", "--model", "ridge", "--storage", "://x"], "is no URL of a database"),
        (
            ["tune", "--model", "ridge", "--storage", "sqlite:///{tmp}/no/x.db"],
            "cannot be opened",
        ),
    ],
)
def test_what_cannot_end_well_is_not_begun(
    cli, unread, folder, tmp_path, arguments, told
):
    (tmp_path / "old.csv").write_text("id\n")
    (tmp_path / "blocked" / "leaderboard.csv").mkdir(parents=True)
    command, *options = (a.format(tmp=tmp_path, data=folder) for a in arguments)
    done = cli(command, "--data", folder, *options, code=2)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert told in line
    assert "secret" not in done.stderr


def test_permission_is_checked_first(cli, unread, folder, read_only):
    for command in (
        ["submit", "--model", "ridge", "--output", read_only / "a.csv"],
        ["leaderboard", "--output", read_only / "r"],
        ["tune", "--model", "ridge", "--output", read_only / "t"],
    ):
        done = cli(*command, "--data", folder, code=2)
        assert f"You may not write to the folder {read_only}" in done.stderr
    done = cli("simulate", "--output", read_only / "s", code=2)
    assert "You may not write" in done.stderr


def test_packages_are_asked_for_first(cli, unread, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    tune = ["tune", "--data", folder, "--model", "ridge", "--output", tmp_path / "t"]
    done = cli(*tune, "--dask", "tcp://localhost:1", code=2)
    assert 'pip install "sklperturb[scale]"' in done.stderr
    needs = ModelEntry("needs", "linear", "", "x:Y", requires="nowhere", extra="chem")
    monkeypatch.setitem(_registry._BY_NAME, "needs", needs)
    for command in (
        ["submit", "--model", "needs", "--output", tmp_path / "a.csv"],
        ["tune", "--model", "needs", "--output", tmp_path / "t"],
        ["leaderboard", "--models", "ridge,needs"],
    ):
        done = cli(*command, "--data", folder, code=2)
        assert 'nowhere, which is not installed; run: pip install "skl' in done.stderr


def test_a_command_does_not_replace_what_it_reads(cli, tmp_path):
    cells = tmp_path / "cells.h5ad"
    cells.write_bytes(b"x")
    weights = ["--checkpoint", tmp_path]
    done = cli("embed", cells, *weights, "--output", cells, "--overwrite", code=2)
    assert "choose another --output" in done.stderr
    link = tmp_path / "de_train.h5ad"
    link.symlink_to(cells)
    done = cli("signatures", cells, "--output", tmp_path, "--overwrite", code=2)
    assert "de_train.h5ad is read by this command" in done.stderr
    assert cells.read_bytes() == b"x"


@pytest.mark.parametrize("command", ["audit", "suggest", "submit"])
@pytest.mark.parametrize(
    "name", ["de_train.csv", "sample_submission.csv", "test_compounds.csv", "known.csv"]
)
def test_nothing_is_written_over_a_screen(cli, tmp_path, command, name):
    for file in ("de_train.csv", name):
        (tmp_path / file).write_text("here\n")
    asked = [command, "--data", tmp_path, "--model", "gene_kernel"]
    asked += ["--n", 1] if command == "suggest" else []
    asked += ["--source", tmp_path / "known.csv"] if name == "known.csv" else []
    done = cli(*asked, "--output", tmp_path / name, "--overwrite", code=2)
    assert f"{name} is read by this command" in done.stderr
    assert (tmp_path / name).read_text() == "here\n"


def test_files_are_looked_for_first(cli, unread, tmp_path):
    (tmp_path / "cells.h5ad").write_bytes(b"x")
    fit = ["fit-cells", tmp_path / "cells.h5ad", "--output", tmp_path / "m.skpt"]
    done = cli(*fit, "--embedding", tmp_path / "none.gmt", code=2)
    assert "'--embedding': " in done.stderr
    assert f"{tmp_path / 'none.gmt'}' does not exist" in done.stderr
    predict = ["predict-cells", tmp_path / "cells.h5ad", "--output"]
    predict.append(tmp_path / "p.h5ad")
    done = cli(*predict, "--perturbations", tmp_path, code=2)
    assert f"{tmp_path} is a folder" in done.stderr
    done = cli("predict-cells", tmp_path / "m.skpt", *predict[2:], code=2)
    assert "Missing option '--perturbations'" in done.stderr


def test_models_of_cells_are_refused_on_signatures(cli, folder, tmp_path):
    board = ["leaderboard", "--data", folder, "--models"]
    for name in ("flow", "mean_shift", "bilinear"):
        done = cli(*board, f"ridge,{name}", code=2)
        assert f"The model '{name}' learns from cells" in done.stderr
    submit = ["submit", "--data", folder, "--output", tmp_path / "x.csv"]
    done = cli(*submit, "--model", "flow", code=2)
    assert "sklperturb fit-cells" in done.stderr


def test_sets_go_without_models_that_cannot_run(folder, caplog):
    schema = load_op2(folder).schema
    assert schema.control is not None  # marks reference compounds
    caplog.set_level("INFO", logger="sklperturb")
    found = _choices.fitting("all", schema)
    assert "ridge" in found and not {"flow", "mean_shift"} & set(found)
    assert "Left out flow: it needs a control column." in caplog.messages


def test_fewer_folds_than_asked_for_are_told(cli, folder):
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits"]
    assert "warning: --n-splits 500 becomes 4" in cli(*board, 500).stderr
    assert "becomes" not in cli(*board, 3).stderr


def test_compounds_without_smiles_are_told(cli, folder, tmp_path):
    pytest.importorskip("rdkit")
    screen = load_op2(folder)
    lacking = screen.X["sm_name"].isin(sorted(set(screen.X["sm_name"]))[:8])
    screen.X.loc[lacking, "SMILES"] = None
    data = write_screen(tmp_path / "data", screen)
    board = ["leaderboard", "--data", data, "--models", "ridge", "--cv"]
    done = cli(*board, "unseen-scaffold", "--n-splits", 2)
    assert "warning: 8 of 20 compounds (40%) have no SMILES." in done.stderr


def test_what_a_former_run_left_is_replaced_aloud(cli, folder, tmp_path):
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits", 2]
    board += ["--output", tmp_path]
    assert "replaced" not in cli(*board).stderr
    told = "leaderboard.csv, leaderboard.parquet, folds.parquet, run.json, "
    told += "leaderboard.png in"
    assert f"{told} {tmp_path} will be replaced" in cli(*board).stderr


def test_missing_plots_are_told_at_the_beginning(cli, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sklperturb.cli._tables.find_spec", lambda name: None)
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits", 2]
    lines = cli(*board, "--output", tmp_path).stderr.splitlines()
    assert lines[0] == 'No plots will be drawn; run: pip install "sklperturb[plot]"'
    assert not (tmp_path / "leaderboard.png").exists()


def test_a_gap_in_the_table_is_a_dash_and_explained(cli, folder, monkeypatch):
    from sklperturb import comparison

    def gaps(found):
        table = comparison._leaderboard.leaderboard(found)
        table.loc[:, ["ci_low", "ci_high"]] = np.nan
        failing = table["model"] == "ridge"
        table.loc[failing, ["mean", "difference", "relative_to_zeros"]] = np.nan
        return table

    monkeypatch.setattr(comparison, "leaderboard", gaps)
    board = ["leaderboard", "--data", folder, "--models", "ridge", "--n-splits", 2]
    done = cli(*board)
    assert "nan" not in done.stdout
    row = next(t for t in done.stdout.splitlines() if " ridge " in t)
    assert row.split()[3] == "-"
    assert "No score: ridge failed" in done.stderr
    assert "No intervals:" in done.stderr


def test_hostile_names_are_shown_as_they_are(cli, tmp_path):
    obs = pd.DataFrame(
        {"target_gene": np.repeat(["non-targeting", HOSTILE], 40)},
        index=[f"c{i}" for i in range(80)],
    )
    counts = np.random.default_rng(0).poisson(2.0, (80, 5)).astype("float32")
    path = tmp_path / "cells.h5ad"
    ad.AnnData(counts, obs=obs).write_h5ad(path)
    done = cli("describe", path, "--list-perturbations")
    assert f"40 {SHOWN}" in done.stdout
    done = cli("describe", path, "--context", HOSTILE, code=2)
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr
    assert "evil [/b] :x:" in done.stderr


def test_hostile_compounds_get_through_a_leaderboard(cli, folder, tmp_path):
    screen = load_op2(folder)
    named = screen.X["sm_name"] == screen.X["sm_name"].iloc[0]
    screen.X.loc[named, "sm_name"] = HOSTILE
    data = write_screen(tmp_path / "data [/b]", screen)
    output = tmp_path / "results [/b] :x:"
    done = cli("leaderboard", "--data", data, "--models", "ridge", "--output", output)
    assert f"{output / 'leaderboard.csv'}\n" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (200, 1)])
def test_models_can_be_read_at_any_width(monkeypatch, width, lines):
    from sklperturb.cli import _models
    from sklperturb.cli._app import Screen

    screen = Screen(width=max(width, 130), force_terminal=True, color_system=None)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(_models, "out", screen)
    with screen.capture() as shown:
        _models.models()
    rows = shown.get().splitlines()
    assert max(len(row.rstrip()) for row in rows) <= width
    at = next(i for i, row in enumerate(rows) if row.startswith("additive_combination"))
    after = next(i for i, row in enumerate(rows) if row.startswith("nearest_compound"))
    assert after - at <= lines + 1


@pytest.mark.parametrize(
    ("n_new", "told"), [(1, None), (8, "perturbation"), (40, "pair")]
)
def test_questions_that_the_folds_do_not_ask_are_told(n_new, told, folder, monkeypatch):
    warned = []
    monkeypatch.setattr(_choices, "warn", warned.append)
    screen = load_op2(folder)
    asked = screen.X_test.iloc[np.arange(20) % len(screen.X_test)]
    new = asked.iloc[np.arange(n_new) % 20].assign(sm_name="new")
    screen.X_test = pd.concat([asked, new], ignore_index=True)
    _choices.make_splitter("auto", screen, 3, 0)
    assert bool(warned) == bool(told)
    if told:
        assert f"of the {20 + n_new} rows" in warned[0]
        assert warned[0].endswith(f"--cv unseen-{told}.")


def test_what_is_asked_is_compared_with_what_folds_hold_out(cli, folder, tmp_path):
    told = "The perturbations to predict respond "
    board = ["leaderboard", "--data", folder, "--models", "gene_mean"]
    assert told in cli(*board).stderr
    output = tmp_path / "x.csv"
    done = cli("submit", "--data", folder, "--model", "gene_mean", "--output", output)
    assert told in done.stderr
