"""What the intervals of a comparison rest on, and what they do not show."""

import numpy as np

from sklperturb.conditions._frames import read_column

# With fewer draws, percentile intervals are too narrow to be read: of three, all lie on
# the same side of 0 by chance a quarter of the time.
FEW_UNITS = 10


def held_out_units(X, folds, schema):
    """Return what the folds hold out, "perturbation" or "context", by held-out row.

    Rows of one unit fail together. Where every fold tests contexts that it does not
    train on, a new context is what is asked for, and contexts are the draws; else they
    are perturbations. Where both are new, it is that of which there are fewer.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_columns)
    folds : list of tuple (train, test) of ndarray of int
    schema : PerturbationSchema

    Returns
    -------
    unit : {"perturbation", "context"}
    units : ndarray of str of shape (n_held_out,)
        Fold after fold.
    """
    held_out = np.concatenate([test for _, test in folds])
    perturbation = read_column(X, schema.perturbation).astype(str)
    if schema.context is not None:
        context = read_column(X, schema.context).astype(str)
        n_contexts = len(np.unique(context[held_out]))
        n_perturbations = len(np.unique(perturbation[held_out]))
        if _all_new(context, folds) and not (
            _all_new(perturbation, folds) and n_perturbations <= n_contexts
        ):
            return "context", context[held_out]
    return "perturbation", perturbation[held_out]


def doubts(summary):
    """Return what a reader of a summary should know before trusting it.

    Parameters
    ----------
    summary : DataFrame
        See `Comparison`.

    Returns
    -------
    notes : list of str
        That the intervals rest on few units, and, for each metric, that no model is
        better than the best baseline.
    """
    notes = []
    unit, n_units = summary[["unit", "n_units"]].iloc[0]
    if n_units < FEW_UNITS:
        held_out = f"{n_units} {unit}s are" if n_units > 1 else f"A single {unit} is"
        notes.append(
            f"{held_out} held out. Intervals resample {unit}s, and with fewer than "
            f"{FEW_UNITS} they are too narrow: a difference whose interval excludes 0 "
            "may be chance."
        )
    for metric, part in summary.groupby("metric", sort=False):
        part = part[(part["kind"] != "baseline") & part["difference"].notna()]
        if len(part):
            notes += _none_better(metric, part, unit, n_units)
    return notes


def _none_better(metric, models, unit, n_units):
    """Return a note if no model's difference excludes 0 on its good side."""
    sign = -1 if models["greater_is_better"].iloc[0] else 1
    ends = models[["difference_low", "difference_high"]].mul(sign).max(axis=1)
    # Without an interval, as of a single unit, nothing has been shown.
    if (ends < 0).any() and n_units > 1:
        return []
    best = models.loc[(sign * models["difference"]).idxmin()]
    interval = "no interval"
    if n_units > 1:
        interval = f"{best['difference_low']:+.3f} to {best['difference_high']:+.3f}"
    few = f", with {n_units} {unit}s to tell by" if 1 < n_units < FEW_UNITS else ""
    return [
        f"No model is better than {best['best_baseline']} on these folds ({metric})"
        f"{few}: the best, {best['model']}, differs by {best['difference']:+.4f} "
        f"({interval})."
    ]


def _all_new(levels, folds):
    """Whether no fold trains on a level that it tests."""
    return all(
        not np.isin(levels[test], np.unique(levels[train])).any()
        for train, test in folds
    )
