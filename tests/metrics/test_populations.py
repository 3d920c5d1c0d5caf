import sys

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.spatial.distance import cdist, pdist
from sklearn.datasets import make_blobs

from sklperturb.metrics import (
    energy_distance,
    maximum_mean_discrepancy,
    population_scores,
    sinkhorn_divergence,
    sliced_wasserstein_distance,
    variance_ratio,
    wasserstein_distance,
)


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 5)), rng.normal(0.5, 2, size=(45, 5))


def test_energy_distance_is_that_of_all_pairs(cells):
    x, y = cells
    within = (2 * pdist(x).sum() / 60**2, 2 * pdist(y).sum() / 45**2)
    expected = 2 * cdist(x, y).mean() - sum(within)
    assert energy_distance(x, y) == pytest.approx(expected, abs=1e-12)
    within = pdist(x).mean() + pdist(y).mean()
    expected = 2 * cdist(x, y).mean() - within
    assert energy_distance(x, y, unbiased=True) == pytest.approx(expected, abs=1e-12)


def test_energy_distance_on_a_line_is_scipys(cells):
    x, y = cells[0][:, :1], cells[1][:, :1]
    expected = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert energy_distance(x, y) == pytest.approx(expected)


def test_mmd_is_that_of_all_pairs(cells):
    x, y = cells
    sigma = np.median(pdist(x))

    def kernel(a, b):
        return np.exp(-(cdist(a, b) ** 2) / (2 * sigma**2))

    expected = kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()
    assert maximum_mean_discrepancy(x, y) == pytest.approx(expected, abs=1e-12)
    n, m = len(x), len(y)
    expected += (kernel(x, x).sum() - n) / (n * (n - 1)) - kernel(x, x).mean()
    expected += (kernel(y, y).sum() - m) / (m * (m - 1)) - kernel(y, y).mean()
    found = maximum_mean_discrepancy(x, y, unbiased=True)
    assert found == pytest.approx(expected, abs=1e-12)


def test_random_features_approach_the_kernel(cells):
    exact = maximum_mean_discrepancy(*cells)
    near = maximum_mean_discrepancy(*cells, n_random_features=20_000)
    assert near == pytest.approx(exact, rel=0.05)


def test_a_wide_prediction_does_not_soften_the_kernel(cells):
    x, y = cells
    assert maximum_mean_discrepancy(x, 50 * y) > maximum_mean_discrepancy(x, 3 * y)


@pytest.mark.parametrize("n_predicted", [60, 45])
def test_one_dimensional_sliced_distance_is_scipys(cells, n_predicted):
    x, y = cells[0][:, 0], np.resize(cells[1][:, 0], n_predicted)
    found = sliced_wasserstein_distance(x[:, None], y[:, None], p=1)
    assert found == pytest.approx(stats.wasserstein_distance(x, y))


def test_sliced_distance_of_a_shift():
    x = np.random.default_rng(0).normal(size=(50, 4))
    shift = np.array([3.0, 0, 0, 0])
    found = sliced_wasserstein_distance(x, x + shift, n_projections=5000)
    # The mean square of one coordinate of a unit vector in 4 dimensions is 1/4.
    assert found == pytest.approx(1.5, rel=0.03)


def test_transport_by_hand():
    pytest.importorskip("ot")
    x, y = [[0.0, 0.0], [0.0, 4.0]], [[3.0, 4.0], [3.0, 0.0]]
    assert wasserstein_distance(x, y) == pytest.approx(3.0)
    assert wasserstein_distance(x, y, p=1) == pytest.approx(3.0)
    blobs, _ = make_blobs(80, 3, centers=1, random_state=0)
    assert sinkhorn_divergence(blobs, blobs) == pytest.approx(0, abs=1e-9)
    assert sinkhorn_divergence(blobs, blobs + 2) == pytest.approx(12, rel=1e-3)


def test_transport_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"sklperturb\[transport\]"):
        wasserstein_distance([[0.0]], [[1.0]])


def test_large_populations_are_sub_sampled_in_a_repeatable_way():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5000, 3)), rng.normal(size=(5000, 3))
    first = energy_distance(x, y, max_cells=300)
    assert first == energy_distance(x, y, max_cells=300)
    assert first != energy_distance(x, y, max_cells=300, random_state=1)
    state = np.random.get_state()[1].copy()
    energy_distance(x, y, max_cells=300)
    assert (np.random.get_state()[1] == state).all()


def test_sparse_and_annotated_cells_score_as_dense(cells):
    anndata = pytest.importorskip("anndata")
    x, y = (np.maximum(side, 0) for side in cells)
    expected = energy_distance(x, y)
    assert energy_distance(sparse.csc_matrix(x), sparse.csr_array(y)) == expected
    assert energy_distance(anndata.AnnData(x), y) == expected


def test_scores_by_condition(cells):
    x, y = cells
    names = np.array(["b", "a"] * 30)
    names_pred = np.array(["a"] * 20 + ["b"] * 25)
    table = population_scores(
        x,
        y,
        conditions=names,
        conditions_pred=names_pred,
        metrics=["energy", variance_ratio],
    )
    assert list(table.index) == ["a", "b"]
    assert list(table.columns) == ["energy", "variance_ratio"]
    expected = energy_distance(x[names == "b"], y[names_pred == "b"])
    assert table.loc["b", "energy"] == expected


def test_equal_predicted_cells_have_no_variance(cells):
    assert variance_ratio(cells[0], np.ones((3, 5))) == 0
    assert np.isnan(variance_ratio(np.ones((3, 5)), cells[0]))


@pytest.mark.parametrize(
    ("x", "y", "options", "match"),
    [
        ([[1.0]], [[1.0, 2.0]], {}, "1 features and y_pred has 2"),
        (np.empty((0, 2)), [[1.0, 2.0]], {}, r"0 sample\(s\)"),
        ([[np.nan]], [[1.0]], {}, "y_true contains NaN"),
        ([[1.0]], [[2.0]], {"unbiased": True}, "two cells"),
        ([[1.0]], [[2.0]], {"max_cells": 1}, "'max_cells' .*Got 1 instead"),
    ],
)
def test_bad_populations(x, y, options, match):
    with pytest.raises(ValueError, match=match):
        energy_distance(x, y, **options)


def test_other_bad_input(cells):
    with pytest.raises(ValueError, match="median distance"):
        maximum_mean_discrepancy(np.ones((4, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"'bandwidth' .*Got 0 instead"):
        maximum_mean_discrepancy(*cells, bandwidth=0)
    with pytest.raises(ValueError, match=r"'p' .*Got 0\.5 instead"):
        sliced_wasserstein_distance(*cells, p=0.5)
    x = cells[0]
    with pytest.raises(ValueError, match="1 only in y_true, such as \\['c'\\]"):
        population_scores(
            x[:3],
            x[:2],
            conditions=["a", "b", "c"],
            conditions_pred=["a", "b"],
        )
    with pytest.raises(ValueError, match="'energie' is not known"):
        population_scores(x[:1], x[:1], conditions=["a"], metrics=["energie"])
    with pytest.raises(ValueError, match="each of the 60 cells"):
        population_scores(x, x, conditions=["a"])
