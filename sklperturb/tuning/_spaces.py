"""Default search spaces of estimators and of all that they are made of."""

from sklearn.base import BaseEstimator


def search_space(estimator):
    """Return what is worth tuning in an estimator, and how far.

    Every part is looked up: the steps of a pipeline, the encoders of a column
    transformer, the estimator inside a wrapper. The names are scikit-learn's nested
    ones, so that they serve `GridSearchCV` and `RandomizedSearchCV` too.

    Parameters
    ----------
    estimator : estimator
        Of this toolkit or of scikit-learn, or a composition of such.

    Returns
    -------
    space : dict of str to optuna.distributions.BaseDistribution
        Empty if there is nothing to tune, as in `NoChangeRegressor`. A part that is
        not of this toolkit and has no space on record is left as it is.

    Raises
    ------
    ValueError
        If a part is of this toolkit and has no space on record.

    See Also
    --------
    PerturbationSearchCV : Takes this space where none is given.

    Examples
    --------
    >>> from sklperturb.tuning import search_space
    >>> from sklperturb.models import make_model
    >>> sorted(search_space(make_model("product_kernel")))
    ['context_kernel', 'scale_contexts']
    >>> space = search_space(make_model("transformer"))
    >>> space["encoder__statistics__n_components"]
    IntDistribution(high=128, log=True, low=4, step=1)
    """
    from sklperturb.tuning._space_table import SPACES

    space = {}
    for prefix, part in _parts(estimator):
        name = type(part).__name__
        known = SPACES.get(name)
        if known is None:
            if type(part).__module__.startswith("sklperturb."):
                raise ValueError(
                    f"{name} has no search space. Pass param_distributions, or add a "
                    "line for it to SPACES in "
                    "sklperturb/model_selection/_space_table.py; {} says that there "
                    "is nothing to tune."
                )
            continue
        own = part.get_params(deep=False)
        space |= {
            prefix + parameter: distribution
            for parameter, distribution in known.items()
            if parameter in own
        }
    return space


def _parts(estimator):
    """Return (prefix of its parameters, part), the estimator itself first."""
    parts = [("", estimator)]
    for name, value in estimator.get_params(deep=True).items():
        if isinstance(value, BaseEstimator):
            parts.append((f"{name}__", value))
    return parts
