"""What is foreseen of units that become known, against models fitted anew."""

import numpy as np
import pytest

from benchmarks.trust.interval_screens import COMPOUND, CONTEXT, FAMILY
from benchmarks.trust.interval_truth import MODELS, SharedLevels, _weighted, error


def screen(n_compounds, family_of):
    """Return codes and responses: effects of compounds and contexts, and noise."""
    rng = np.random.default_rng(0)
    compound, context = np.indices((n_compounds, 3)).reshape(2, -1)
    codes = {COMPOUND: compound, CONTEXT: context, FAMILY: family_of[compound]}
    y = rng.standard_normal((n_compounds, 20))[compound]
    y = y + rng.standard_normal((3, 20))[context]
    return codes, y + 0.5 * rng.standard_normal(y.shape)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("n_relatives", [0, 3, 20])
def test_what_a_compound_that_becomes_known_would_score_is_foreseen(name, n_relatives):
    n = 80
    family = np.arange(n) + 1
    family[: n_relatives + 1] = 0  # compound 0 is the new one
    codes, y = screen(n, family)
    learn = codes[COMPOUND] > 0
    model = SharedLevels(*MODELS[name])
    model.learn({k: v[learn] for k, v in codes.items()}, y[learn], {})
    new = {k: v[~learn][None] for k, v in codes.items()}
    foreseen = model.foresee(COMPOUND, new, y[~learn][None], 2)
    known = learn | (codes[CONTEXT] < 2)
    model.learn({k: v[known] for k, v in codes.items()}, y[known], {})
    asked = {k: v[~known] for k, v in codes.items()}
    assert foreseen[0] == pytest.approx(error(y[~known], model.say(asked)), rel=0.03)


def test_a_weighted_mean_knows_how_well_it_is_known():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 1.5, 40) / 40
    weights /= weights.sum()
    means = [_weighted(rng.standard_normal((40, 1)), weights) for _ in range(400)]
    spread = np.std([truth.mean[0] for truth in means])
    noise = np.mean([truth.of(np.eye(1))[1][0] for truth in means])
    assert noise == pytest.approx(spread, rel=0.1)
