"""Whether the conditions asked are like those that were held out."""

import numpy as np
from scipy.stats import binomtest

from sklperturb.conditions._doubts import warn

KINDS = {
    "measured": "a condition that was measured",
    "pair": "a perturbation and a context that were measured, but not together",
    "perturbation": "a perturbation that was not measured",
    "context": "a context that was not measured",
    "both": "a perturbation and a context that were not measured",
}
# A kind that is asked this much more often than it was held out is another question.
_MORE_OFTEN = 0.25
# What share of what was held out is called usual; and what makes a share of the rest
# unlikely, and worth telling.
USUAL, _UNLIKELY, _WORTH_TELLING = 0.95, 1e-3, 0.15


class ExchangeabilityWarning(UserWarning):
    """What is asked is unlike what was held out, and intervals may not cover it.

    Raised as an error by ``warnings.simplefilter("error", ExchangeabilityWarning)``.

    See Also
    --------
    ConformalRegressor : Gives it.

    Examples
    --------
    >>> import warnings
    >>> from sklperturb.inspection import ExchangeabilityWarning
    >>> issubclass(ExchangeabilityWarning, UserWarning)
    True
    """


def kinds_of(context, perturbation, known_context, known_perturbation):
    """Return what is asked by each row, one of `KINDS`.

    Parameters
    ----------
    context, perturbation : ndarray of int of shape (n_samples,)
        Codes, -1 for a level that is in none of the known rows' columns.
    known_context, known_perturbation : ndarray of int of shape (n_known,)
        Codes of the rows that are known.
    """
    no_context = ~np.isin(context, known_context)
    no_perturbation = ~np.isin(perturbation, known_perturbation)
    known = set(zip(known_context.tolist(), known_perturbation.tolist(), strict=True))
    pairs = zip(context.tolist(), perturbation.tolist(), strict=True)
    measured = np.array([pair in known for pair in pairs])
    conditions = [measured, no_context & no_perturbation, no_perturbation, no_context]
    names = ["measured", "both", "perturbation", "context"]
    return np.select(conditions, names, "pair").astype(object)


def warn_of_asked(asked, held_out_kinds, usual):
    """Warn if the rows that are asked are unlike those that were held out.

    Parameters
    ----------
    asked : Asked
    held_out_kinds : dict of {str: float}
        Shares of the rows that were held out.
    usual : tuple of (float, float)
        Quantiles `USUAL` of their distances and of their expected errors.
    """
    _warn_of_kinds(asked.kind, held_out_kinds)
    new = asked.kind != "measured"
    told = (
        ("are farther from training", "abstain(X) tells which rows are too far."),
        (
            "are expected to have larger errors",
            "Measure perturbations that respond as strongly as these.",
        ),
    )
    found = asked.distance, asked.size
    for values, limit, words in zip(found, usual, told, strict=True):
        _warn_of_shift(values[new], limit, asked.names[new], *words)


def _warn_of_kinds(asked, held_out):
    """Warn of kinds of rows that are asked and were hardly held out.

    Parameters
    ----------
    asked : ndarray of str of shape (n_samples,)
    held_out : dict of {str: float}
        Shares of the rows that were held out.
    """
    found = []
    for kind, what in KINDS.items():
        share, before = float(np.mean(asked == kind)), held_out.get(kind, 0.0)
        # What was measured is easier than anything that was held out.
        if kind != "measured" and (
            (share > 0 and before == 0) or share - before > _MORE_OFTEN
        ):
            times = "none" if before == 0 else f"{before:.0%}"
            rows = int(np.sum(asked == kind))
            found.append(
                f"{rows} of {len(asked)} rows ask for {what}, as did {times} of "
                "those that the folds held out"
            )
    if found:
        warn(
            f"{'; '.join(found)}. The intervals were not calibrated for that, and may "
            "cover less than they say. Fit with a cv that holds out what is asked (see "
            "suggest_cv).",
            ExchangeabilityWarning,
        )


def _warn_of_shift(asked, limit, units, what, todo):
    """Warn if more is beyond a limit than chance explains.

    Parameters
    ----------
    asked : ndarray of shape (n_samples,)
        What is compared, of the rows asked.
    limit : float
        Quantile `USUAL` of the same of the rows that were held out.
    units : ndarray of shape (n_samples,)
        Perturbations of the rows asked; each counts once.
    what : str
        What is larger, for the message.
    todo : str
        What to do about it.
    """
    if len(asked) == 0:
        return
    codes = np.unique(units, return_inverse=True)[1]
    counts = np.bincount(codes)
    beyond = np.bincount(codes, asked > limit * (1 + 1e-9)) / counts
    number = int(np.sum(beyond > 0.5))
    share = number / len(counts)
    if share <= _WORTH_TELLING:
        return
    if binomtest(number, len(counts), 1 - USUAL, "greater").pvalue < _UNLIKELY:
        warn(
            f"{number} of {len(counts)} perturbations asked {what} than {USUAL:.0%} of "
            "the rows that the folds held out. The intervals may cover less than they "
            f"say. {todo}",
            ExchangeabilityWarning,
        )
