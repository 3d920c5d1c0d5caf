"""What the intervals of a comparison rest on, and what they do not show."""

import warnings

import numpy as np

from sklperturb.conditions._frames import read_column
from sklperturb.utils._bootstrap import FEWEST_UNITS

# Scores of fewer may lack the few perturbations that make most of the error.
FEW_UNITS = 10
BOTH = "perturbation and context"


def dealt_units(cv, X):
    """Return what a splitter deals as one, where it is more than a name.

    Parameters
    ----------
    cv : object
        As `compare` takes it.
    X : DataFrame of shape (n_samples, n_columns)

    Returns
    -------
    dealt : tuple of (str, ndarray of int of shape (n_samples,)) or None
        What it is, such as "scaffold", and its number for each row: "perturbation" if
        names of one structure are one. None where names are dealt, or nothing is known
        of the folds but their rows.
    """
    if not hasattr(cv, "_dealt_as_one"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said by `split`
        return cv._dealt_as_one(X)


def held_out_units(X, folds, schema, dealt=None):
    """Return what the folds hold out, and that of each held-out row.

    Rows of one unit fail together. What is held out is what is drawn anew where a model
    is used, and the draws that an interval is about: contexts where every fold tests
    contexts that it does not train on, or where the folds hold out one context after
    the other but for some of its perturbations; both where every fold tests new
    contexts and new perturbations; else perturbations, in contexts that stay the same.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_columns)
    folds : list of tuple (train, test) of ndarray of int
    schema : PerturbationSchema
    dealt : tuple of (str, ndarray of int of shape (n_samples,)), default=None
        Of `dealt_units`.

    Returns
    -------
    unit : str
        "perturbation", "context", "perturbation and context", or what `dealt` says.
    units : ndarray of str of shape (n_held_out,) or (n_held_out, 2)
        Fold after fold; of both a column each.
    """
    held_out = np.concatenate([test for _, test in folds])
    unit, codes = dealt or (None, None)
    if unit not in (None, "perturbation"):
        return unit, codes[held_out].astype(str)
    if unit is None:
        codes = read_column(X, schema.perturbation)
    perturbation = codes.astype(str)
    if schema.context is None:
        return "perturbation", perturbation[held_out]
    context = read_column(X, schema.context).astype(str)
    new = [_all_new(levels, folds) for levels in (perturbation, context)]
    if all(new):
        return BOTH, np.column_stack([perturbation[held_out], context[held_out]])
    if not any(new) and len(folds) > 1:
        new[1] = _one_fold_each(context, folds)
        new[1] &= not _one_fold_each(perturbation, folds)
    if new[1]:
        return "context", context[held_out]
    return "perturbation", perturbation[held_out]


def describe_units(unit, n_units):
    """Return how many of what is resampled as text.

    Examples
    --------
    >>> from sklperturb.comparison._evidence import describe_units
    >>> describe_units("perturbation and context", "24 and 6")
    '24 perturbations and 6 contexts'
    """
    parts = zip(unit.split(" and "), str(n_units).split(" and "), strict=True)
    return " and ".join(f"{n} {one}{'s' * (int(n) != 1)}" for one, n in parts)


def doubts(summary, fewest):
    """Return what a reader of a summary should know before trusting it.

    Parameters
    ----------
    summary : DataFrame
        See `Comparison`.
    fewest : int
        Number of units; of the kind with fewer where there are two.

    Returns
    -------
    notes : list of str
        That the intervals rest on few units, and, for each metric, that no model is
        better than the best baseline.
    """
    notes = []
    unit, n_units = summary[["unit", "n_units"]].iloc[0]
    held_out = describe_units(unit, n_units)
    units = " and ".join(f"{one}s" for one in unit.split(" and "))
    told = f"{held_out} {'is' if str(n_units) == '1' else 'are'} held out"
    if fewest < FEWEST_UNITS:
        notes.append(
            f"{told}. Intervals resample {units}, and from fewer than {FEWEST_UNITS} "
            "they cannot be told, so there are none: nothing is known of how much "
            f"others would differ. Hold out more {units}."
        )
    elif fewest < FEW_UNITS:
        notes.append(
            f"{told}. Intervals resample {units}, and with fewer than {FEW_UNITS} "
            "they are too narrow where a few of them make most of the error: a "
            "difference whose interval excludes 0 may be chance."
        )
    for metric, part in summary.groupby("metric", sort=False):
        part = part[(part["kind"] != "baseline") & part["difference"].notna()]
        if len(part):
            few = f", with {held_out} to tell by" if fewest < FEW_UNITS else ""
            notes += _none_better(metric, part, few)
    return notes


def _none_better(metric, models, few):
    """Return a note if no model's difference excludes 0 on its good side."""
    sign = -1 if models["greater_is_better"].iloc[0] else 1
    ends = models[["difference_low", "difference_high"]].mul(sign)
    # Without an interval, as of a single unit, nothing has been shown.
    if (ends.max(axis=1, skipna=False) < 0).any():
        return []
    best = models.loc[(sign * models["difference"]).idxmin()]
    interval = "no interval"
    if not np.isnan(best["difference_low"]):
        interval = f"{best['difference_low']:+.3f} to {best['difference_high']:+.3f}"
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


def _one_fold_each(levels, folds):
    """Whether each level is tested in one fold only."""
    tested = [np.unique(levels[test]) for _, test in folds]
    return sum(map(len, tested)) == len(np.unique(np.concatenate(tested)))
