"""What held-out rows would score if a model knew the true means."""

import logging
import warnings

import numpy as np
from sklearn.utils import _safe_indexing

from sklperturb.conditions._doubts import warn
from sklperturb.model_selection._fold import describe_error
from sklperturb.uncertainty._ceiling import NoiseCeiling, noise_ceiling
from sklperturb.uncertainty._ceiling_rows import number_conditions
from sklperturb.utils._bootstrap import FEWEST_UNITS

logger = logging.getLogger(__name__)


def check_ceiling(ceiling, metrics, n_samples):
    """Return the ceilings that were given, by metric; raise if they are of others.

    Parameters
    ----------
    ceiling : "auto", None, NoiseCeiling or list of NoiseCeiling
    metrics : list of RowwiseMetric, WeightedMSEScorer or CellScorer
    n_samples : int

    Returns
    -------
    given : dict of str to NoiseCeiling
    """
    if ceiling is None or isinstance(ceiling, str):
        return {}
    given = [ceiling] if isinstance(ceiling, NoiseCeiling) else list(ceiling)
    names = [metric.name for metric in metrics]
    for each in given:
        if not isinstance(each, NoiseCeiling):
            raise TypeError(
                f"ceiling holds a {type(each).__name__}; allowed are 'auto', None, and "
                "what sklperturb.inspection.noise_ceiling returns, for one metric or "
                "in a list."
            )
        if each.metric not in names:
            raise ValueError(
                f"ceiling is of {each.metric!r}, and scoring is {names}; make it with "
                f"noise_ceiling(..., scoring={names[0]!r})."
            )
        if len(each.by_row) != n_samples:
            raise ValueError(
                f"ceiling was made from {len(each.by_row)} rows, and X has {n_samples};"
                " make it from the same rows."
            )
    return {each.metric: each for each in given}


def ceilings_of_rows(metrics, X, y, folds, schema, given, random_state):
    """Return the expected scores of held-out rows, fold after fold, by metric.

    Parameters
    ----------
    metrics : list of RowwiseMetric or WeightedMSEScorer
    X, y : DataFrame and array-like, DataFrame or AnnData
    folds : list of tuple (train, test) of ndarray of int
    schema : PerturbationSchema
    given : dict of str to NoiseCeiling
        Those that need not be worked out.
    random_state : int, RandomState instance or None

    Returns
    -------
    ceilings : dict of str to ndarray of shape (n_held_out,)
        NaN for rows that were measured once; no entry where all were and none was
        given, or where it could not be worked out.
    notes : list of str
        Why it could not, for each such metric.
    """
    rows = np.concatenate([test for _, test in folds])
    held_out, place = np.unique(rows, return_inverse=True)
    ceilings, notes = {}, []
    for metric in metrics:
        if metric.name in given:
            ceilings[metric.name] = given[metric.name].by_row[rows]
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No ceiling: every condition")
            try:
                found = noise_ceiling(
                    *(_safe_indexing(table, held_out) for table in (X, y)),
                    scoring=metric.scorer,
                    schema=schema,
                    n_resamples=1,  # the intervals are those of the comparison
                    random_state=random_state,
                )
            except Exception as error:
                notes += warn_of_failure(error, metric.name)
                continue
        if found is None:
            continue
        if found.n_units < FEWEST_UNITS:  # of controls alone, say
            logger.info("No ceiling: %d perturbations have replicates", found.n_units)
            continue
        logger.info(
            "Ceiling of %s from %d of %d held-out rows, replicates of %d perturbations",
            *(metric.name, found.n_rows, len(held_out), found.n_units),
        )
        ceilings[metric.name] = found.by_row[place]
    if not (ceilings or notes):
        logger.info("No ceiling: every condition was measured once.")
    return ceilings, notes


def warn_of_failure(error, names):
    """Warn, and return a note, that there is no ceiling and why.

    The models are fitted by then, and their scores are worth more than what would
    stand beside them.

    Parameters
    ----------
    error : Exception
    names : str
        Of the metrics.

    Returns
    -------
    notes : list of str
        One.
    """
    note = (
        f"No ceiling of {names}, since it failed ({describe_error(error)}); the scores "
        "stand without it. Pass ceiling=None to leave it out."
    )
    warn(note)
    return [note]


def warn_of_repeats(X, folds, schema):
    """Warn, and return a note, if folds train on the conditions that they test.

    Parameters
    ----------
    X : DataFrame of shape (n_samples, n_columns)
    folds : list of tuple (train, test) of ndarray of int
    schema : PerturbationSchema

    Returns
    -------
    notes : list of str
        None or one.
    """
    codes = number_conditions(X, schema)
    shared = [np.isin(codes[test], codes[train]) for train, test in folds]
    n_rows = int(sum(map(np.sum, shared)))
    if not n_rows:
        return []
    note = (
        f"{n_rows} of {sum(map(len, shared))} held-out rows are replicates of rows "
        "that the same fold trains on: a model that repeats what it was shown is good "
        "there, and may pass the ceiling. Hold out whole perturbations or pairs, as "
        "sklperturb.model_selection.UnseenPerturbationKFold and UnseenPairKFold do."
    )
    warn(note)
    return [note]
