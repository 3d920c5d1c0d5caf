"""Counts of perturbed cells, made of those of controls."""

import numpy as np
import pytest
from scipy import sparse

from sklperturb.cells import perturb_counts
from sklperturb.cells._perturbed import ControlCells, CountRates, log_fold_changes

SIZES = np.random.default_rng(0).uniform(0.5, 2.0, 4000)


def negative_binomial(mean, dispersion, seed):
    rng = np.random.default_rng(seed)
    dispersion = np.broadcast_to(dispersion, len(mean))
    rates = rng.gamma(1 / dispersion, mean * dispersion, (len(SIZES), len(mean)))
    return rng.poisson(rates * SIZES[:, None])


@pytest.mark.parametrize("ratio", [0.2, 0.7, 1.5, 4.0])
def test_counts_stay_negative_binomial(ratio):
    """Mean, spread and zeros are those of cells that were drawn at the new rates.

    Counts that are multiplied, which have the same mean, keep the zeros of controls.
    """
    mean = np.array([0.05, 0.3, 1.0, 5.0, 20.0, 400.0])
    dispersion = [0.4] * 5 + [1e-4]  # the last gene makes a cell as large as it is
    changed = mean * np.r_[np.full(5, ratio), 1.0]
    controls = negative_binomial(mean, dispersion, seed=1)
    change = np.log(changed / mean)
    rates = CountRates.of(sparse.csr_array(controls))
    # Shares add up to one; here other genes give way to those that rise.
    scale = rates.shares.sum() / (rates.shares @ np.exp(change))
    wanted = negative_binomial(changed * scale, dispersion, seed=2)
    made = perturb_counts(controls, change, random_state=0)
    for gene in range(5):
        one, other = made[:, gene], wanted[:, gene]
        spread = np.sqrt((one.var() + other.var()) / len(SIZES))
        assert abs(one.mean() - other.mean()) < 4 * spread
        zeros = (one == 0).mean(), (other == 0).mean()
        assert abs(zeros[0] - zeros[1]) < 0.03
        assert 0.75 < one.var() / other.var() < 1.33
    # A cell is as large as it was, and is the same cell: what it had tells what it has.
    np.testing.assert_allclose(made.sum(), controls.sum(), rtol=0.02)
    assert np.corrcoef(made[:, 4], controls[:, 4])[0, 1] > 0.6


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csc_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_without_a_change_counts_come_back(kind, dtype):
    counts = negative_binomial(np.array([0.0, 0.1, 3.0]), 1.0, seed=0).astype(dtype)
    rows = [5, 0, 5]
    made = perturb_counts(kind(counts), np.zeros(3), rows, random_state=0)
    assert sparse.issparse(made) == sparse.issparse(kind(counts))
    assert made.dtype == dtype
    made = made.toarray() if sparse.issparse(made) else made
    assert np.array_equal(made, counts[rows])
    # All genes alike is no change of shares.
    assert np.array_equal(perturb_counts(counts, np.full(3, 0.7)), counts)


def test_genes_that_no_control_shows():
    counts = negative_binomial(np.array([10.0, 0.0, 0.0]), 0.2, seed=0)
    made = perturb_counts(counts, np.log([1.0, 2000.0, 1.0]), random_state=0)
    # From half a count in all cells to a thousand, and others stay at none.
    assert 850 < made[:, 1].sum() < 1150
    assert made[:, 2].sum() == 0
    assert np.array_equal(perturb_counts(counts * 0, [1.0, 0, 0]), counts * 0)


def test_seeds_and_rows():
    counts = sparse.csr_array(negative_binomial(np.array([1.0, 3.0]), 0.2, seed=0))
    one, same, other = (
        perturb_counts(counts, [0.5, -0.5], np.arange(100), random_state=s).toarray()
        for s in (0, 0, 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert perturb_counts(counts, [0.5, -0.5], []).shape == (0, 2)


@pytest.mark.parametrize(
    ("counts", "change", "message"),
    [
        ([[0.5, 1.0]], [0.0, 0.0], "whole numbers"),
        ([[-1, 1]], [0.0, 0.0], "whole numbers"),
        ([[1, 1]], [0.0], "must be 2 finite numbers"),
        ([[1, 1]], [0.0, np.nan], "must be 2 finite numbers"),
    ],
)
def test_bad_input(counts, change, message):
    with pytest.raises(ValueError, match=message):
        perturb_counts(np.array(counts), change)


def test_fold_changes_of_logarithms():
    before, after = np.log1p([[2.0, 0.0, 3.0], [4.0, 1.0, 3.0]])
    found = np.exp(log_fold_changes(before, after, 0.01))
    np.testing.assert_allclose(found, [2.0, 101.0, 1.0], rtol=0.01)


def test_a_bounded_sample_of_each_group(monkeypatch):
    monkeypatch.setattr("sklperturb.cells._perturbed._MOST_CELLS", 100)
    counts = sparse.csr_array(negative_binomial(np.array([1.0, 300.0]), 0.2, seed=0))
    groups = np.repeat([1, 0, 2], [1000, 2000, 1000])

    class Opened:
        def rows(self, rows):
            return counts[rows]

    kept = ControlCells.choose(Opened(), np.arange(4000), groups)
    assert np.bincount(groups[kept.places]).tolist() == [50, 25, 25]
    assert kept.counts.dtype == np.uint16
    assert np.array_equal(kept.counts.toarray(), counts[kept.places].toarray())


def test_counts_in_a_narrow_type():
    rng = np.random.default_rng(0)
    controls = rng.negative_binomial(2, 2 / (2 + 40), (400, 5))
    narrow = controls.clip(max=255).astype(np.uint8)
    wide = CountRates.of(sparse.csr_array(narrow.astype(float)))
    found = CountRates.of(sparse.csr_array(narrow))
    assert np.array_equal(found.dispersion, wide.dispersion)
    assert found.dispersion.min() > 0.2
    # Counts that rise above what the type holds do not start again from zero.
    change = np.log([8.0, 1.0, 1.0, 1.0, 1.0])
    cells = perturb_counts(narrow, change, random_state=0)
    expected = perturb_counts(narrow.astype(np.int64), change, random_state=0)
    assert expected.max() > 255
    assert np.array_equal(cells, expected)
