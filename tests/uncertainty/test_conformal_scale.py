"""The expected size of errors."""

import numpy as np

from sklperturb.uncertainty._conformal_scale import ErrorScale, ResponseStrength


def errors_of(n_units=60, n_genes=200, spread=0.0, seed=0):
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=n_units)
    genes = np.exp(spread * rng.normal(size=n_genes))
    noise = rng.normal(size=(n_units, n_genes))
    return strength, genes, np.exp(strength)[:, None] * genes * noise


def test_rows_and_genes_are_found():
    strength, genes, errors = errors_of(spread=0.7)
    scale = ErrorScale().fit(strength[:, None], errors, np.arange(60))
    found = scale(strength[:, None])
    expected = np.exp(strength)[:, None] * genes
    ratio = np.log(found / expected)
    assert ratio.std() < 0.2
    assert np.log(expected).std() > 1.0


def test_genes_that_do_not_differ_are_shrunken_to_one_scale():
    strength, _, errors = errors_of()
    found = ErrorScale().fit(strength[:, None], errors, np.arange(60)).genes
    raw = np.sqrt(np.mean((errors / np.exp(strength)[:, None]) ** 2, axis=0))
    assert np.log(found).std() < 0.4 * np.log(raw).std()


def test_rows_beyond_what_was_seen_get_the_largest():
    strength, _, errors = errors_of()
    scale = ErrorScale().fit(strength[:, None], errors, np.arange(60))
    far, largest = scale.of_rows(np.array([[50.0], [strength.max()]]))
    assert far < 3 * largest


def test_units_count_once():
    features = np.zeros((40, 1))
    errors = np.ones((40, 3))
    errors[:30] *= 10  # of one unit
    units = np.concatenate([np.zeros(30, int), np.arange(1, 11)])
    size = ErrorScale().fit(features, errors, units).of_rows(features)[0]
    assert size < 2.0


def test_no_error_at_all():
    scale = ErrorScale().fit(np.zeros((5, 2)), np.zeros((5, 3)), np.arange(5))
    assert np.isfinite(scale(np.zeros((1, 2)))).all()


def test_strength_is_of_the_same_perturbation_elsewhere():
    context = np.array([0, 0, 0, 1, 1])
    perturbation = np.array([0, 1, 2, 0, 1])
    y = np.array([[4.0], [1.0], [1.0], [8.0], [2.0]])
    strength = ResponseStrength(context, perturbation, (2, 3), y, 1e-3)
    nothing = np.zeros((4, 1))
    features = strength.features(
        np.array([0, 0, 1, -1]), np.array([0, 1, -1, 0]), nothing, np.zeros(4)
    )
    of_context, of_perturbation, counts = features[:, 1:4].T
    assert of_context[2] > of_context[0]
    assert of_context[3] == np.log(y).mean()
    assert of_perturbation[0] > of_perturbation[1] and of_perturbation[2] == 0
    np.testing.assert_allclose(counts, np.log([3, 3, 1, 3]))
    assert np.isfinite(features).all()


def test_what_hardly_differed_tells_nothing_elsewhere():
    strength, _, errors = errors_of()
    jitter = 1e-4 * np.random.default_rng(1).normal(size=60)
    features = np.column_stack([strength, jitter])
    scale = ErrorScale().fit(features, errors, np.arange(60))
    asked = np.array([[0.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    usual, *others = scale.of_rows(asked)
    assert max(others) < 1.5 * usual and min(others) > usual / 1.5
