"""One way to read cells, however they are kept."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sklperturb.cells import (
    log_normalise,
    looks_like_counts,
    mean_by_group,
    open_cells,
    sum_by_group,
)
from sklperturb.cells._blocks import sample_places, to_dense
from sklperturb.cells._counts import value_kind, whole_counts
from sklperturb.compose import PerturbationEffectRegressor
from sklperturb.datasets import load_perturbseq
from sklperturb.flow import CountSpace
from sklperturb.metrics import energy_distance
from sklperturb.preprocessing import ExpressionGeneEmbedding, GeneSetEncoder
from sklperturb.signatures import pseudobulk

STORAGES = {
    "dense": np.asarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
}


@pytest.fixture
def values():
    return np.random.default_rng(0).poisson(1.0, (60, 9)).astype(np.float32)


def annotate(values, n_unassigned=0):
    labels = np.resize(["non-targeting", "A", "B", "C"], values.shape[0]).astype(object)
    labels[:n_unassigned] = None
    obs = pd.DataFrame({"target_gene": labels})
    obs.index = [f"c{i}" for i in range(values.shape[0])]
    var = pd.DataFrame(index=[f"G{i}" for i in range(values.shape[1])])
    return anndata.AnnData(values, obs, var)


def keepers(values, folder, storage):
    """Yield what holds the cells, however that is."""
    cells = annotate(STORAGES[storage](values))
    yield cells.X
    yield cells
    yield cells[:, :]
    path = folder / "cells.h5ad"
    cells.write_h5ad(path)
    yield str(path)
    yield anndata.read_h5ad(path, backed="r")
    cells.write_zarr(folder / "cells.zarr")
    yield folder / "cells.zarr"


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.filterwarnings("ignore:Writing zarr", "ignore:.*stored by columns")
def test_all_that_holds_cells_reads_alike(values, tmp_path, storage):
    codes = np.resize([0, 1, -1, 2], 60)
    expected = np.vstack([values[codes == group].sum(axis=0) for group in range(3)])
    for held in keepers(values, tmp_path, storage):
        with open_cells(held) as cells:
            assert cells.shape == (60, 9)
            blocks = [to_dense(block) for _, block in cells.blocks(7)]
            np.testing.assert_array_equal(np.vstack(blocks), values)
            some = np.array([40, 3, 3, 17])
            np.testing.assert_array_equal(to_dense(cells.rows(some)), values[some])
            assert len(cells.rows(np.array([], int)).shape) == 2
        sums = sum_by_group(held, codes, 3, chunk_size=8)
        np.testing.assert_array_equal(sums, expected)
        assert looks_like_counts(held)


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_a_subset_of_a_backed_file_is_read_everywhere(values, tmp_path, storage):
    whole = annotate(STORAGES[storage](values))
    whole.write_h5ad(tmp_path / "cells.h5ad")
    rows = np.random.default_rng(1).permutation(60)[:44]
    genes = [f"G{i}" for i in (7, 2, 3, 5)]
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for columns in (slice(None), genes):
        view, memory = backed[rows, columns], whole[rows, columns].copy()
        with open_cells(view) as cells:
            np.testing.assert_array_equal(
                to_dense(cells.rows(np.array([5, 0]))), to_dense(memory.X)[[5, 0]]
            )
            assert list(cells.genes) == list(memory.var_names)
        found = pseudobulk(view, "target_gene")
        np.testing.assert_array_equal(found.X, pseudobulk(memory, "target_gene").X)
        assert energy_distance(view, memory) == pytest.approx(0, abs=1e-6)
        X = memory.obs.astype(str)
        for fit in (
            lambda y, X=X: (
                PerturbationEffectRegressor(target_sum=9.0).fit(X, y).effects_
            ),
            lambda y: CountSpace(2).fit(y).components_,
            lambda y, X=X: (
                ExpressionGeneEmbedding(2, target_sum=9.0, random_state=0)
                .fit(X, y)
                .embedding_
            ),
        ):
            np.testing.assert_allclose(fit(view), fit(memory), atol=1e-6)


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr")
def test_backed_cells_go_through_nested_cross_validation(values, tmp_path, suffix):
    cells = annotate(sparse.csr_matrix(values), n_unassigned=3)
    path = tmp_path / f"cells{suffix}"
    (cells.write_h5ad if suffix == ".h5ad" else cells.write_zarr)(path)
    sets = {"s": ["A", "B"], "t": ["B", "C"]}
    scores = []
    for backed in (True, False):
        screen = load_perturbseq(path, backed=backed, drop_unassigned=True)
        assert screen.y.n_obs == 57
        encoder = GeneSetEncoder(sets, n_components=1, min_size=1, schema=screen.schema)
        model = PerturbationEffectRegressor(
            make_pipeline(encoder, Ridge()), target_sum=10.0, schema=screen.schema
        )
        search = GridSearchCV(
            model, {"match_batch": [False]}, cv=2, scoring=_error, error_score="raise"
        )
        scores.append(
            cross_val_score(
                search, screen.X, screen.y, cv=2, scoring=_error, error_score="raise"
            )
        )
    np.testing.assert_allclose(*scores)
    assert np.isfinite(scores[0]).all()


def _error(model, X, y):
    truth = log_normalise(to_dense(open_cells(y).rows(slice(None))), 10.0)
    return -np.square(model.predict(X) - truth).mean()


def test_a_backed_anndata_that_is_given_can_be_sliced_again(values, tmp_path):
    annotate(values, n_unassigned=2).write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for given, first in ((backed, 2), (backed[1:], 2)):
        y = load_perturbseq(given, drop_unassigned=True).y
        np.testing.assert_array_equal(y[[4, 0]][[1]].X, values[[first]])


def test_a_backed_anndata_without_x_is_read_from_a_layer(values, tmp_path):
    cells = annotate(values)
    cells.layers["counts"], cells.X = values, None
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    screen = load_perturbseq(backed[5:], layer="counts")
    np.testing.assert_array_equal(screen.y.X, values[5:])


def test_layers_and_embeddings_stand_in_for_x(values, tmp_path):
    cells = annotate(values)
    cells.layers["counts"] = sparse.csr_matrix(values)
    cells.obsm["X_state"] = values[:, :4] - 1
    cells.obsm["table"] = pd.DataFrame(values[:, :2], cells.obs_names, ["a", "b"])
    cells.X = None
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    for held, expected in (
        (cells, values),
        (path, values),
        (anndata.read_h5ad(path, backed="r"), values),
        (cells[10:], values[10:]),
    ):
        for options, columns, wanted in (
            ({"layer": "counts"}, [f"G{i}" for i in range(9)], expected),
            (
                {"obsm": "X_state"},
                [f"X_state{i}" for i in range(4)],
                expected[:, :4] - 1,
            ),
            ({"obsm": "table"}, ["a", "b"], expected[:, :2]),
        ):
            with open_cells(held, **options) as opened:
                assert list(opened.genes) == columns
                found = to_dense(opened.rows(slice(None)))
            np.testing.assert_array_equal(found, wanted)
        with pytest.raises(ValueError, match=r"no X\. Pass layer= or obsm=.*counts"):
            open_cells(held)
        with pytest.raises(ValueError, match=r"no layer 'raw'; it has \['counts'\]"):
            open_cells(held, layer="raw")
        with pytest.raises(ValueError, match="pass one of them"):
            open_cells(held, layer="counts", obsm="X_state")
    for backed in (True, False):
        with pytest.raises(ValueError, match="has no X"):
            load_perturbseq(path, backed=backed)
        screen = load_perturbseq(path, layer="counts", backed=backed)
        assert looks_like_counts(screen.y) and screen.target_names[0] == "G0"
        screen = load_perturbseq(path, obsm="X_state", backed=backed)
        np.testing.assert_array_equal(
            to_dense(open_cells(screen.y).rows(slice(2, 4))), values[2:4, :4] - 1
        )
        assert screen.target_names == [f"X_state{i}" for i in range(4)]


def test_a_file_stored_by_columns_is_read_whole_with_a_warning(values, tmp_path):
    annotate(sparse.csc_matrix(values)).write_h5ad(tmp_path / "cells.h5ad")
    with (
        open_cells(tmp_path / "cells.h5ad") as cells,
        pytest.warns(UserWarning, match="cells.h5ad is stored by columns"),
    ):
        cells.rows(slice(0, 3))


def test_old_and_foreign_files_are_named(values, tmp_path):
    import h5py

    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["X"], file["obs"] = values, np.zeros(60, dtype=[("index", "S3")])
    with pytest.raises(ValueError, match=r"no obs of anndata 0\.7 or later"):
        open_cells(tmp_path / "old.h5ad")
    with h5py.File(tmp_path / "none.h5ad", "w") as file:
        file["matrix"] = values
    with pytest.raises(ValueError, match=r"no obs of .*; it holds \['matrix'\]"):
        open_cells(tmp_path / "none.h5ad")
    with pytest.raises(TypeError, match="must be an AnnData or the path"):
        _ = open_cells(values).obs


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([[0, 2.0], [1, 0]], "counts"),
        ([[0, 1.0], [1, 0]], "binary"),
        ([[0, 0.0]], "zeros"),
        ([[0.5, 2.0]], "log1p"),
        ([[0.5, 200.0]], "normalised"),
        ([[-1.0, 2.0]], "signed"),
        ([[np.nan, 2.0]], "invalid"),
    ],
)
def test_what_values_are(cells, kind):
    for make in (np.array, sparse.csr_array):
        assert value_kind(make(cells)) == kind
        assert looks_like_counts(make(cells)) == (kind == "counts")


def test_evenly_spread_places_are_looked_at(values):
    sample, whole = sample_places(values, n_places=4, n_rows=2)
    np.testing.assert_array_equal(sample, values[[0, 1, 19, 20, 38, 39, 58, 59]])
    assert whole
    np.testing.assert_array_equal(sample_places(values)[0], values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_come_back_from_their_logarithms(values, dtype):
    values[:, 0] = 1  # so that the counts of no cell have a common factor
    values[3] = 0
    values[4, :3] = [2, 3, 5]
    values[5, :2] = [1, 40_000]
    for target in (1e4, 1e6):
        counts, found = whole_counts(log_normalise(values, target).astype(dtype))
        assert found.all()
        expected = values.copy()
        np.testing.assert_array_equal(counts.toarray(), expected)
    _, found = whole_counts(np.sqrt(np.arange(30.0)).reshape(2, 15))
    assert not found.any()


def test_means_are_of_groups_and_finite(values):
    codes = np.resize([0, 2, -1], 60)
    means, sizes = mean_by_group(values, codes, 3, target_sum=10.0)
    logs = log_normalise(values, 10.0)
    np.testing.assert_allclose(means[2], logs[codes == 2].mean(axis=0))
    assert sizes.tolist() == [20, 0, 20] and not means[1].any()
    values[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        mean_by_group(values, codes, 3)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil"])
def test_any_sparse_matrix_is_normalised(kind):
    counts = np.array([[1.0, 3.0], [0.0, 2.0], [5.0, 5.0]])
    found = log_normalise(sparse.coo_array(counts).asformat(kind), 10)
    np.testing.assert_allclose(found.toarray(), log_normalise(counts, 10))


def test_what_is_open_has_its_matrix_chosen():
    with pytest.raises(ValueError, match="open already: layer='raw'"):
        open_cells(open_cells(np.eye(3)), layer="raw")
