"""Controls of the same context and batch, displaced by the predicted change."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from sklperturb.baseline import NoChangeRegressor
from sklperturb.compose import DisplacedControlsRegressor, PerturbationEffectRegressor


@pytest.fixture(scope="module")
def cells():
    """Two lines of two batches each, far from each other, and two perturbations."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        [
            (gene, line, f"{line}{batch}")
            for line in ("K562", "RPE1")
            for batch in (1, 2)
            for gene in ("control", "KLF1", "MYC")
            for _ in range(20)
        ],
        columns=["target_gene", "cell_line", "batch"],
    )
    y = rng.normal(size=(len(X), 3))
    y[:, 0] += 100 * (X["cell_line"] == "RPE1")
    y[:, 1] += 10 * X["batch"].str.endswith("2")
    y[X["target_gene"] == "KLF1", 2] += 5
    return X, y


def test_a_sample_is_a_control_plus_the_change(cells):
    X, y = cells
    model = DisplacedControlsRegressor().fit(X, y)
    change = model.predict(X) - DisplacedControlsRegressor(NoChangeRegressor()).fit(
        X, y
    ).predict(X)
    drawn = model.sample(X, 5)
    assert drawn.shape == (len(X), 5, 3)
    controls = (X["target_gene"] == "control").to_numpy()
    for batch, rows in X.groupby("batch").indices.items():
        own = y[controls & (X["batch"] == batch)]
        start = (drawn[rows] - change[rows, None]).reshape(-1, 3)
        nearest = np.abs(start[:, None] - own[None]).max(axis=2).min(axis=1)
        assert nearest.max() < 1e-8  # each is a control of its own batch
    np.testing.assert_allclose(
        drawn[controls].mean(axis=(0, 1)), y[controls].mean(axis=0), atol=0.5
    )


def test_means_are_those_of_the_wrapped_model(cells):
    X, y = cells
    means = PerturbationEffectRegressor().fit(X, y).predict(X)
    model = DisplacedControlsRegressor().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), means)
    for batch, rows in X.groupby("batch").indices.items():
        del batch
        found = model.sample(X.iloc[rows], 40).mean(axis=(0, 1))
        # Batches keep their own offset, around the mean of the line.
        assert abs(found[0] - means[rows, 0].mean()) < 0.5


@pytest.mark.parametrize("match_batch", [False, True])
def test_a_batch_is_not_counted_twice(cells, match_batch):
    X, y = cells
    model = DisplacedControlsRegressor(match_batch=match_batch).fit(X, y)
    rows = (X["batch"] == "RPE12") & (X["target_gene"] == "KLF1")
    drawn = model.sample(X[rows], 20).mean(axis=(0, 1))
    np.testing.assert_allclose(drawn[:2], [100, 10], atol=0.7)


def test_one_condition_gets_each_control_once(cells):
    X, y = cells
    model = DisplacedControlsRegressor(NoChangeRegressor()).fit(X, y)
    rows = X.index[(X["batch"] == "K5621") & (X["target_gene"] == "MYC")]
    drawn = model.sample(X.loc[rows], 1)[:, 0]
    assert len(np.unique(drawn, axis=0)) == 20
    again = model.sample(X.loc[rows], 1, random_state=1)[:, 0]
    assert not np.array_equal(drawn, again)
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(again, axis=0))


def test_unknown_batches_and_lines_get_the_nearest_controls(cells):
    X, y = cells
    model = DisplacedControlsRegressor(NoChangeRegressor()).fit(X, y)
    new = pd.DataFrame(
        {"target_gene": ["KLF1"] * 2, "cell_line": ["RPE1", "HEK"], "batch": "new"}
    )
    drawn = model.sample(new, 80).mean(axis=1)
    np.testing.assert_allclose(drawn[:, 0], [100, 50], atol=2)


def test_counts_in_a_file_like_matrix(cells):
    X, _ = cells
    counts = np.random.default_rng(0).poisson(2.0, (len(X), 6))
    y = AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=X.rename(str))
    model = DisplacedControlsRegressor(target_sum=1e4).fit(X, y)
    assert sparse.issparse(model.controls_)
    own = np.expm1(model.controls_.toarray()).sum(axis=1)
    np.testing.assert_allclose(own, 1e4, rtol=1e-3)
    assert model.sample(X[:2], 3).shape == (2, 3, 6)


def test_without_controls_there_are_no_cells():
    X = pd.DataFrame({"target_gene": ["KLF1", "MYC"]})
    model = DisplacedControlsRegressor().fit(X, [[1.0, 2.0], [3.0, 4.0]])
    assert model.predict(X).shape == (2, 2)
    with pytest.raises(ValueError, match="no controls in the training data"):
        model.sample(X)
    with pytest.raises(ValueError, match="'n_cells' parameter"):
        model.sample(X, 0)
