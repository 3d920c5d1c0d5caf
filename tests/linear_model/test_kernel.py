"""The closed forms against what they stand for."""

import numpy as np
import pytest

from sklperturb.linear_model._kernel import (
    LinearKernel,
    context_similarity,
    groups_by_part,
    loo_correction,
    loo_kernel_ridge,
)

ALPHAS = [0.01, 0.3, 3.0, 100.0]


def left_out_rmse(kernel, targets, alpha):
    """Refit without each row in turn and return the mean error of that row."""
    errors = []
    for row in range(len(kernel)):
        rest = np.delete(np.arange(len(kernel)), row)
        penalised = kernel[np.ix_(rest, rest)] + alpha * np.eye(len(rest))
        y_pred = kernel[row, rest] @ np.linalg.solve(penalised, targets[rest])
        errors.append(np.linalg.norm(targets[row] - y_pred))
    return np.mean(errors)


@pytest.mark.parametrize("rank", [3, 25])
@pytest.mark.parametrize("noise", [0.1, 3.0])
def test_leave_one_out_is_that_of_refits(rank, noise):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(25, rank))
    kernel = features @ features.T
    targets = features @ rng.normal(size=(rank, 6)) + noise * rng.normal(size=(25, 6))
    expected = [left_out_rmse(kernel, targets, alpha) for alpha in ALPHAS]
    for alpha, error in zip(ALPHAS, expected, strict=True):
        score, chosen, dual_coef = loo_kernel_ridge(kernel, targets, [alpha])
        assert chosen == alpha
        assert score == pytest.approx(error)
        solved = np.linalg.solve(kernel + alpha * np.eye(25), targets)
        np.testing.assert_allclose(dual_coef, solved, atol=1e-8)
    score, chosen, _ = loo_kernel_ridge(kernel, targets, ALPHAS)
    assert score == pytest.approx(min(expected))
    assert chosen == ALPHAS[int(np.argmin(expected))]


@pytest.mark.parametrize("rank", [3, 24, 25, 40])
@pytest.mark.parametrize("grouped", [False, True])
def test_fewer_features_than_rows_give_what_the_kernel_gives(rank, grouped):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(25, rank))
    features[:, 2] = features[:, 0]  # one direction less
    targets = features @ rng.normal(size=(rank, 6)) + rng.normal(size=(25, 6))
    groups = np.arange(25) // 4 if grouped else None
    kernel = features @ features.T
    for alpha in ALPHAS:
        expected = loo_kernel_ridge(kernel, targets, [alpha], groups)
        found = loo_kernel_ridge(LinearKernel(features), targets, [alpha], groups)
        assert found[0] == pytest.approx(expected[0], rel=1e-9)
        np.testing.assert_allclose(found[2], expected[2], rtol=1e-7, atol=1e-9)


def test_a_correction_that_its_own_group_vouches_for_is_left_out():
    """Rows of a group are twins: left out alone, each is told by the other."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 2)
    noise = rng.normal(size=(8, 30))[groups]
    features = rng.normal(size=(8, 20))[groups]
    kernel = features @ features.T
    alpha = loo_kernel_ridge(kernel, noise, ALPHAS)[1]
    assert alpha < 100
    alpha, dual_coef = loo_correction(kernel, noise, ALPHAS, groups)
    assert alpha == np.inf and not dual_coef.any()
    kernel += 30 * np.ones_like(kernel)
    signal = 5 + 0.1 * noise
    expected = loo_kernel_ridge(kernel, signal, ALPHAS)
    alpha, dual_coef = loo_correction(kernel, signal, ALPHAS, groups)
    assert alpha == expected[1]
    np.testing.assert_array_equal(dual_coef, expected[2])


def test_one_group_gives_no_correction():
    ones = np.ones((3, 3))
    assert loo_correction(ones, ones, ALPHAS, np.zeros(3, int))[0] == np.inf


def naive_similarity(context, perturbation, targets, n_contexts, min_shared):
    def response(c, p):
        rows = (context == c) & (perturbation == p)
        return targets[rows].mean(axis=0) if rows.any() else None

    found, known = np.eye(n_contexts), []
    for i in range(n_contexts):
        for j in range(i):
            pairs = [(response(i, p), response(j, p)) for p in set(perturbation)]
            pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
            found[i, j] = found[j, i] = np.nan
            if len(pairs) >= min_shared:
                a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
                cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
                found[i, j] = found[j, i] = cosine
                known.append(cosine)
    found[np.isnan(found)] = np.mean(known) if known else 0.0
    eigenvalues, vectors = np.linalg.eigh(found)
    return (vectors * np.maximum(eigenvalues, 1e-3)) @ vectors.T


@pytest.mark.parametrize("min_shared", [1, 3, 6, 99])
@pytest.mark.parametrize("seed", [0, 1])
def test_similarity_is_that_of_a_plain_loop(min_shared, seed):
    rng = np.random.default_rng(seed)
    context, perturbation = np.divmod(np.arange(60), 12)
    effect = rng.normal(size=(12, 7))[perturbation]
    targets = rng.normal(size=(5, 1))[context] * effect + rng.normal(size=(60, 7))
    kept = rng.random(60) < 0.6
    kept[rng.integers(60, size=10)] = True
    rows = np.concatenate(
        [np.flatnonzero(kept), np.flatnonzero(kept)[:9]]
    )  # replicates
    targets = np.vstack([targets[kept], rng.normal(size=(9, 7))])
    arguments = (context[rows], perturbation[rows], targets, 5)
    found = context_similarity(*arguments, min_shared=min_shared)
    expected = naive_similarity(*arguments, min_shared)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert np.linalg.eigvalsh(found).min() > 0


def test_similar_contexts_are_found():
    rng = np.random.default_rng(0)
    context, perturbation = np.divmod(np.arange(45), 15)
    effects = rng.normal(size=(2, 15, 40))
    targets = effects[[0, 0, 1]][context, perturbation]  # the first two are twins
    similarity = context_similarity(context, perturbation, targets, 3)
    assert similarity[0, 1] == pytest.approx(1, abs=2e-3)
    assert abs(similarity[0, 2]) < 0.2


def test_groups_by_part():
    parts = [("A",), ("A", "B"), ("B",), ("C", "D"), ("C", "E"), ("C",)] + [("C",)] * 3
    groups = [rows.tolist() for rows in groups_by_part(parts)]
    # C is in more than half of the rows: it is always there.
    assert groups == [[0, 1], [1, 2], [3], [4], [5, 6, 7, 8]]
    assert groups_by_part([("A",), ("B",), ("A",)]) is None


def test_groups_that_overlap_are_left_out_in_turn():
    rng = np.random.RandomState(0)
    points, z = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    kernel, alpha = points @ points.T, 0.3
    groups = [np.array(rows) for rows in ([0, 1, 2], [2, 3], [4], [5, 6])]
    found = []
    loo_kernel_ridge(kernel, z, [alpha], groups, lambda x: found.append(x) or 0.0)
    expected = np.zeros((len(groups), 7, 2))
    for residuals, out in zip(expected, groups, strict=True):
        rest = np.setdiff1d(np.arange(7), out)
        inside = kernel[np.ix_(rest, rest)] + alpha * np.eye(len(rest))
        known = np.linalg.solve(inside, z[rest])
        residuals[out] = z[out] - kernel[np.ix_(out, rest)] @ known
    expected = expected.sum(axis=0)
    expected[2] /= 2  # the only one that is in two groups
    np.testing.assert_allclose(found[0], expected, atol=1e-10)
