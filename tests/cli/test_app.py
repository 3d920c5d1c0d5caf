"""What every command has in common: options, errors, and what is reported."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import typer

import sklperturb
from sklperturb.cli import app
from sklperturb.datasets import make_chemical_screen, write_screen
from sklperturb.evaluation import CONVENTIONS
from sklperturb.metrics import ROWWISE_METRICS
from sklperturb.utils import _choices

COMMANDS = typer.main.get_command(app).commands
# What is written, and which matrix is read, depends on the command.
OF_THE_COMMAND = {"--data", "--layer", "--output", "--scoring"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(3, 6, 10, random_state=0)
    return write_screen(tmp_path_factory.mktemp("app") / "screen", screen)


@pytest.fixture
def cells(tmp_path):
    obs = pd.DataFrame(
        {
            "group": np.repeat(["ctrl9", "IFN"], 40),
            "cluster": np.tile(["B", "T"], 40),
            "run": "1",
        },
        index=[f"c{i}" for i in range(80)],
    )
    counts = np.random.default_rng(0).poisson(2.0, (80, 5)).astype("float32")
    ad.AnnData(counts, obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def options():
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if parameter.opts[0].startswith("--"):
                yield name, parameter


def test_an_option_means_the_same_in_every_command():
    helps = {}
    for name, option in options():
        assert option.help, f"{name} {option.opts} has no help"
        if option.opts[0] not in OF_THE_COMMAND:
            helps.setdefault(option.opts[0], set()).add(option.help)
    assert not {option: texts for option, texts in helps.items() if len(texts) > 1}


def test_an_option_has_the_name_of_its_parameter():
    for _, option in options():
        assert option.opts == ["--" + option.name.replace("_", "-")]


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (_choices.Scoring, [*ROWWISE_METRICS, "wmse"]),
        (_choices.Convention, CONVENTIONS),
    ],
)
def test_choices_are_those_of_the_library(names, table):
    assert list(names) == list(table)


@pytest.mark.parametrize("command", ["leaderboard", "tune"])
def test_a_score_goes_by_the_name_of_its_scorer_too(cli, command, tmp_path):
    model = ["--model", "ridge", "--output", "out"] if command == "tune" else []
    done = cli(command, "--data", tmp_path, *model, "--scoring", "neg_mrrmse", code=2)
    assert "de_train" in done.stderr  # it got as far as the data
    done = cli(command, "--data", tmp_path, *model, "--scoring", "neg_mrmse", code=2)
    assert "Did you mean 'mrrmse'" in done.stderr


@pytest.mark.parametrize("command", ["leaderboard", "tune"])
def test_the_help_says_which_way_is_better(cli, command):
    shown = " ".join(cli(command, "-h").stdout.split())
    assert "mrrmse, mrmae and wmse are errors, lower is better" in shown
    assert "of pearson, spearman and cosine, higher is better" in shown


def test_choices_stand_in_the_help(cli):
    shown = cli("leaderboard", "-h").stdout
    assert "mrrmse|mrmae|pearson|spearman|cosine" in shown
    assert "unseen-pair|" in shown
    done = cli("leaderboard", "--data", ".", "--cv", "kfold", code=2)
    assert "'unseen-pair'" in done.stderr


def test_version_and_help(cli):
    assert cli("--version").stdout.strip() == f"sklperturb {sklperturb.__version__}"
    assert cli("-h").stdout == cli("--help").stdout


def test_quiet_reports_errors_only(cli, folder, tmp_path):
    arguments = ["submit", "--data", folder, "--model", "no_change", "--output"]
    loud = cli(*arguments, tmp_path / "a.csv")
    assert "signatures of 10 genes" in loud.stderr
    quiet = cli("-q", *arguments, tmp_path / "b.csv")
    assert quiet.stderr == ""
    assert "MRRMSE" in quiet.stdout
    assert "exists" in cli("--quiet", *arguments, tmp_path / "b.csv", code=2).stderr


def test_a_missing_folder_is_named(cli, tmp_path):
    done = cli("leaderboard", "--data", tmp_path / "none", code=2)
    assert "does not exist" in done.stderr


def test_output_is_checked_before_the_work(cli, folder, tmp_path, monkeypatch):
    def load(*args, **kwargs):
        raise AssertionError("the data were read first")

    monkeypatch.setattr("sklperturb.datasets.load_op2", load)
    submit = ["submit", "--data", folder, "--model", "ridge", "--output"]
    done = cli(*submit, tmp_path / "none" / "a.csv", code=2)
    assert f"The folder {tmp_path / 'none'} does not exist" in done.stderr
    (tmp_path / "file").touch()
    for command in (["leaderboard"], ["tune", "--model", "ridge"]):
        arguments = [*command, "--data", folder, "--output", tmp_path / "file" / "x"]
        assert "is a file" in cli(*arguments, code=2).stderr


def test_columns_of_cells_can_be_named(cli, cells):
    done = cli("describe", cells)
    assert "Pass --perturbation to name it" in done.stdout
    named = ["--perturbation", "group", "--context", "cluster", "--batch", "run"]
    done = cli("describe", cells, *named, "--list-perturbations")
    assert "No cell is a control" in done.stdout and "pass --control." in done.stdout
    done = cli("describe", cells, *named, "--control", "ctrl9", "--list-perturbations")
    assert "no problems found" in done.stdout
    assert "40 IFN" in done.stdout
    assert "'cluster', 2 levels" in done.stdout and "'run', 1 levels" in done.stdout
    done = cli("describe", cells, "--context", "line", code=2)
    assert "--context 'line' is no column of obs" in done.stderr
