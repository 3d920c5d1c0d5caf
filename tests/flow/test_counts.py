"""Counts: into a latent space, and back."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklperturb
from sklperturb.datasets import make_genetic_screen
from sklperturb.flow import CountSpace


@pytest.fixture(scope="module")
def counts():
    return make_genetic_screen(
        12, 150, cells_per_perturbation=60, n_controls=200, depth=2000, random_state=0
    )


@pytest.fixture(scope="module")
def space(counts):
    return CountSpace(10, n_top_genes=100).fit(counts.y)


def dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def test_components_are_those_of_pca(counts):
    space = CountSpace(5).fit(counts.y)
    values = dense(counts.y.X).astype(float)
    logs = np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4)
    expected = PCA(5, svd_solver="full").fit(logs)
    np.testing.assert_allclose(
        np.abs(np.sum(space.components_ * expected.components_, axis=1)), 1, atol=1e-6
    )
    latent = space.transform(counts.y)
    np.testing.assert_allclose(
        space.inverse_transform(latent),
        np.clip(expected.inverse_transform(expected.transform(logs)), 0, 12),
        atol=1e-6,
    )


def test_counts_of_perturbed_cells_are_made_of_controls(counts, space):
    """At the true mean, generated cells are like measured ones, with their controls."""
    measured = dense(counts.y.X)
    labels = counts.X["target_gene"].to_numpy()
    gene = counts.effects.abs().sum(axis=1).idxmax()
    controls = measured[counts.is_control]
    latent = space.transform(counts.y)
    before, after = latent[counts.is_control], latent[labels == gene]
    made = space.perturb_counts(controls, before, after, random_state=0)
    assert np.array_equal(made, np.round(made)) and made.min() >= 0
    truth = measured[labels == gene]
    logs = [np.log1p(1e5 * c.sum(axis=0) / c.sum()) for c in (made, truth, controls)]
    high = controls.mean(axis=0) > 0.1
    error, of_controls = (
        np.sqrt(np.square(one - logs[1])[high].mean()) for one in (logs[0], logs[2])
    )
    assert error < 0.6 * of_controls
    zeros = [(c == 0).mean(axis=0) for c in (made, truth, controls)]
    assert np.abs(zeros[0] - zeros[1]).mean() < np.abs(zeros[2] - zeros[1]).mean()
    np.testing.assert_allclose(made.sum(), controls.sum(), rtol=0.03)
    # The same points are no change, whatever is wrong with the way back.
    same = space.perturb_counts(sparse.csr_array(controls), before, before)
    assert np.array_equal(same.toarray(), controls)


def test_storage_makes_no_difference(counts, space):
    rows = dense(counts.y.X)
    again = CountSpace(10, n_top_genes=100).fit(rows)
    np.testing.assert_allclose(
        again.transform(sparse.csr_array(rows)), space.transform(counts.y), atol=1e-6
    )


def test_bad_counts(counts, space):
    with pytest.raises(ValueError, match="must hold raw counts"):
        CountSpace(5).fit(np.log1p(dense(counts.y.X)))
    with pytest.raises(ValueError, match="n_components=500 must be"):
        CountSpace(500).fit(counts.y)
    with pytest.raises(ValueError, match="'n_components' parameter"):
        CountSpace(0).fit(counts.y)
    with pytest.raises(ValueError, match="feature names should match"):
        space.transform(counts.y[:, :20])
    with pytest.raises(ValueError, match="Feature names must be in the same"):
        space.transform(counts.y[:, ::-1])
    with pytest.raises(ValueError, match="has 20 features, but CountSpace"):
        CountSpace(5).fit(dense(counts.y.X)).transform(dense(counts.y.X)[:, :20])
    with pytest.raises(ValueError, match="has 20 features, but CountSpace"):
        of_array = CountSpace(5).fit(dense(counts.y.X))
        of_array.perturb_counts(dense(counts.y.X)[:, :20], *np.zeros((2, 3, 5)))
    with pytest.raises(ValueError, match="after contains NaN"):
        space.perturb_counts(counts.y, np.zeros((3, 10)), np.full((3, 10), np.nan))


class OfAnyNumbers(CountSpace):
    """Counts of whatever numbers scikit-learn's checks come with."""

    def fit(self, X, y=None):
        return super().fit(as_counts(X), y)

    def transform(self, X):
        return super().transform(as_counts(X))


def as_counts(X):
    """Return numbers as counts; what cannot become numbers is left to the estimator."""
    if sparse.issparse(X):
        X = X.tocsr().copy()
        X.data = np.rint(20 * X.data)
        return X
    values = np.asarray(X)
    if values.dtype == object:
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError):
            return X
    counts = np.rint(20 * values) if values.dtype.kind in "fiu" else values
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame(counts, X.index, X.columns)
    return counts


@parametrize_with_checks([OfAnyNumbers(1)])
def test_scikit_learn(estimator, check):
    check(estimator)


def test_a_transformer_like_others(counts):
    values = pd.DataFrame(dense(counts.y.X), columns=counts.y.var_names)
    space = clone(CountSpace(3)).set_params(n_top_genes=50)
    latent = space.set_output(transform="pandas").fit_transform(values)
    assert list(latent) == ["countspace0", "countspace1", "countspace2"]
    assert space.top_genes_.shape == (50,)
    scaled = make_pipeline(CountSpace(3), StandardScaler()).fit_transform(counts.y)
    np.testing.assert_allclose(scaled.std(axis=0), 1)


def test_state_is_plain_and_complete(counts, space, tmp_path):
    of_array = CountSpace(2).fit(dense(counts.y.X))
    state = {}
    for name, each in {"space": space, "of_array": of_array}.items():
        sklperturb.save(each, tmp_path / f"{name}.skpt")
        state[name] = sklperturb.load(tmp_path / f"{name}.skpt")
    again = state["space"]
    assert again.genes_.equals(space.genes_)
    assert again.get_params() == space.get_params()
    assert list(again.feature_names_in_) == list(counts.y.var_names)
    latent = space.transform(counts.y)
    assert np.array_equal(again.transform(counts.y), latent)
    drawn = (
        s.perturb_counts(counts.y, latent, latent + 0.1, random_state=0)
        for s in (space, again)
    )
    assert np.array_equal(*map(dense, drawn))
    assert state["of_array"].genes_ is None


def test_a_cell_too_large_to_be_read_again_is_refused(counts):
    cells = counts.y[:50].copy()
    cells.X = sparse.csr_array(cells.X, dtype=np.float64)
    cells.X.data[0] = 3e12
    with pytest.raises(ValueError, match=r"has 3e.12 counts"):
        CountSpace(2).fit(cells)
