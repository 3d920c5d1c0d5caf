"""The command that plans experiments."""

import shutil

import pandas as pd
import pytest

from sklperturb.datasets import load_op2, make_chemical_screen, write_screen
from sklperturb.model_selection import suggest_experiments
from sklperturb.models import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    return write_screen(tmp_path_factory.mktemp("suggest") / "screen", screen)


def test_the_plan_is_that_of_the_function(cli, folder, tmp_path):
    output = tmp_path / "plan.csv"
    done = cli("suggest", "--data", folder, "--n", 12, "--output", output)
    plan = pd.read_csv(output)
    screen = load_op2(folder)
    expected = suggest_experiments(
        make_model("response_kernel", schema=screen.schema),
        *(screen.X, screen.y, screen.X_test, 12),
        schema=screen.schema,
    )
    assert plan["sm_name"].tolist() == expected["sm_name"].tolist()
    assert plan["gain"].tolist() == pytest.approx(expected["gain"].tolist())
    assert "Asking response_kernel" in done.stderr
    assert plan["reason"].iloc[0][:20] in done.stdout
    assert f"{expected['expected_error'].iloc[-1]:.4f} after these" in done.stdout
    assert "held-out rows have shown" in done.stderr or "not calibrated" in done.stderr
    assert str(output) in done.stdout
    again = cli("suggest", "--data", folder, "--n", 12, "--output", output, code=2)
    assert "--overwrite" in again.stderr


def test_own_candidates_with_costs_and_plates(cli, folder, tmp_path):
    screen = load_op2(folder)
    table = screen.X_test.assign(plate=range(len(screen.X_test)), price=1.0)
    table["plate"] %= 3
    table.loc[table["cell_type"] == "B cells", "price"] = 100.0
    table.to_csv(tmp_path / "some.csv", index=False)
    output = tmp_path / "plan.parquet"
    asked = ["suggest", "--data", folder, "--candidates", tmp_path / "some.csv"]
    asked += ["--output", output, "--overwrite", "--targets", folder / "id_map.csv"]
    limits = ["--max-per", "plate=2", "--cost-column", "price"]
    cli(*asked, "--n", 6, *limits, "--model", "product_kernel")
    plan = pd.read_parquet(output)
    assert plan["plate"].value_counts().tolist() == [2, 2, 2]
    assert (plan["cell_type"] != "B cells").all()
    assert plan["cost"].tolist() == [1, 2, 3, 4, 5, 6]
    clusters = ["--strategy", "clusters", "--cluster-column", "plate"]
    cli(*asked, "--n", 3, *clusters)
    assert pd.read_parquet(output)["plate"].nunique() == 3
    done = cli(*asked, "--n", 7, *limits, code=2)
    assert "--n 7 is more than the 6 candidates that --max-per plate=2 " in done.stderr
    done = cli(*asked, "--n", 2, "--cost-column", "prise", code=2)
    assert "--cost-column 'prise' is no column of the candidates" in done.stderr


def test_the_id_map_has_costs_and_plates_too(cli, folder, tmp_path):
    shutil.copytree(folder, data := tmp_path / "priced")
    train = pd.read_parquet(data / "de_train.parquet").assign(dose_uM=1.0)
    train.to_parquet(data / "de_train.parquet")
    (data / "de_test.parquet").unlink()
    id_map = pd.read_csv(data / "id_map.csv")
    id_map["plate"], id_map["cost"] = id_map.index % 3, 2.0
    id_map.to_csv(data / "id_map.csv", index=False)
    limits = ["--max-per", "plate=1", "--cost-column", "cost"]
    output = tmp_path / "plan.csv"
    cli("suggest", "--data", data, "--n", 3, *limits, "--output", output)
    plan = pd.read_csv(output)
    assert sorted(plan["plate"]) == [0, 1, 2]
    assert plan["cost"].tolist() == [2, 4, 6]


def test_whole_compounds_by_structure(cli, folder, tmp_path):
    pytest.importorskip("rdkit")
    new = load_op2(folder).X_test.drop_duplicates("sm_name").head(5)
    new = new.assign(sm_name=[f"new {i}" for i in range(len(new))])
    both = pd.concat([new, new.assign(cell_type="NK cells")])
    both.to_csv(tmp_path / "new.csv", index=False)
    asked = ["--candidates", tmp_path / "new.csv", "--targets", tmp_path / "new.csv"]
    asked += ["--unit", "perturbation", "--output", tmp_path / "plan.csv"]
    done = cli("suggest", "--data", folder, "--n", 2, *asked)
    assert "Asking tanimoto_kernel" in done.stderr
    plan = pd.read_csv(tmp_path / "plan.csv")
    assert plan["sm_name"].nunique() == 2
    assert len(plan) == 4


def test_new_compounds_by_their_targets(cli, folder, tmp_path):
    """Without structures; and gene sets tell of targets, not of compounds."""
    pytest.importorskip("rdkit")
    shutil.copytree(folder, data := tmp_path / "targets")
    train = pd.read_parquet(data / "de_train.parquet").drop(columns="SMILES")
    names = train["sm_name"].unique()
    targets = {name: f"T{i % 4}" for i, name in enumerate(names)}
    train.insert(1, "target", train["sm_name"].map(targets))
    train.to_parquet(data / "de_train.parquet")
    new = pd.DataFrame({"cell_type": "NK cells", "sm_name": ["x", "y"], "target": "T1"})
    new.to_csv(tmp_path / "new.csv", index=False)
    asked = ["--candidates", tmp_path / "new.csv", "--targets", tmp_path / "new.csv"]
    asked += ["--output", tmp_path / "plan.csv", "--n", 1, "--overwrite"]
    done = cli("suggest", "--data", data, *asked)
    assert "Asking tanimoto_kernel" in done.stderr
    sets = tmp_path / "sets.gmt"
    sets.write_text("one\t\tT0\tT1\tT2\ntwo\t\tT1\tT2\tT3\n")
    done = cli("suggest", "--data", data, *asked, "--embedding", sets)
    assert "Asking tanimoto_kernel" in done.stderr and "knows none" not in done.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--n", 4000], "--n 4000 is more than"),
        (["--n", 2, "--model", "ridge"], "ResponseKernelRidge"),
        (["--n", 2, "--model", "ridge"], "--strategy 'disagreement'"),
        (["--n", 2, "--model", "rigde"], "Did you mean 'ridge'"),
        (["--n", 2, "--max-per", "plate"], "is not COLUMN=K"),
        (["--n", 2, "--strategy", "k_center"], "Did you mean 'k_centre'"),
        (["--n", 0], "'--n'"),
        (
            ["--n", 2, "--top", "--strategy", "distance"],
            "--top is for --strategy expected_error and disagreement, and 'distance'",
        ),
        (
            ["--n", 2, "--cluster-column", "moa"],
            "--cluster-column 'moa' is for --strategy 'clusters'",
        ),
    ],
)
def test_what_is_wrong_is_told(cli, folder, tmp_path, given, told):
    output = tmp_path / "plan.csv"
    done = cli("suggest", "--data", folder, "--output", output, *given, code=2)
    assert told in done.stderr
    assert not output.exists()


def test_candidates_that_are_measured_or_lack_a_column(cli, folder, tmp_path):
    screen = load_op2(folder)
    path, output = tmp_path / "some.csv", tmp_path / "plan.csv"
    asked = ["suggest", "--data", folder, "--candidates", path, "--output", output]
    pd.concat([screen.X_test, screen.X.head(3)]).to_csv(path, index=False)
    done = cli(*asked, "--n", 2, code=2)
    assert "3 of" in done.stderr and "--skip-measured" in done.stderr
    cli(*asked, "--n", 2, "--skip-measured", "--strategy", "random")
    assert len(pd.read_csv(output)) == 2
    screen.X_test.drop(columns="cell_type").to_csv(path, index=False)
    done = cli(*asked, "--n", 2, "--overwrite", code=2)
    assert "lacks the columns ['cell_type']" in done.stderr
    done = cli(*asked[:4], path, "--n", 2, "--output", path, "--overwrite", code=2)
    assert "would be replaced" in done.stderr


def test_without_an_id_map_candidates_are_asked_for(cli, tmp_path):
    screen = make_chemical_screen(4, 12, 20, random_state=0)
    data = write_screen(tmp_path / "screen", screen)
    for name in ("id_map.csv", "de_test.parquet", "de_test.h5ad"):
        (data / name).unlink(missing_ok=True)
    output = ["--output", tmp_path / "plan.csv"]
    done = cli("suggest", "--data", data, "--n", 2, *output, code=2)
    assert "pass --candidates" in done.stderr
