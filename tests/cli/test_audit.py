"""The command line looks for leaks."""

import json

import pandas as pd
import pytest

from sklperturb.datasets import make_chemical_screen, write_screen

pytest.importorskip("rdkit")
NEW = ["--cv", "unseen-perturbation", "--n-splits", 3]


@pytest.fixture(scope="module")
def screen():
    return make_chemical_screen(4, 20, 30, random_state=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, screen):
    return write_screen(tmp_path_factory.mktemp("audit") / "screen", screen)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory, screen):
    """A screen in which every other compound is the hydrochloride of the one before."""
    X = screen.X.copy()
    names = sorted(X["sm_name"].unique())
    smiles = X.drop_duplicates("sm_name").set_index("sm_name")["SMILES"]
    salts = dict(zip(names[1::2], names[::2], strict=True))
    X["SMILES"] = [
        f"{smiles[salts[name]]}.Cl" if name in salts else smiles[name]
        for name in X["sm_name"]
    ]
    changed = type(screen)(**{**screen, "X": X})
    return write_screen(tmp_path_factory.mktemp("audit") / "leaky", changed)


def test_an_honest_screen_ends_with_code_0(cli, folder):
    done = cli("audit", "--data", folder, "--model", "additive", *NEW)
    assert done.stdout.startswith("No leak was found: 3 folds, ")
    assert "Folds: UnseenPerturbationKFold" in done.stderr


def test_leaks_end_with_code_3_and_are_written(cli, leaky, tmp_path):
    command = ["audit", "--data", leaky, "--model", "additive", *NEW]
    path = tmp_path / "found.json"
    done = cli(*command, "--output", path, code=3)
    assert "compounds. The folds hold out compounds" in done.stdout
    content = json.loads(path.read_text())
    assert not content["ok"]
    assert content["findings"][0]["kind"] == "compounds"
    table = tmp_path / "found.csv"
    cli(*command, "--output", table, code=3)
    assert pd.read_csv(table)["kind"].iloc[0] == "compounds"
    done = cli(*command, "--output", table, code=2)
    assert "--overwrite" in done.stderr
    cli(*command, "--output", table, "--overwrite", code=3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model", "rigde"], "Did you mean 'ridge'?"),
        (["--model", "ridge", "--output", "{tmp}/a.txt"], "a.txt"),
        (["--model", "ridge", "--cv", "unseen"], "audit --help"),
        (["--model", "ridge", "--scoring", "wmse"], "needs weights"),
    ],
)
def test_errors_are_one_line(cli, folder, tmp_path, options, told):
    options = [option.format(tmp=tmp_path) for option in options]
    done = cli("audit", "--data", folder, *options, code=2)
    assert told in done.stderr
    assert not list(tmp_path.iterdir())
