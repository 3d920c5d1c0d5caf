"""Kernels of what is known of perturbations."""

import numpy as np
import pytest

from sklperturb.linear_model._calibration import Stretch
from sklperturb.linear_model._knowledge import fit_knowledge
from sklperturb.preprocessing._gene_sources import unit_rows


def _screen(n=40, n_genes=30, noise=0.3, seed=0):
    """Return vectors of perturbations in two contexts, their numbers and responses."""
    rng = np.random.RandomState(seed)
    vectors = unit_rows(rng.normal(size=(n, 4)))
    perturbation, context = np.tile(np.arange(n), 2), np.repeat([0, 1], n)
    y = vectors[perturbation] @ rng.normal(size=(4, n_genes))
    y += rng.normal(size=(2, n_genes))[context] + noise * rng.normal(size=y.shape)
    return vectors, perturbation, context, y


def _kernels(vectors, perturbation, context, rows=slice(None)):
    same = (context[rows, None] == context).astype(float)
    return {"context": same}, {
        "sets": vectors[perturbation[rows]] @ vectors[perturbation].T
    }


def _without(fitted, means, kernels, y, out, rows):
    """Return rows as a fit predicts them that has not seen those that are `out`."""
    rest, expected = ~out, []
    for fit, part, band in [(f, *p) for f in fitted.fits for p in _bands(f)]:
        kernel = sum(
            variance * next(iter(given.values()))
            for variance, given in zip(
                fit.variances[band], (means, kernels), strict=True
            )
        )
        z = (y - fitted.centre) @ fit.components[part].T
        dual_coef = np.linalg.solve(
            kernel[np.ix_(rest, rest)] + fit.alphas[band] * np.eye(rest.sum()),
            z[rest],
        )
        expected.append(kernel[np.ix_(rows, rest)] @ dual_coef @ fit.components[part])
    return fitted.centre + sum(expected) / len(fitted.fits)


def test_left_out_predictions_are_those_of_a_fit_without_the_perturbation():
    vectors, perturbation, context, y = _screen()
    means, kernels = _kernels(vectors, perturbation, context)
    fitted = fit_knowledge(means, kernels, y, perturbation, stretch=False)
    assert len(fitted.fits) == 2
    for number in (0, 7):
        out = perturbation == number
        expected = _without(fitted, means, kernels, y, out, np.flatnonzero(out))
        np.testing.assert_allclose(fitted.left_out[out], expected, atol=1e-8)


def test_rows_in_two_groups_are_left_out_with_each():
    vectors, perturbation, context, y = _screen()
    means, kernels = _kernels(vectors, perturbation, context)
    # Each perturbation with the next one: both rows of all are in two groups.
    groups = [np.flatnonzero((perturbation - i) % 40 < 2) for i in range(40)]
    fitted = fit_knowledge(means, kernels, y, perturbation, sharing=groups)
    assert fitted.stretch == Stretch()  # the groups prove nothing, since they overlap
    rows, found = np.flatnonzero(perturbation == 7), []
    for group in (groups[6], groups[7]):
        out = np.isin(np.arange(len(y)), group)
        found.append(_without(fitted, means, kernels, y, out, rows))
    np.testing.assert_allclose(fitted.left_out[rows], sum(found) / 2, atol=1e-8)


def _bands(fit):
    return [(part, band) for band, part in enumerate(fit.parts)]


def test_predicts_new_perturbations_and_says_nothing_of_those_not_known():
    vectors, perturbation, context, y = _screen(60)
    seen = perturbation < 40
    means, kernels = _kernels(vectors, perturbation, context)
    train = {name: K[np.ix_(seen, seen)] for name, K in kernels.items()}
    cross = {name: K[np.ix_(~seen, seen)] for name, K in kernels.items()}
    of_means = {name: K[np.ix_(seen, seen)] for name, K in means.items()}
    new_means = {name: K[np.ix_(~seen, seen)] for name, K in means.items()}
    fitted = fit_knowledge(of_means, train, y[seen], perturbation[seen])
    y_pred = fitted.predict(new_means, cross)
    typical = np.array([y[seen & (context == c)].mean(axis=0) for c in context[~seen]])
    assert (
        np.square(y[~seen] - y_pred).mean() < 0.5 * np.square(y[~seen] - typical).mean()
    )
    plain = fit_knowledge(of_means, train, y[seen], perturbation[seen], stretch=False)
    coefs = plain.coefs(["context", "sets"])
    parts = [(new_means | cross)[name] @ coefs[name] for name in coefs]
    np.testing.assert_allclose(
        plain.predict(new_means, cross), plain.centre + sum(parts)
    )
    nothing = fitted.predict(new_means, {"sets": np.zeros_like(cross["sets"])})
    assert np.ptp(nothing[context[~seen] == 0], axis=0).max() < 1e-12


def test_noise_for_knowledge_is_given_no_weight():
    _, perturbation, context, y = _screen(noise=1.0)
    rng = np.random.RandomState(1)
    vectors = unit_rows(rng.normal(size=(40, 30)))
    means, kernels = _kernels(vectors, perturbation, context)
    fitted = fit_knowledge(means, kernels, rng.normal(size=y.shape), perturbation)
    y_pred = fitted.predict(means, kernels)
    assert np.square(y_pred).mean() < 0.1


@pytest.mark.parametrize("factor", [1.0, 50.0])
def test_unit_of_the_responses_does_not_matter(factor):
    vectors, perturbation, context, y = _screen()
    given = _kernels(vectors, perturbation, context)
    left_out = fit_knowledge(*given, y, perturbation).left_out
    scaled = fit_knowledge(*given, factor * y, perturbation).left_out
    np.testing.assert_allclose(scaled, factor * left_out, rtol=1e-3, atol=1e-3 * factor)
