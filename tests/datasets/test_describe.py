"""What a file of cells holds, seen from outside."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sklperturb.datasets import PerturbationSchema, describe_perturbseq
from sklperturb.datasets._describe import _describe_conditions


def write(path, values, labels=None, genes=None, **columns):
    n_cells, n_genes = values.shape
    if labels is None:
        labels = np.resize(["non-targeting", "A", "B"], n_cells)
    obs = pd.DataFrame(
        {"target_gene": labels, **columns}, index=[f"c{i}" for i in range(n_cells)]
    )
    genes = [f"G{i}" for i in range(n_genes)] if genes is None else genes
    cells = anndata.AnnData(values, obs, pd.DataFrame(index=genes))
    write = cells.write_zarr if path.suffix == ".zarr" else cells.write_h5ad
    write(path)
    return path


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    return rng.poisson(1.0, (900, 20)).astype("float32")


@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr")
def test_a_sound_file_has_no_problems(tmp_path, counts, kind):
    values = counts if kind == "dense" else sparse.csr_matrix(counts)
    if kind == "csc":
        values = values.tocsc()
    path = tmp_path / ("cells.zarr" if kind == "zarr" else "cells.h5ad")
    found = describe_perturbseq(write(path, values))
    assert found.problems == []
    assert found.facts["values"] == "raw counts"
    assert found.facts["layout"] == "vcc"
    assert found.facts["cells"] == "900"
    assert found.facts["storage"].startswith("csr" if kind == "zarr" else kind)
    assert found.schema.perturbation == "target_gene"
    assert found.cells_per_perturbation.to_dict() == {"A": 300, "B": 300}


def test_problems_are_named(tmp_path, counts):
    path = tmp_path / "cells.h5ad"

    def problems(*args, **kwargs):
        return " ".join(describe_perturbseq(write(path, *args, **kwargs)).problems)

    assert "1 genes occur more than once" in problems(
        counts, genes=["G"] * 2 + [f"H{i}" for i in range(18)]
    )
    assert "negative values" in problems(counts - 1)
    assert "no logarithms" in problems(counts * 7.3 + 0.5)
    assert "All values looked at are zero" in problems(counts * 0)
    with_nan = counts.copy()
    with_nan[0, 0] = np.nan
    assert "1 of the values looked at are NaN" in problems(with_nan)
    assert "Only 2 cells are controls" in problems(
        counts, ["non-targeting"] * 2 + ["A"] * 898
    )
    assert "No cell is a control" in problems(counts, ["A"] * 900)
    few = ["non-targeting"] * 500 + ["A"] * 395 + ["B"] * 5
    assert "1 perturbations have fewer than 30 cells, such as ['B']" in problems(
        counts, few
    )
    labels = np.resize(["non-targeting", "A"], 900)
    assert "'cell_line' have no controls, such as ['K562']" in problems(
        counts, labels, cell_line=np.resize(["RPE1", "K562"], 900)
    )
    genes = [f"ENSG{i:011d}" for i in range(20)]
    assert "Ensembl identifiers" in problems(counts, genes=genes)
    assert "3 cells have no 'target_gene'" in problems(
        counts, [None] * 3 + ["non-targeting"] * 500 + ["A"] * 397
    )
    log = describe_perturbseq(write(path, np.log1p(counts * 100)))
    assert log.facts["values"].startswith("logarithms")


def test_a_column_with_controls_is_suggested(tmp_path, counts):
    path = write(tmp_path / "cells.h5ad", counts)
    cells = anndata.read_h5ad(path)
    cells.obs = cells.obs.rename(columns={"target_gene": "arm"})
    cells.write_h5ad(path)
    found = describe_perturbseq(path)
    assert found.schema is None
    assert "Column 'arm' may be it: it holds 'non-targeting'" in found.problems[0]


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        describe_perturbseq(tmp_path / "no.h5ad")
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="cannot be read as AnnData"):
        describe_perturbseq(broken)


def test_the_matrix_is_not_read(tmp_path, monkeypatch):
    from anndata._core import sparse_dataset

    rng = np.random.default_rng(0)
    values = sparse.random(20_000, 50, 0.2, format="csr", random_state=rng)
    path = write(tmp_path / "cells.h5ad", values)
    monkeypatch.setattr(
        sparse_dataset.BaseCompressedSparseDataset,
        "to_memory",
        lambda self: pytest.fail("the whole matrix was read"),
    )
    assert describe_perturbseq(path).facts["cells"] == "20000"


def test_schema_names_the_columns(tmp_path, counts):
    stim = np.resize(["none", "IFN", "TNF"], 900)
    path = write(tmp_path / "cells.h5ad", counts, stim=stim)
    schema = PerturbationSchema("stim", control_labels="none")
    found = describe_perturbseq(path, schema=schema)
    assert found.facts["layout"] == "none that is known"
    assert found.cells_per_perturbation.to_dict() == {"IFN": 300, "TNF": 300}
    with pytest.raises(TypeError, match="must be a PerturbationSchema"):
        describe_perturbseq(path, schema="stim")


def test_contexts_may_be_missing(tmp_path, counts):
    lines = np.resize(np.array(["K562", None, "RPE1"], dtype=object), 900)
    labels = np.resize(["non-targeting", "non-targeting", "A", "B"], 900)
    path = write(tmp_path / "cells.h5ad", counts, labels, cell_line=lines)
    found = " ".join(describe_perturbseq(path).problems)
    assert "300 cells have no 'cell_line'" in found
    assert "no controls" not in found


def test_expression_in_a_layer_or_an_embedding(tmp_path, counts):
    path = write(tmp_path / "cells.h5ad", counts)
    cells = anndata.read_h5ad(path)
    cells.layers["raw"] = sparse.csr_matrix(counts)
    cells.obsm["X_state"] = counts[:, :4] - 0.5
    cells.X = None
    cells.write_h5ad(path)
    found = describe_perturbseq(path)
    assert found.facts["values"] == "none"
    assert "There is no X. Pass layer= or obsm=" in found.problems[0]
    found = describe_perturbseq(path, layer="raw")
    assert found.facts["values"] == "raw counts" and found.problems == []
    found = describe_perturbseq(path, obsm="X_state")
    assert found.facts["storage"] == "dense, float32"
    assert "scaled or z-scores" in found.facts["values"]
    with pytest.raises(ValueError, match="no layer 'counts'"):
        describe_perturbseq(path, layer="counts")


def test_the_command_looks_at_the_one_embedding_of_a_file_without_x(tmp_path, cli):
    obs = pd.DataFrame(
        {"target_gene": np.resize(["non-targeting", "A"], 80)}, dtype=str
    )
    points = np.random.default_rng(0).normal(size=(80, 3))
    cells = anndata.AnnData(obs=obs.rename(index=str), obsm={"X_state": points})
    cells.write_h5ad(tmp_path / "embedded.h5ad")
    shown = cli("describe", tmp_path / "embedded.h5ad").stdout
    assert "dense, float64" in shown and "There is no X" not in shown


def problems_of(path, counts, **columns):
    n = len(counts)
    columns = {k: np.resize(np.array(v, dtype=object), n) for k, v in columns.items()}
    labels = columns.pop("target_gene", None)
    found = describe_perturbseq(write(path, counts, labels, **columns))
    return " ".join(found.problems)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"target_gene": ["non-targeting", "NTC", "A"]}, "'NTC' in 300 rows, which"),
        ({"target_gene": ["non-targeting", "nan", "A"]}, "looks like a missing label"),
        ({"target_gene": ["non-targeting", "a", "A"]}, "'A' and 'a'"),
        ({"cell_type": ["B cell", "b cell"]}, "'B cell' and 'b cell'"),
        ({"Cell Type": ["B cell"]}, "'Cell Type' is not read: as context"),
        ({"dose": ["100 ng/ml", "1 uM"]}, "'dose' is left out, since it holds"),
        ({"cell_type": ["T", "U", "U"]}, "1 levels of 'cell_type' have no controls"),
    ],
)
def test_what_loading_warns_of_is_a_problem(tmp_path, counts, columns, said):
    assert said in problems_of(tmp_path / "cells.h5ad", counts, **columns)


def test_missing_contexts_without_controls(tmp_path, counts):
    labels = ["non-targeting", "A", "B", "B"]
    lines = ["T", "T", "U", None]
    found = problems_of(
        tmp_path / "cells.h5ad", counts, target_gene=labels, cell_type=lines
    )
    assert "225 cells have no 'cell_type'" in found
    assert "1 levels of 'cell_type' have no controls, such as ['U']" in found


HOSTILE = {
    "numbers": [1.5, np.nan, 2.0],
    "flags": [True, False],
    "categories": pd.Categorical(["a", None, "b"] * 2),
    "whole": pd.Categorical([1, None, 2] * 2),
    "lists": pd.Series([[1], [2], None], dtype=object),
    "dates": pd.to_datetime(["2020-01-01", "2021-01-01", None]),
    "bytes": [b"NTC", b"\xff", b"A"],
    "mixed": pd.Series([1, "1", 1.0, None, b"1", ("a",)], dtype=object),
    "nested": pd.Series([{"a": 1}, {"b": []}], dtype=object),
    "nothing": pd.Series([None] * 3, dtype=object),
    "arrays": pd.Series([np.arange(2), np.arange(3)], dtype=object),
}
ROLES = ["target_gene", "condition", "perturbation", "cell_type", "dose", "control"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("n_cells", [0, 6])
def test_no_column_stops_a_description(role, kind, n_cells):
    """What a file may hold in obs, or what its reader may make of it."""
    values = pd.Series(HOSTILE[kind])
    obs = values.iloc[np.resize(np.arange(len(values)), n_cells)].to_frame(role)
    obs = obs.set_axis([f"c{i}" for i in range(n_cells)])
    if role in ("cell_type", "dose", "control"):
        obs["gene"] = np.resize(["NTC", "A"], n_cells).astype(object)
    for table in (
        obs,
        obs.assign(**{"1": 1}),
        obs.set_axis(range(obs.shape[1]), axis=1),
    ):
        facts, problems = {}, []
        schema, sizes = _describe_conditions(table, None, facts, problems)
        assert all(isinstance(problem, str) for problem in problems)
        assert schema is None or isinstance(schema, PerturbationSchema)
        assert sizes.sum() <= n_cells
        assert str(table.columns[0]) in facts["columns"]
    twice = pd.concat([obs, obs], axis=1)
    _describe_conditions(twice, None, {}, problems := [])
    assert "more than once" in problems[0]


def test_a_schema_that_does_not_fit_is_a_problem(tmp_path, counts):
    path = write(tmp_path / "cells.h5ad", counts, dose=["high"] * 900)
    schema = PerturbationSchema("target_gene", dose="dose")
    found = describe_perturbseq(path, schema=schema)
    assert found.schema is None
    assert "Column 'dose' is named as the dose" in found.problems[-1]
