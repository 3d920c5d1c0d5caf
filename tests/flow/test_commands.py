"""From a file of cells to a file of cells, by commands."""

import gzip

import anndata
import numpy as np
import pytest

import sklperturb
from sklperturb.baseline import NoChangeRegressor
from sklperturb.cells import log_normalise
from sklperturb.datasets import load_perturbseq, make_genetic_screen
from sklperturb.persistence import data_fingerprint, read_info

STATE = ["--obsm", "X_state"]


@pytest.fixture(scope="module")
def screen():
    return make_genetic_screen(
        12, 100, cells_per_perturbation=30, n_controls=80, depth=2000, random_state=0
    )


@pytest.fixture
def table(screen, tmp_path):
    path = tmp_path / "table.parquet"
    screen.gene_embedding.to_parquet(path)
    return path


@pytest.fixture
def unseen(screen):
    genes = screen.gene_embedding.index.difference(screen.effects.index)
    return [str(gene) for gene in genes[:2]]


@pytest.fixture
def fit(cli, table):
    """Return a function that fits a small model of a file."""

    def run(source, *words, code=0):
        model = source.with_suffix(".skpt")
        done = cli(
            *("fit-cells", source, "--embedding", table, "--output", model),
            *("--n-components", 4, "--max-steps", 10, *words),
            code=code,
        )
        return model, done

    return run


def dense(cells):
    return cells.X.toarray()


def test_counts_to_counts(cli, fit, screen, unseen, tmp_path):
    source, output = tmp_path / "cells.h5ad", tmp_path / "predicted.h5ad"
    screen.y.write_h5ad(source)
    model, done = fit(source)
    assert "12 conditions, 80 controls" in done.stdout
    wanted = tmp_path / "genes.csv"
    lines = f"target_gene,n_cells\n{unseen[0]},15\n{unseen[1]},25\n"
    wanted.write_text(f"{lines}{unseen[0]} ,5\n", encoding="utf-8-sig")
    predict = ["predict-cells", model, "--perturbations", wanted, "--output", output]
    done = cli(*predict, "--n-controls", 10)
    assert "55 cells of 3 conditions, 100 genes" in done.stdout
    found = anndata.read_h5ad(output)
    assert found.shape == (55, 100)
    assert list(found.var_names) == list(screen.y.var_names)
    assert np.array_equal(dense(found), np.round(dense(found)))
    again = load_perturbseq(output)
    assert again.is_control.sum() == 10
    assert (again.X["target_gene"] == unseen[0]).sum() == 20
    assert set(again.X) == set(load_perturbseq(source).X)
    assert "--overwrite" in cli(*predict, code=2).stderr
    done = cli(*predict, "--overwrite", "--log1p")
    sums = np.expm1(dense(anndata.read_h5ad(output))).sum(axis=1)
    np.testing.assert_allclose(sums, 1e4, rtol=1e-3)


def test_columns_labels_and_a_layer_by_option(cli, fit, screen, unseen, tmp_path):
    cells = screen.y.copy()
    rng = np.random.default_rng(0)
    cells.obs["guide_of"] = (
        cells.obs.pop("target_gene").astype(str).replace("control", "NT-1")
    )
    cells.obs["line"] = rng.choice(["k562", "rpe1"], len(cells))
    cells.obs["lane"] = cells.obs.pop("batch")
    cells.obs["dose"] = "1+1"
    del cells.obs["control"]
    cells.layers["raw"], cells.X = cells.X, None
    source, output = tmp_path / "own.h5ad", tmp_path / "predicted.h5ad"
    cells.write_h5ad(source)
    named = ["--perturbation", "guide_of", "--control", "NT-1", "--layer", "raw"]
    model, _ = fit(source, *named, "--context", "line", "--batch", "lane")
    schema = sklperturb.load(model).flow_.schema_
    assert (schema.context, schema.batch) == ("line", "lane")
    wanted = tmp_path / "genes.csv"
    wanted.write_text(f"guide_of\n{unseen[0]}\nNT-1\n")
    words = ["--perturbations", wanted, "--output", output, "--n-cells", 6]
    cli("predict-cells", model, *words)
    found = anndata.read_h5ad(output)
    assert found.obs["guide_of"].value_counts().to_dict() == {unseen[0]: 6, "NT-1": 6}
    assert set(found.obs) == {"guide_of", "line", "lane"}


def test_predicted_cells_can_be_evaluated(cli, fit, screen, tmp_path):
    cells = screen.y.copy()
    cells.obs = cells.obs[["target_gene", "batch"]].astype(str)
    cells.obs = cells.obs.replace({"target_gene": {"control": "non-targeting"}})
    train, real = tmp_path / "train.h5ad", tmp_path / "real.h5ad"
    cells.write_h5ad(train)
    cells.X = log_normalise(cells.X, 1e4).astype(np.float32)
    cells.write_h5ad(real)
    model, _ = fit(train)
    wanted, output = tmp_path / "genes.txt", tmp_path / "predicted.h5ad"
    wanted.write_text("\n".join(screen.effects.index))
    words = ["--perturbations", wanted, "--output", output, "--n-cells", 30]
    cli("predict-cells", model, *words, "--n-controls", 40, "--log1p")
    cli("evaluate", "--real", real, "--pred", output)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [*STATE, "--perturbation", "guide"],
            "--perturbation 'guide' is no column of obs",
        ),
        (
            [*STATE, "--control", "none"],
            "--control 'none' is no label of 'target_gene'",
        ),
        (["--layer", "raw"], "has no layer 'raw'"),
        (["--obsm", "X_pca"], "has no obsm 'X_pca'; it has ['X_other', 'X_state']"),
        ([*STATE, "--layer", "raw"], "both name the cells"),
        ([], "has no X. Pass --layer or --obsm to name what to read."),
    ],
)
def test_bad_options_leave_no_model(fit, screen, tmp_path, words, message):
    points = np.zeros((screen.y.n_obs, 3))
    obsm = {"X_state": points, "X_other": points}
    source = tmp_path / "cells.h5ad"
    anndata.AnnData(obs=screen.y.obs.copy(), obsm=obsm).write_h5ad(source)
    model, done = fit(source, *words, code=2)
    assert message in done.stderr
    assert not model.exists()


def test_embedded_cells(cli, fit, screen, unseen, tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(screen.y.n_obs, 5)) + screen.is_control[:, None]
    source, output = tmp_path / "embedded.h5ad", tmp_path / "predicted.h5ad"
    anndata.AnnData(obs=screen.y.obs.copy(), obsm={"X_own": points}).write_h5ad(source)
    model, done = fit(source)
    assert "obsm['X_own']" in done.stderr
    wanted = tmp_path / "genes.txt"
    wanted.write_text("\n".join(unseen))
    words = ["--perturbations", wanted, "--output", output, "--n-cells", 7]
    done = cli("predict-cells", model, *words)
    assert "5 dimensions in X_own" in done.stdout
    found = anndata.read_h5ad(output)
    assert found.obsm["X_own"].shape == (14, 5)
    # The cells have counts as well: what is asked for decides.
    cells = screen.y.copy()
    cells.obsm["X_own"] = points
    cells.write_h5ad(source)
    model, done = fit(source, "--obsm", "X_own", "--overwrite")
    assert sklperturb.load(model).space_ is None


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fit_takes_cells_too(cli, fit, table, screen, unseen, tmp_path):
    """One command for both kinds of screens, and each file tells what it is for."""
    source, output = tmp_path / "cells.h5ad", tmp_path / "predicted.h5ad"
    screen.y.write_h5ad(source)
    model, of_cells = fit(source)[0], tmp_path / "fit.skpt"
    command = ["fit", "--data", source, "--embedding", table, "--output", of_cells]
    done = cli(*command, "--max-steps", 10)
    assert f"sklperturb predict-cells {of_cells}" in done.stderr
    shown = cli("info", of_cells).stdout
    assert "flow.CellScreenModel" in shown and "target_gene (perturbation)" in shown
    assert "100, such as GENE00001" in shown and "SHA-256" in shown
    # The cells stayed in the file, and have the fingerprint that they have in memory.
    data = load_perturbseq(source)
    fingerprint = read_info(of_cells).fingerprint
    assert fingerprint == data_fingerprint(data.X, data.y)
    assert fingerprint == read_info(model).fingerprint
    wanted = tmp_path / "genes.txt"
    wanted.write_text("\n".join(unseen))
    asked = ["--perturbations", wanted, "--n-cells", 4, "--output", output]
    cli("predict-cells", of_cells, *asked)
    assert anndata.read_h5ad(output).shape == (8, 100)

    wanted.with_suffix(".csv").write_text(f"target_gene\n{unseen[0]}\n")
    conditions = ["--conditions", wanted.with_suffix(".csv")]
    done = cli("predict", model, *conditions, "--output", tmp_path / "x.csv", code=2)
    assert "use `sklperturb predict-cells`" in done.stderr
    other = tmp_path / "other.skpt"
    sklperturb.save(NoChangeRegressor().fit([[0]], [[1.0, 2.0]]), other)
    done = cli("predict-cells", other, *asked, "--overwrite", code=2)
    assert "holds a NoChangeRegressor, which generates no cells" in done.stderr
    old = tmp_path / "old.npz"
    np.savez(old, state=np.array("{}"))
    done = cli("predict-cells", old, *asked, "--overwrite", code=2)
    assert "Fit the model again" in done.stderr

    for words, message in (
        (["--model", "ridge"], "leave --model out"),
        (["--model", "flow", "--clip", 3], "are for signatures"),
        (["--jobs", 2], "--jobs and --dask are for signatures"),
        (
            ["--latent", "se", "--overwrite"],
            "--latent 'se' and --checkpoint go together",
        ),
        ([], "--overwrite"),
    ):
        assert message in cli(*command, *words, code=2).stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene\nA\n", "has the columns ['gene'], and needs 'target_gene'"),
        ("target_gene,n_cells\nA,3\nB,\n", "row 2, with ['B', ''], names no"),
        ("target_gene,n_cells\nA,3\n,3\n", "row 2, with ['', '3'], names no"),
        ("target_gene,n_cells\nA,2.7\n", "a whole number from 1"),
        ("target_gene,n_cells\nA,1e30\n", "a whole number from 1"),
        ("target_gene,n_cells\nA,nan\n", "a whole number from 1"),
        ("target_gene,n_cells\nA,1,2\n", "line 2 has 3 fields"),
        ("target_gene;n_cells\nA;1\n", "separated by semicolons"),
        ("target_gene\nA\x1b[31m\n", "names no perturbation"),
        ("target_gene\n" + "A" * 2000, "names no perturbation"),
        ("target_gene\n", "has a header and no rows"),
        ("", "is empty"),
        ("target_gene,N_cells\nA,3\n", "a column 'N_cells'"),
        ("Target_Gene\nA\n", "Did you mean 'target_gene' for 'Target_Gene'"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    from sklperturb.cli._choices import read_perturbations

    path = tmp_path / "genes.csv"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_perturbations(path, "target_gene", 10)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "names", "numbers"),
    [
        ("g.csv", "target_gene\nNA\n nan \n1e5\n007\n", "NA nan 1e5 007", [9] * 4),
        ("g.csv", "\ufefftarget_gene,n_cells\r\nA,3\r\nA,4.0\r\n", "A A", [3, 4]),
        ("g.tsv", "own\tn_cells\nA+B\t3\n", "A+B", [3]),
        ("g.txt", "\ufeffA+B\r\n\r\n B \r\nNA", "A+B B NA", [9] * 3),
        ("g.txt", "own\nA\n", "A", [9]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_lists_of_perturbations(tmp_path, name, text, names, numbers, packed):
    from sklperturb.cli._choices import read_perturbations

    path, content = tmp_path / name, text.encode()
    if packed:
        path, content = tmp_path / f"{name}.gz", gzip.compress(content)
    path.write_bytes(content)
    assert read_perturbations(path, "own", 9) == (names.split(), numbers)


def test_a_table_is_no_list(tmp_path):
    from sklperturb.cli._choices import read_perturbations

    path = tmp_path / "genes.txt"
    path.write_text("target_gene,n_cells\nA,3\n")
    with pytest.raises(ValueError, match=r"is a table.*ends in \.csv"):
        read_perturbations(path, "target_gene", 10)
