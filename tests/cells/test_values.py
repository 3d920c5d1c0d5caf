"""Values that cannot be, found at the door of everything that reads cells."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sklperturb.cells import looks_like_counts, mean_by_group, open_cells, sum_by_group
from sklperturb.cells._blocks import to_dense
from sklperturb.compose import LatentTargetRegressor, PerturbationEffectRegressor
from sklperturb.datasets import describe_perturbseq, load_perturbseq
from sklperturb.embedding import SECheckpoint, SEEmbedding, embed_file
from sklperturb.evaluation import evaluate_cells, wilcoxon_de
from sklperturb.flow import CellScreenModel, CountSpace, FlowMatchingRegressor
from sklperturb.metrics import energy_distance
from sklperturb.preprocessing import ExpressionGeneEmbedding
from sklperturb.signatures import (
    DifferentialSignatures,
    make_signature_screen,
    pseudobulk,
)

TYPES = ["?", *("i1", "i2", "i4", "i8"), *("u1", "u2", "u4", "u8")]
TYPES += ["f2", "f4", "f8", ">i4", ">f4", ">f8"]
STORAGES = ("dense", "csr", "csc", "h5ad", "zarr", "backed")
N_GENES = 12
pytestmark = pytest.mark.filterwarnings(
    "ignore:Writing zarr",
    "ignore:.*stored by columns",
    "ignore:.*looks like raw counts",
)


def make_values():
    return np.random.default_rng(0).poisson(2.0, (72, N_GENES)).astype(np.float32)


@pytest.fixture
def values():
    return make_values()


@pytest.fixture(scope="module")
def embedding(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "small.ckpt"
    checkpoint = SECheckpoint.create(path, random_state=0)
    genes = [f"GENE{i + 1}" for i in range(N_GENES)]
    return SEEmbedding(
        checkpoint, gene_names=genes, count_scale="raw", device="cpu", random_state=0
    )


def annotate(x):
    n = x.shape[0]
    obs = pd.DataFrame({"target_gene": np.resize(["non-targeting", "A", "B"], n)})
    obs["cell_type"] = np.resize(["T", "T", "T", "U", "U", "U"], n)
    obs["donor"] = np.resize(np.repeat(["1", "2", "3"], 6), n)
    obs.index = [f"c{i}" for i in range(n)]
    return ad.AnnData(x, obs, pd.DataFrame(index=[f"G{i}" for i in range(x.shape[1])]))


def kept(x, storage, folder):
    """Return cells that are kept in some way."""
    if storage in ("dense", "csr", "csc"):
        as_stored = {"dense": np.asarray, "csr": sparse.csr_matrix}
        cells = annotate(x)
        cells.X = as_stored.get(storage, sparse.csc_matrix)(x)
        return cells
    path = folder / f"cells.{'zarr' if storage == 'zarr' else 'h5ad'}"
    cells = annotate(x)
    (cells.write_zarr if storage == "zarr" else cells.write_h5ad)(path)
    return ad.read_h5ad(path, backed="r") if storage == "backed" else path


def conditions(cells):
    screen = load_perturbseq(cells, backed=True)
    return screen.X, screen.y


def fit_flow(cells):
    X, y = conditions(cells)
    flow = FlowMatchingRegressor(max_steps=2, mean_estimator="none", random_state=0)
    model = CellScreenModel(n_components=2, flow=flow).fit(X, y)
    return model.space_.transform(y)


def evaluate(cells, convention="robust"):
    scores = evaluate_cells(
        cells, cells, "target_gene", control="non-targeting", convention=convention
    ).scores
    return scores[["score", "baseline"]].to_numpy()


ENTRIES = {
    "sum_by_group": lambda c: sum_by_group(c, np.resize([0, 1], 72), 2),
    "mean_by_group": lambda c: mean_by_group(c, np.resize([0, 1], 72), 2)[0],
    "scaled means": lambda c: mean_by_group(c, np.resize([0], 72), 1, target_sum=10)[0],
    "pseudobulk": lambda c: pseudobulk(c, "target_gene").X,
    "effects": lambda c: PerturbationEffectRegressor().fit(*conditions(c)).effects_,
    "scaled effects": lambda c: (
        PerturbationEffectRegressor(target_sum=10).fit(*conditions(c)).effects_
    ),
    "count space": lambda c: CountSpace(2).fit(conditions(c)[1]).components_,
    "gene embedding": lambda c: (
        ExpressionGeneEmbedding(2, target_sum=10).fit(*conditions(c)).embedding_
    ),
    "flow": fit_flow,
    "wilcoxon": lambda c: wilcoxon_de(c, "target_gene", control="non-targeting")[
        ["statistic", "p_value"]
    ].to_numpy(),
    "evaluate": evaluate,
    "evaluate counts": lambda c: evaluate(c, "vcc2026"),
    "signatures": lambda c: (
        make_signature_screen(
            c,
            ["cell_type", "target_gene", "donor"],
            control="non-targeting",
            min_cells=1,
            min_count=0,
            hold_out_contexts=["U"],
        ).signatures.X
    ),
}
COUNTS = {"pseudobulk", "scaled means", "scaled effects", "count space", "flow"}
SLOW = {"flow", "evaluate", "evaluate counts", "signatures"}
COUNTS |= {"gene embedding", "evaluate counts", "signatures"}


@pytest.mark.parametrize("entry", ENTRIES)
def test_types_of_numbers_give_the_same(entry, values, tmp_path):
    expected = ENTRIES[entry](annotate(values))
    some = ("u8", ">f4") if entry in SLOW else TYPES[1:]
    for dtype in some:
        x = values.astype(dtype)
        found = ENTRIES[entry](annotate(x))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8, err_msg=dtype)
        if dtype != "f2" and dtype[0] != ">":  # which scipy does not know
            found = ENTRIES[entry](annotate(sparse.csr_matrix(x)))
            np.testing.assert_allclose(
                found, expected, rtol=1e-6, atol=1e-8, err_msg=dtype
            )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a folder of cells in files, which the tests read only."""
    folder = tmp_path_factory.mktemp("written")
    for storage in ("h5ad", "zarr"):
        kept(make_values(), storage, folder)
    return folder


@pytest.mark.parametrize("entry", ENTRIES)
def test_all_ways_to_keep_cells_give_the_same(entry, values, written):
    expected = ENTRIES[entry](annotate(values))
    ways = {storage: kept(values, storage, None) for storage in ("csr", "csc")}
    ways |= {kind: written / f"cells.{kind}" for kind in ("h5ad", "zarr")}
    ways["backed"] = ad.read_h5ad(ways["h5ad"], backed="r")
    assert set(ways) == set(STORAGES[1:])
    for storage in ("csc", "h5ad") if entry in SLOW else ways:
        found = ENTRIES[entry](ways[storage])
        np.testing.assert_allclose(
            found, expected, rtol=1e-6, atol=1e-8, err_msg=storage
        )


# What is read of either kind of file is the same from there on, and zarr takes long.
@pytest.mark.parametrize(
    ("storage", "dtype"),
    [(storage, dtype) for storage in ("h5ad", "backed") for dtype in TYPES]
    + [("zarr", dtype) for dtype in ("?", "i2", "u8", "f2", "f8", ">f4")],
)
def test_files_of_all_types_are_read(values, tmp_path, storage, dtype):
    x = values.astype(dtype)
    cells = kept(x, storage, tmp_path)
    expected = x.astype(float)
    for part in (cells, load_perturbseq(cells, backed=True).y):
        with open_cells(part) as opened:
            np.testing.assert_array_equal(to_dense(opened.rows(slice(None))), expected)
        assert looks_like_counts(part) == (dtype != "?")


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("storage", ["dense", "csr", "h5ad"])
def test_values_that_are_not_finite_are_named(entry, storage, values, tmp_path):
    wrongs = [np.nan] if entry in SLOW else [np.nan, np.inf]
    for wrong in (*wrongs, *[-1.0] * (entry in COUNTS)):
        x = values.copy()
        x[70, 3] = wrong
        with pytest.raises(ValueError, match=r"gene G3|cell c70|'G3'"):
            ENTRIES[entry](kept(x, storage, tmp_path))


def test_tokens(values, embedding, tmp_path):
    embedding.fit(annotate(values))
    expected = embedding.tokenize(annotate(values))
    for dtype in TYPES[1:]:
        found = embedding.tokenize(annotate(values.astype(dtype)))
        np.testing.assert_array_equal(found[0], expected[0], err_msg=dtype)
        np.testing.assert_array_equal(found[1], expected[1], err_msg=dtype)
    for storage in STORAGES[1:]:
        found = embedding.tokenize(kept(values, storage, tmp_path))
        np.testing.assert_array_equal(found[1], expected[1], err_msg=storage)
    for wrong in (-1.0, np.nan):
        values[5, 2] = wrong
        path = kept(values, "h5ad", tmp_path)
        with pytest.raises(ValueError, match="cell c5, gene G2"):
            embed_file(path, tmp_path / "out.h5ad", embedding)
    with pytest.raises(ValueError, match="cell c5, gene G2"):
        embedding.transform(annotate(values))


@pytest.mark.parametrize(
    "entry", ["pseudobulk", "count space", "flow", "wilcoxon", "evaluate", "signatures"]
)
@pytest.mark.filterwarnings("ignore:Variable names")
def test_genes_that_are_named_twice(entry, values):
    cells = annotate(values)
    cells.var_names = ["G0", "G0", *cells.var_names[2:]]
    with pytest.raises(ValueError, match="'G0'"):
        ENTRIES[entry](cells)


@pytest.mark.filterwarnings("ignore:Variable names")
def test_genes_that_are_named_twice_have_no_token(values, embedding):
    cells = annotate(values)
    cells.var_names = ["GENE1", "GENE1", *cells.var_names[2:]]
    with pytest.raises(ValueError, match="'GENE1'"):
        SEEmbedding(embedding.checkpoint, device="cpu").fit(cells)


BROKEN = {
    "large": ("indices", 0, 10**6),
    "negative": ("indices", 0, -5),
    "falls": ("indptr", 3, 10**6),
    "below": ("indptr", 3, -7),
}


def broken(values, kind, fault):
    matrix = kind(values)
    part, place, value = BROKEN[fault]
    getattr(matrix, part)[place] = value
    return matrix


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array])
def test_sparse_matrices_in_memory_are_checked(values, kind, fault):
    cells = annotate(values)
    for entry, read in ENTRIES.items():
        cells.X = broken(values, kind, fault)
        with pytest.raises(ValueError, match="cannot be one"):
            read(cells)
            raise AssertionError(entry)
    matrix = broken(values, kind, fault)
    y = annotate(values)
    y.X = matrix
    for read in (
        lambda: CountSpace(2).fit(matrix),
        lambda: energy_distance(matrix, values),
        lambda: LatentTargetRegressor().fit(np.ones((72, 1)), y),
        lambda: FlowMatchingRegressor().fit(conditions(annotate(values))[0], y),
        lambda: DifferentialSignatures().fit(y),
        lambda: looks_like_counts(matrix),
        lambda: open_cells(y[3:50]),
    ):
        with pytest.raises(ValueError, match="cannot be one"):
            read()


@pytest.mark.parametrize("kind", ["coo", "lil", "dok", "bsr", "dia"])
def test_any_sparse_format_is_read(values, kind):
    matrix = sparse.csr_array(values).asformat(kind)
    with open_cells(matrix) as opened:
        np.testing.assert_array_equal(opened.rows(slice(None)).toarray(), values)
    coo = sparse.coo_array(values)
    coo.col[3] = 400
    with pytest.raises(ValueError, match="outside of the matrix"):
        open_cells(coo)


def test_entries_that_are_stored_twice_are_added():
    twice = sparse.csr_array(([1.0, 2.0, 4.0], [1, 1, 0], [0, 2, 3]), shape=(2, 3))
    with open_cells(twice) as opened:
        found = opened.rows(slice(None))
    np.testing.assert_array_equal(found.data, [3.0, 4.0])
    assert twice.nnz == 3  # which is the user's


def test_numbers_that_are_objects_are_read_and_text_is_not():
    mixed = pd.DataFrame({"a": [1, 2], "b": [True, False]})
    nullable = pd.DataFrame({"a": [1, None]}, dtype="Int64")
    with open_cells(mixed) as opened:
        assert opened.rows(slice(None)).tolist() == [[1.0, 1.0], [2.0, 0.0]]
    with open_cells(nullable) as opened:
        np.testing.assert_array_equal(opened.rows(slice(None)), [[1.0], [np.nan]])
    for wrong in (
        pd.DataFrame({"a": ["1", "2"]}),
        np.array([["x"]]),
        np.ones((2, 2), complex),
        np.array([[1j, 2]], dtype=object),
        np.array([["2020-01-01"]], "M8[D]"),
    ):
        with pytest.raises(ValueError, match="real numbers"):
            open_cells(wrong)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_files_without_cells_or_genes(shape, suffix, kind, tmp_path):
    cells = annotate(np.ones(shape, np.float32))
    cells.X = kind(np.ones(shape, np.float32))
    path = tmp_path / f"cells.{suffix}"
    (cells.write_zarr if suffix == "zarr" else cells.write_h5ad)(path)
    with open_cells(path) as opened:
        assert opened.shape == shape
        assert sum(block.shape[0] for _, block in opened.blocks()) == shape[0]
    problems = describe_perturbseq(path).problems
    assert "There are no values of expression." in problems


def test_the_index_may_be_named_as_a_column(values):
    cells = annotate(values)
    expected = {name: ENTRIES[name](cells) for name in ("signatures", "evaluate")}
    for column in ("target_gene", "cell_type"):
        cells.obs.index.name = column
        for name, found in expected.items():
            np.testing.assert_array_equal(ENTRIES[name](cells), found)
        assert len(pseudobulk(cells, [column])) == cells.obs[column].nunique()


def test_counts_that_no_cell_can_have_are_named():
    with open_cells([[1.0, 3e38], [0.0, 2.0]], needs="counts") as cells:
        with pytest.raises(ValueError, match=r"impossibly large values.* gene 1"):
            cells.scan()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, -5.0])
def test_sums_of_what_is_not_allowed_are_refused(wrong):
    """Also where what is wrong cancels in the sum of its group."""
    values = np.ones((6, 4))
    values[1, 2], values[3, 2] = wrong, 5.0 if wrong == -5.0 else -wrong
    cells = ad.AnnData(sparse.csr_matrix(values), obs=pd.DataFrame({"g": ["a"] * 6}))
    with pytest.raises(ValueError, match="the first in cell"):
        pseudobulk(cells, "g")


def test_a_matrix_that_remembers_other_indices_is_refused():
    matrix = sparse.csr_matrix(np.ones((3, 4)))
    assert matrix.has_canonical_format
    matrix.indices[5:7] = 9, 1
    with pytest.raises(ValueError, match="cannot be one"):
        sum_by_group(matrix, np.zeros(3, int), 1)
    matrix.indices[4:8] = 1, 0, 2, 3
    expected = np.asarray(matrix.sum(axis=0))
    assert np.array_equal(sum_by_group(matrix, np.zeros(3, int), 1), expected)
