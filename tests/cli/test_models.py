"""Commands on one model: it is fitted, kept in a file, asked, and predicts."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.preprocessing import StandardScaler

import sklperturb
from sklperturb.baseline import AdditiveRegressor
from sklperturb.datasets import load_op2, make_chemical_screen, write_screen
from sklperturb.ensemble import PseudoLabelRegressor
from sklperturb.models import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    return write_screen(tmp_path_factory.mktemp("cli") / "screen", screen)


@pytest.fixture(scope="module")
def kept(cli, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "ridge.skpt"
    done = cli("fit", "--data", folder, "--model", "ridge", "--output", path)
    assert "30 genes" in done.stdout and str(path) in done.stdout
    assert f"sklperturb predict {path}" in done.stderr
    assert "cell_type and sm_name" in done.stderr
    return path


def test_signatures_need_the_name_of_a_model(cli, folder, tmp_path):
    fit = ["fit", "--data", folder, "--output", tmp_path / "m.skpt"]
    assert "Pass --model to name what is fitted" in cli(*fit, code=2).stderr
    done = cli(*fit, "--model", "ridge", "--latent", "pca", code=2)
    assert "--latent is for cells" in done.stderr


def test_doses_to_predict_have_a_unit_where_those_fitted_had(cli, tmp_path):
    screen = make_chemical_screen(3, 8, 5, random_state=0)
    screen.X["dose"] = [f"{1 + i % 3} nM" for i in range(len(screen.X))]
    folder = write_screen(tmp_path / "doses", screen)
    (folder / "de_test.parquet").unlink()
    (folder / "id_map.csv").unlink()
    path, new = tmp_path / "m.skpt", tmp_path / "new.csv"
    cli("fit", "--data", folder, "--model", "token_mlp", "--output", path)
    asked = ["predict", path, "--conditions", new, "--output", tmp_path / "out.csv"]
    X = screen.X.head(3)
    X.assign(dose=2).to_csv(new, index=False)
    assert "fitted to doses with units, in 'dose_unit'" in cli(*asked, code=2).stderr
    X.assign(dose=2, dose_unit="nM").to_csv(new, index=False)
    cli(*asked)
    assert pd.read_csv(tmp_path / "out.csv")["dose"].tolist() == [0.002] * 3


def new_conditions(path, screen, n=10):
    """Write conditions of which a model reads some columns only, and return them."""
    X = screen.X_test[["sm_name", "cell_type"]].head(n).assign(note="7")
    X.to_csv(path, index=False)
    return X


def test_intervals(cli, folder, kept, tmp_path):
    screen = load_op2(folder)
    new_conditions(tmp_path / "new.csv", screen)
    path, output = tmp_path / "with.skpt", tmp_path / "out.csv"
    fit = ["fit", "--data", folder, "--model", "additive_joint", "--output", path]
    done = cli(*fit, "--intervals", "--jobs", 1)
    assert "Intervals are learnt from UnseenPairKFold" in done.stderr
    assert "cell_type and sm_name" in done.stderr
    asked = ["predict", path, "--conditions", tmp_path / "new.csv", "--output", output]
    cli(*asked, "--interval", 0.5)
    model = sklperturb.load(path)
    X = pd.read_csv(tmp_path / "new.csv")
    ends = model.predict_interval(X, 0.5)
    expected = [model.predict(X), *ends]
    for name, values in zip(("out", "out_lower", "out_upper"), expected, strict=True):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        np.testing.assert_allclose(table[screen.target_names], values)
    output.unlink()
    assert "out_lower.csv" in cli(*asked, "--interval", 0.5, code=2).stderr
    assert "above 0 and below 1" in (
        cli(*asked, "--interval", 90, "--overwrite", code=2).stderr
    )
    asked[1] = kept
    done = cli(*asked, "--interval", 0.5, "--overwrite", code=2)
    assert "which has no intervals" in done.stderr and "--intervals" in done.stderr


def test_intervals_are_of_a_model_that_knows_the_id_map(
    cli, folder, tmp_path, monkeypatch
):
    def made(name, *, schema=None, random_state=None, sources=()):
        return PseudoLabelRegressor(AdditiveRegressor(schema=schema))

    monkeypatch.setattr("sklperturb.models.make_model", made)
    fit = ["fit", "--data", folder, "--model", "pseudo_label", "--jobs", 1]
    for options in ([], ["--intervals"]):
        path = tmp_path / f"{len(options)}.skpt"
        cli(*fit, "--output", path, *options)
        model = sklperturb.load(path)
        fitted = model.estimator_ if options else model
        assert fitted.n_pseudo_labelled_ == len(load_op2(folder).X_test)


def test_predictions_are_those_of_the_model(cli, folder, kept, tmp_path):
    screen = load_op2(folder)
    X = new_conditions(tmp_path / "new.csv", screen)
    model = make_model("ridge", schema=screen.schema, random_state=0)
    y_pred = model.fit(screen.X, screen.y).predict(screen.X_test)[:10]
    asked = ["predict", kept, "--conditions", tmp_path / "new.csv", "--output"]

    cli(*asked, tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table) == ["sm_name", "cell_type", "note", *screen.target_names]
    assert table["sm_name"].tolist() == X["sm_name"].tolist()
    np.testing.assert_allclose(table[screen.target_names], y_pred)
    cli(*asked, tmp_path / "out.parquet")
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert np.array_equal(table[screen.target_names], y_pred)
    cli(*asked, tmp_path / "out.h5ad")
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert found.var_names.tolist() == screen.target_names
    assert found.obs["cell_type"].tolist() == X["cell_type"].tolist()
    assert np.array_equal(found.X, y_pred)

    done = cli(*asked, tmp_path / "out.csv", code=2)
    assert "exists" in done.stderr
    X.assign(sm_name="New").to_csv(tmp_path / "new.csv", index=False)
    done = cli(*asked, tmp_path / "alike.csv")
    assert "does not read SMILES: new compounds are all" in done.stderr
    table = pd.read_csv(tmp_path / "alike.csv").drop_duplicates(screen.target_names)
    assert table["cell_type"].is_unique
    cli(*asked, tmp_path / "out.csv", "--overwrite")


def test_any_columns_of_conditions_are_kept_in_h5ad(cli, folder, kept, tmp_path):
    X = load_op2(folder).X_test[["sm_name", "cell_type"]].head(3).reset_index(drop=True)
    X["flag"] = np.array([True, None, False], dtype=object)
    X["waited"] = pd.to_timedelta([1, 2, None], unit="h")
    X["day"] = pd.to_datetime(["2024-05-01", None, "2024-05-02"])
    X["share"] = pd.array([0.5, None, 1], dtype="Float64")
    X["nothing"] = np.array([None] * 3, dtype=object)
    new, output = tmp_path / "new.parquet", tmp_path / "out.h5ad"
    X.to_parquet(new)
    cli("predict", kept, "--conditions", new, "--output", output)
    obs = anndata.read_h5ad(output).obs
    assert list(obs) == list(X)
    assert obs["flag"].tolist() == [True, pd.NA, False]
    assert obs["waited"].tolist()[:2] == ["0 days 01:00:00", "0 days 02:00:00"]
    assert obs["day"].tolist()[::2] == ["2024-05-01 00:00:00", "2024-05-02 00:00:00"]
    assert obs["share"].tolist()[::2] == [0.5, 1.0]
    assert obs.isna().sum().tolist() == [0, 0, 1, 1, 1, 1, 3]
    X[["sm_name", "cell_type"]].assign(_index=1).to_parquet(new)
    asked = ["predict", kept, "--conditions", new, "--overwrite", "--output"]
    done = cli(*asked, output, code=2)
    assert "new.parquet has a column '_index'" in done.stderr
    cli(*asked, tmp_path / "out.csv")


def test_new_compounds_by_their_structure(cli, folder, tmp_path):
    pytest.importorskip("rdkit")
    path, new = tmp_path / "m.skpt", tmp_path / "new.csv"
    cli("fit", "--data", folder, "--model", "tanimoto_kernel", "--output", path)
    names = [f"New {i}" for i in range(3)]
    table = pd.DataFrame({"cell_type": "B cells", "sm_name": names})
    asked = ["predict", path, "--conditions", new, "--output", tmp_path / "out.csv"]
    table.to_csv(new, index=False)
    done = cli(*asked, code=2)
    assert "SMILES" in done.stderr and not (tmp_path / "out.csv").exists()
    table.assign(SMILES=["CCO", "c1ccccc1O", None]).to_csv(new, index=False)
    done = cli(*asked)
    assert "3 of 3 rows have a perturbation that was not measured: New 0, New 1" in (
        done.stderr
    )
    found = pd.read_csv(tmp_path / "out.csv").iloc[:, 3:]
    assert found.shape == (3, 30) and not np.allclose(found.iloc[0], found.iloc[1])


def test_new_compounds_by_their_mechanism(cli, tmp_path):
    """Without SMILES, from a generated screen to predictions and a submission."""
    pytest.importorskip("rdkit")
    folder, path, new = (tmp_path / name for name in ("screen", "m.skpt", "new.csv"))
    size = ["--n-contexts", 3, "--n-compounds", 40, "--n-genes", 20]
    cli("simulate", "--output", folder, *size, "--mechanism-share", 0.9)
    train = folder / "de_train.parquet"
    pd.read_parquet(train).drop(columns="SMILES").to_parquet(train, index=False)
    screen = load_op2(folder)
    assert screen.schema.mechanism == "moa"
    assert "Mechanism missing: 0 training rows, 0 rows to predict" in screen.DESCR

    model = ["--data", folder, "--model", "tanimoto_kernel", "--output"]
    cli("fit", *model, path)
    assert "moa" in cli("info", path).stdout
    moa = screen.X["moa"].unique()
    table = pd.DataFrame({"cell_type": "B cells", "sm_name": ["x", "y", "z"]})
    asked = ["predict", path, "--conditions", new, "--output", tmp_path / "out.csv"]
    table.to_csv(new, index=False)
    assert "moa" in cli(*asked, code=2).stderr
    table.assign(moa=[moa[0], moa[1], None]).to_csv(new, index=False)
    cli(*asked)
    found = pd.read_csv(tmp_path / "out.csv")[screen.target_names].to_numpy()
    assert min(np.ptp(found[[0, 1]], axis=0).max(), np.ptp(found[1:], axis=0).max()) > 0
    cli("submit", *model, tmp_path / "submission.csv")
    assert len(pd.read_csv(tmp_path / "submission.csv")) == len(screen.id_map)
    sets = tmp_path / "sets.gmt"
    sets.write_text("".join(f"{i}\t\t" + "\t".join(moa[i::3]) + "\n" for i in range(3)))
    options = ["--models", "tanimoto_kernel", "--cv", "unseen-perturbation"]
    options += ["--n-splits", 2, "--embedding", sets]
    done = cli("leaderboard", "--data", folder, *options)
    assert "tanimoto_kernel" in done.stdout and "knows none" not in done.stderr


def test_info_reads_the_manifest(cli, kept):
    done = cli("info", kept)
    for text in (
        "sklperturb.linear_model.TargetEncodedRidge",
        "cell_type (context), sm_name (perturbation)",
        "to predict  cell_type, sm_name",
        "contexts    4: ",
        "30, such as ",
        "scikit-learn ",
    ):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("model", "saved", "message"),
    [
        (StandardScaler(), {}, "holds a StandardScaler, which does not predict"),
        (
            DummyRegressor(),
            {"y": pd.DataFrame({"a": [1.0]})},
            "names 1 genes, and its model",
        ),
    ],
)
def test_models_that_do_not_answer(cli, tmp_path, model, saved, message):
    path, new = tmp_path / "m.skpt", tmp_path / "new.csv"
    model.fit(np.eye(2), np.eye(2))
    sklperturb.save(model, path, **saved)
    pd.DataFrame({"sm_name": ["a"], "cell_type": ["b"]}).to_csv(new, index=False)
    done = cli("predict", path, "--conditions", new, "--output", "o.csv", code=2)
    assert message in done.stderr


def test_parameters_of_a_search(cli, folder, tmp_path):
    best = {"model": "product_kernel", "params": {"alphas": [7.0]}}
    (tmp_path / "best.json").write_text(json.dumps(best))
    given = ["--params", tmp_path / "best.json", "--model", "product_kernel"]
    cli("fit", "--data", folder, *given, "--output", tmp_path / "m.skpt")
    assert "alphas=[7.0]" in cli("info", tmp_path / "m.skpt").stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sm_name,celltype\nx,B cells\n", "lacks the columns ['cell_type']"),
        ("sm_name,cell_type\n", "no rows"),
        ("sm_name,cell_type\nx,\n", "is missing in 1 of 1 rows"),
        ("sm_name,cell_type,{gene}\nx,B cells,1\n", "which are genes that the model"),
    ],
)
def test_wrong_conditions(cli, folder, kept, tmp_path, content, message):
    new, output = tmp_path / "new.csv", tmp_path / "out.csv"
    new.write_text(content.format(gene=load_op2(folder).target_names[0]))
    done = cli("predict", kept, "--conditions", new, "--output", output, code=2)
    assert message in done.stderr and not output.exists()


def test_wrong_files(cli, folder, tmp_path):
    path = tmp_path / "m.skpt"
    path.write_bytes(b"PK no model")
    for command in (["info"], ["predict", "--conditions", path, "--output", "o.csv"]):
        done = cli(command[0], path, *command[1:], code=2)
        assert done.stderr.startswith("error: ") and str(path) in done.stderr
    done = cli("fit", "--data", folder, "--model", "ridge", "--output", path, code=2)
    assert "exists" in done.stderr
