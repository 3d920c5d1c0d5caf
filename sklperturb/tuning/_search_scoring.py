"""What a search scores by: one scorer or several, of the toolkit or of scikit-learn."""

from sklearn.metrics import check_scoring, get_scorer

from sklperturb.metrics import ROWWISE_METRICS


def is_several(scoring):
    """Whether `scoring` asks for more than one score."""
    return isinstance(scoring, list | tuple | set | dict)


def resolve_scorers(estimator, scoring, refit):
    """Return {name: scorer}, and the name of the one to optimise.

    Parameters
    ----------
    estimator : estimator
    scoring : str, callable, list, dict or None
        Names of row-wise metrics, or whatever scikit-learn takes.
    refit : bool or str
        With several scores, the name of the one to optimise.
    """
    if not is_several(scoring):
        if isinstance(scoring, str) and scoring in ROWWISE_METRICS:
            scoring = ROWWISE_METRICS[scoring].scorer
        return {"score": check_scoring(estimator, scoring)}, "score"
    given = scoring if isinstance(scoring, dict) else {name: name for name in scoring}
    scorers = {name: _scorer(scorer) for name, scorer in given.items()}
    if not isinstance(refit, str) or refit not in scorers:
        raise ValueError(
            f"refit={refit!r} does not say which of the scores to optimise; pass one "
            f"of {sorted(scorers)}."
        )
    return scorers, refit


def _scorer(given):
    if not isinstance(given, str):
        return given
    if given in ROWWISE_METRICS:
        return ROWWISE_METRICS[given].scorer
    return get_scorer(given)
