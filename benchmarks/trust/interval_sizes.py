"""Measure what intervals of `compare` cover with few perturbations, and their widths.

Models learn from screens of the population of `interval_coverage.py`, and score all its
other compounds. Samples of these are given the intervals of `compare`; what they should
cover is the mean over the compounds that are left. Since nothing is fitted to a sample,
there can be many. Widths are those of Student's intervals on the same sample, times so
much: on average, and the widest. Shares are over models or their differences from the
first, with their 95 % interval for so many samples (Wilson).

Settings of the intervals were chosen on samples of other seeds and other models.

Run: python -m benchmarks.trust.interval_sizes [--samples 60]
         [--update docs/leaderboards.md]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks._output import update
from benchmarks.trust.interval_coverage import CONFIDENCE, N_RESAMPLES, wilson
from benchmarks.trust.interval_screens import (
    COMPOUND,
    CONTEXT,
    N_COMPOUNDS,
    Case,
    Population,
    draw,
)
from benchmarks.trust.interval_truth import World
from sklperturb.utils._bootstrap import ClusterBootstrap

SIZES = (8, 12, 17, 25, 40, 80, 100)
N_WORLDS, N_LEARNT, N_CONTEXTS = 12, 60, 3


def scores_of_fresh(population, seed):
    """Return the scores of compounds that models know nothing of, by model."""
    rng = np.random.default_rng(seed)
    case = Case(None, N_LEARNT, N_CONTEXTS, (COMPOUND,))
    compounds, contexts = draw(population, case, rng)
    fresh = np.setdiff1d(np.arange(N_COMPOUNDS), compounds)
    known, asked = (
        {COMPOUND: np.repeat(own, N_CONTEXTS), CONTEXT: np.tile(contexts, len(own))}
        for own in (compounds, fresh)
    )
    every = np.arange(len(known[COMPOUND])), np.arange(len(asked[COMPOUND]))
    scores = World(population, case, known, rng).scores(known, asked, *every)
    return scores.reshape(len(fresh), N_CONTEXTS, -1).mean(axis=1)


def measure(worlds, size, n_samples):
    """Return, of scores and of differences, which are covered, and the widths."""
    hits, widths = {"score": [], "difference": []}, {"score": [], "difference": []}
    usual = stats.t.ppf((1 + CONFIDENCE) / 2, size - 1)
    for seed, scores in enumerate(worlds):
        rng = np.random.default_rng([seed, size])
        state = np.random.RandomState(seed)
        bootstrap = ClusterBootstrap(np.arange(size), N_RESAMPLES, CONFIDENCE, state)
        asked = [("score", bootstrap.interval, column) for column in scores.T]
        asked += [
            ("difference", bootstrap.interval_of_difference, column - scores[:, 0])
            for column in scores.T[1:]
        ]
        for _ in range(n_samples):
            drawn = np.zeros(len(scores), dtype=bool)
            drawn[rng.choice(len(scores), size, replace=False)] = True
            inside = {kind: [] for kind in hits}
            for kind, interval, values in asked:
                low, high = interval(values[drawn])
                inside[kind].append(low <= values[~drawn].mean() <= high)
                student = 2 * usual * stats.sem(values[drawn])
                widths[kind].append((high - low) / student)
            for kind, found in inside.items():
                hits[kind].append(np.mean(found))
    return hits, widths


def main():
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=60, help="of each set of models")
    parser.add_argument("--update", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    population = Population()
    worlds = [scores_of_fresh(population, seed) for seed in range(N_WORLDS)]
    text = [
        "| units | scores | width | widest | differences | width | widest |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    print(*text, sep="\n")
    for size in SIZES:
        hits, widths = measure(worlds, size, options.samples)
        cells = [size]
        for kind, inside in hits.items():
            cells.append(wilson(np.mean(inside), len(inside)))
            cells += [f"{f(widths[kind]):.1f}" for f in (np.mean, np.max)]
        text.append(f"| {' | '.join(map(str, cells))} |")
        print(text[-1], flush=True)
    if options.update:
        update(options.update, "interval_sizes", "\n".join(text))


if __name__ == "__main__":
    main()
