import warnings

import numpy as np
import pandas as pd
import pytest

from sklperturb.datasets import load_vcpi, write_vcpi_submission
from tests.vcpi import GENES, write_vcpi

EXPRESSION = ["compound", "gene_id", "predicted_expression"]


@pytest.fixture
def folder(tmp_path):
    return write_vcpi(tmp_path / "vcpi")


def _change(folder, name, function):
    table = pd.read_parquet(folder / name)
    found = function(table)
    (table if found is None else found).to_parquet(folder / name)


def _quietly(folder, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_vcpi(folder, **options)


def test_expression_is_the_mean_of_the_logarithms_over_samples(folder):
    screen = _quietly(folder)
    counts = pd.read_parquet(folder / "train_counts.parquet").set_index("gene_id")
    samples = pd.read_parquet(folder / "train_metadata.parquet")
    here = samples["compound_concentration"].isin([10_000, 0.15])
    compounds = samples[here].set_index("sequenced_id")["user_compound_id"]
    cpm = 1e6 * counts / counts.sum()
    expected = np.log2(cpm + 1).T[here.to_numpy()].groupby(compounds.to_numpy()).mean()
    assert screen.X["compound"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(screen.y, expected[GENES])
    assert screen.target_names == screen.y.columns.tolist() == GENES


def test_fields_are_those_of_a_screen(folder):
    screen = _quietly(folder)
    columns = ["compound", "cell_line", "smiles", "control"]
    assert screen.X.columns.tolist() == screen.X_test.columns.tolist() == columns
    assert screen.X["control"].tolist() == (screen.X["compound"] == "DMSO").tolist()
    assert screen.X["smiles"].isna().sum() == 1  # of the vehicle
    assert screen.X_test.index.name == "id"
    assert screen.X_test.index.tolist() == screen.id_map["id"].tolist()
    assert screen.schema.columns() == ["compound", "cell_line", "control", "smiles"]
    assert screen.y_test is None
    assert screen.weights.index.tolist() == screen.X["compound"].tolist()
    np.testing.assert_allclose(screen.weights.sum(axis=1), 1, atol=0.01)  # float16
    assert "2 of other conditions" in screen.DESCR


def test_batches_of_samples_add_up(folder, monkeypatch):
    whole = load_vcpi(folder)
    monkeypatch.setattr("sklperturb.datasets._vcpi._SAMPLES_AT_ONCE", 3)
    pd.testing.assert_frame_equal(load_vcpi(folder).y, whole.y)


def test_design_alone(folder):
    for name in ("train_counts.parquet", "weights.parquet"):
        (folder / name).unlink()
    screen = load_vcpi(folder, design_only=True)
    assert screen.X is screen.y is screen.weights is None
    assert len(screen.X_test) == 3
    with pytest.raises(FileNotFoundError, match=r"train_counts.parquet is not in"):
        load_vcpi(folder)


def test_without_weights(folder):
    (folder / "weights.parquet").unlink()
    assert _quietly(folder).weights is None


def test_compounds_without_weights_are_left_out(folder):
    _change(folder, "weights.parquet", lambda table: table.drop(columns="DMSO"))
    with pytest.warns(UserWarning, match="1 compounds .*'DMSO'.* are left out"):
        screen = load_vcpi(folder)
    assert "DMSO" not in screen.X["compound"].tolist()
    assert len(screen.X) == len(screen.y) == len(screen.weights)


def test_a_sample_without_a_count_is_left_out(folder):
    def empty(table):
        table["101"] = 0

    before = load_vcpi(folder)
    _change(folder, "train_counts.parquet", empty)
    screen = _quietly(folder)
    assert "1 without a count" in screen.DESCR
    assert np.isfinite(screen.y.to_numpy()).all()
    assert not screen.y.equals(before.y)


def test_counts_whose_genes_are_the_index(folder):
    whole = load_vcpi(folder)
    _change(folder, "train_counts.parquet", lambda table: table.set_index("gene_id"))
    pd.testing.assert_frame_equal(load_vcpi(folder).y, whole.y)


def _to_logarithms(table):
    table["101"] = np.log2(table["101"] + 1)


def _infinite(table):
    table["102"] = np.inf


def _other_cells(table):
    table["cell_line"] = "K562"


def _negative(table):
    table[table.columns[0]] = -table[table.columns[0]]


def _no_weights(table):
    table[table.columns[0]] = 0.0


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        (
            "train_counts.parquet",
            _to_logarithms,
            "no counts, in 1 samples such as '101'",
        ),
        ("train_counts.parquet", _infinite, "no counts"),
        (
            "train_counts.parquet",
            lambda t: t.drop(columns="102"),
            "no column for 1 samp",
        ),
        ("train_counts.parquet", lambda t: t.iloc[3:], r"lacks \d of the 5 genes"),
        ("train_counts.parquet", lambda t: pd.concat([t, t[:1]]), "repeated ids"),
        ("train_counts.parquet", lambda t: t.astype({"103": str}), "hold no numbers"),
        ("train_metadata.parquet", _other_cells, "no sample of the conditions"),
        ("train_metadata.parquet", lambda t: t.iloc[:0], "has no rows"),
        ("train_metadata.parquet", lambda t: t.drop(columns="timepoint"), "timepoint"),
        ("train_metadata.parquet", lambda t: pd.concat([t, t[:1]]), "repeated ids"),
        ("train_metadata.parquet", lambda t: t.assign(sequenced_id=None), "is missing"),
        ("train_chemistry.parquet", lambda t: t.drop(columns="smiles"), "smiles"),
        ("weights.parquet", _negative, "not finite numbers"),
        ("weights.parquet", _no_weights, "weighs no gene of 1 comp"),
        ("weights.parquet", lambda t: t.iloc[1:], "lacks 1 of the 5 genes"),
        ("weights.parquet", lambda t: t.add_prefix("x"), "no column for any compound"),
        ("weights.parquet", lambda t: t.astype(str), "not finite numbers"),
    ],
)
def test_what_contradicts_itself_is_named(folder, name, function, message):
    _change(folder, name, function)
    with pytest.raises(ValueError, match=message) as error:
        load_vcpi(folder)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "test_compounds.csv",
            "smiles",
            "structure",
            r"lacks the columns \['smiles'\]",
        ),
        ("test_compounds.csv", "9000001", "9000000", "repeated ids"),
        ("test_compounds.csv", "9000001", "", "'compound' is missing in 1 rows"),
        ("test_compounds.csv", "THP-1", "K562", "'cell_line' has 2 values"),
        ("gene_filter.csv", "gene_id", "gene", "lacks the columns"),
        ("gene_filter.csv", "ENSG1", "ENSG0", "repeated ids"),
    ],
)
def test_a_design_that_contradicts_itself_is_named(folder, name, old, new, message):
    path = folder / name
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        load_vcpi(folder)


def test_several_structures_of_a_compound(folder):
    def add(table):
        other = table[table["user_compound_id"] == "8000001"].assign(smiles="CCCCCC")
        return pd.concat([table, other])

    before = load_vcpi(folder)
    _change(folder, "train_chemistry.parquet", add)
    with pytest.warns(UserWarning, match="several structures for 1 compounds"):
        screen = load_vcpi(folder)
    pd.testing.assert_frame_equal(screen.X, before.X)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_submission_has_every_pair_in_order(folder, tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("sklperturb.datasets._write._ROWS_AT_ONCE", 2)
    screen = load_vcpi(folder, design_only=True)
    y_pred = np.random.default_rng(0).random((3, 5))
    path = tmp_path / f"submission{suffix}"
    assert write_vcpi_submission(path, y_pred, screen.id_map, GENES) == path
    if suffix == ".csv":
        table = pd.read_csv(path, float_precision="round_trip")
    else:
        table = pd.read_parquet(path)
    assert table.columns.tolist() == EXPRESSION
    table["compound"] = table["compound"].astype(str)
    ids = screen.X_test.index.tolist()
    assert table["compound"].tolist() == [i for i in ids for _ in GENES]
    assert table["gene_id"].tolist() == GENES * 3
    np.testing.assert_array_equal(table["predicted_expression"], y_pred.ravel())


def test_submission_puts_named_rows_and_columns_in_order(folder, tmp_path):
    screen = load_vcpi(folder, design_only=True)
    y_pred = pd.DataFrame(
        np.arange(15.0).reshape(3, 5), index=screen.X_test.index, columns=GENES
    )
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    write_vcpi_submission(paths[0], y_pred, screen.X_test, GENES)
    shuffled = y_pred.iloc[::-1, ::-1]
    write_vcpi_submission(paths[1], shuffled, screen.X_test, GENES)
    pd.testing.assert_frame_equal(*map(pd.read_parquet, paths))


@pytest.mark.parametrize(
    ("y_pred", "message"),
    [
        (np.zeros((2, 5)), "has shape"),
        (np.full((3, 5), np.nan), "NaN or infinite, first for id '9000000'"),
        (np.full((3, 5), np.inf), "NaN or infinite"),
        (pd.DataFrame(np.zeros((3, 5)), columns=list("abcde")), "not the same set"),
    ],
)
def test_submission_is_complete_and_finite_or_not_written(
    folder, tmp_path, y_pred, message
):
    id_map = load_vcpi(folder, design_only=True).id_map
    with pytest.raises(ValueError, match=message):
        write_vcpi_submission(tmp_path / "sub.csv", y_pred, id_map, GENES)
    assert not list(tmp_path.glob("sub*"))


def test_values_below_zero_are_written_as_zero(folder, tmp_path):
    id_map = load_vcpi(folder, design_only=True).id_map
    path = tmp_path / "sub.parquet"
    y_pred = np.ones((3, 5))
    y_pred[1, 2] = -0.5
    with pytest.warns(UserWarning, match="1 of 15 predictions are below 0"):
        write_vcpi_submission(path, y_pred, id_map, GENES)
    assert pd.read_parquet(path)["predicted_expression"].min() == 0


def test_design_of_the_contest(shared_data, tmp_path):
    screen = load_vcpi(shared_data("vcpi_2026_design"), design_only=True)
    assert (len(screen.X_test), len(screen.target_names)) == (1064, 12_995)
    assert screen.X_test["smiles"].notna().all()
    assert screen.X_test["cell_line"].unique().tolist() == ["THP-1"]
    genes = screen.target_names[:20]
    path = tmp_path / "sub.parquet"
    write_vcpi_submission(path, np.zeros((1064, 20)), screen.id_map, genes)
    table = pd.read_parquet(path, columns=["compound"])["compound"]
    assert table.iloc[::20].tolist() == screen.X_test.index.tolist()
