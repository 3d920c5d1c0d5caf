"""How often intervals of effect-size slopes hold the true slope.

    python -m benchmarks.trust.slope_coverage

Perturbations differ in strength, by a lognormal of the spread shown, and each is
predicted too weakly or too strongly by a factor of its own, with mean 1: so is the true
slope. The table shows the share of 1,000 draws whose 95 % interval, as
`EffectSizeDisplay.slopes` gives it, holds 1, with its binomial standard error, and for
comparison that of Student's t with one degree of freedom less than perturbations.
"""

import argparse

import numpy as np
import pandas as pd
from scipy.stats import t as student

from benchmarks._output import show
from sklperturb.inspection import EffectSizeDisplay

N_GENES = 50


def draw(n_perturbations, spread, rng):
    """Return the rows of a display."""
    strength = np.exp(rng.normal(0, spread, n_perturbations))
    factor = rng.normal(1.0, 0.4, n_perturbations)
    shape = n_perturbations, N_GENES
    y_pred = strength[:, None] * rng.normal(size=shape)
    y_true = factor[:, None] * y_pred + rng.normal(size=shape)
    predicted = np.sqrt((y_pred**2).mean(axis=1))
    return pd.DataFrame(
        {
            "perturbation": np.arange(n_perturbations),
            "predicted": predicted,
            "aligned": (y_true * y_pred).mean(axis=1) / predicted,
        }
    )


def plain_interval(rows):
    """Return the jackknife interval that counts every perturbation alike."""
    products = rows["predicted"] * rows["aligned"]
    squares = rows["predicted"] ** 2
    without = (products.sum() - products) / (squares.sum() - squares)
    n = len(rows)
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    reach = student.ppf(0.975, n - 1) * error
    slope = products.sum() / squares.sum()
    return slope - reach, slope + reach


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    n_draws = parser.parse_args().draws
    table = []
    for n_perturbations in (4, 10, 30, 100):
        for spread in (0.3, 1.0, 1.5):
            rng = np.random.default_rng(n_perturbations)
            hits = np.zeros(2)
            for _ in range(n_draws):
                rows = draw(n_perturbations, spread, rng)
                found = EffectSizeDisplay(rows=rows).slopes().iloc[0]
                intervals = (found["low"], found["high"]), plain_interval(rows)
                hits += [low <= 1 <= high for low, high in intervals]
            share = hits[0] / n_draws
            table.append(
                {
                    "perturbations": n_perturbations,
                    "spread": spread,
                    "coverage %": 100 * share,
                    "se": 100 * np.sqrt(share * (1 - share) / n_draws),
                    "plain t %": 100 * hits[1] / n_draws,
                }
            )
    show(pd.DataFrame(table).round(1))


if __name__ == "__main__":
    main()
