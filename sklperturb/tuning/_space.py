"""What a search draws from: by default the spaces of an estimator and its parts."""

import json
from collections.abc import Mapping
from functools import partial

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import HasMethods, validate_params

_SCALARS = (str, int, float, bool, type(None))


@validate_params(
    {"estimator": [HasMethods("get_params")]}, prefer_skip_nested_validation=True
)
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
    >>> space["regressor__encoder__statistics__n_components"]
    IntDistribution(high=128, log=True, low=4, step=1)
    """
    from sklperturb.tuning._space_table import SPACES

    space = {}
    for path, part in {"": estimator, **estimator.get_params(deep=True)}.items():
        if path and not isinstance(part, BaseEstimator):
            continue
        prefix = f"{path}__".removeprefix("__")
        name = type(part).__name__
        known = SPACES.get(name)
        if known is None:
            # Encoders of conditions and pipelines have parts with spaces of their own.
            ours = type(part).__module__.startswith("sklperturb.")
            if ours and not isinstance(part, ColumnTransformer | Pipeline):
                raise ValueError(
                    f"{name} has no search space. Pass param_distributions, or add a "
                    "line for it to SPACES in sklperturb/tuning/_space_table.py; {} "
                    "says that there is nothing to tune."
                )
            continue
        own = part.get_params(deep=False)
        space |= {
            prefix + parameter: distribution
            for parameter, distribution in known.items()
            if parameter in own
        }
    return space


class SearchSpace:
    """Draw parameters, and turn what a study stores into what an estimator takes.

    A study stores numbers and texts. Choices of another kind, such as tuples and
    estimators, are stored as a text and looked up again.

    Parameters
    ----------
    param_distributions : "auto", dict or callable
        See `PerturbationSearchCV`.
    estimator : estimator
        Whose space "auto" takes, and whose parameters names are checked against.
    """

    def __init__(self, param_distributions, estimator):
        self.function = None
        self.distributions = {}
        self._choices = {}
        if callable(param_distributions):
            self.function = param_distributions
            return
        if isinstance(param_distributions, str) and param_distributions == "auto":
            param_distributions = search_space(estimator)
            if not param_distributions:
                raise ValueError(
                    f"{type(estimator).__name__} has nothing to tune by default; pass "
                    "param_distributions."
                )
        if not isinstance(param_distributions, Mapping) or not param_distributions:
            raise TypeError(
                f"param_distributions={param_distributions!r} is not allowed; pass "
                "'auto', a dict of parameter names to Optuna distributions or lists of "
                "choices, or a function of the trial."
            )
        unknown = sorted(set(param_distributions) - set(estimator.get_params()))
        if unknown:
            raise ValueError(
                f"param_distributions names {unknown}, which are no parameters of "
                f"{type(estimator).__name__}; see its get_params()."
            )
        for name, given in param_distributions.items():
            self.distributions[name] = self._read(name, given)

    def _read(self, name, given):
        from optuna.distributions import BaseDistribution, CategoricalDistribution

        if isinstance(given, BaseDistribution):
            if not isinstance(given, CategoricalDistribution):
                return given
            given = given.choices
        if isinstance(given, str | bytes) or not hasattr(given, "__iter__"):
            raise TypeError(
                f"The distribution of {name!r} is {given!r}; pass an Optuna "
                "distribution, such as FloatDistribution(1e-4, 1, log=True), or a list "
                "of choices."
            )
        choices = list(given)
        if all(isinstance(choice, _SCALARS) for choice in choices):
            return CategoricalDistribution(choices)
        texts = [_as_text(choice) for choice in choices]
        if len(set(texts)) < len(texts):
            raise ValueError(f"Two choices of {name!r} read the same: {texts}.")
        self._choices[name] = dict(zip(texts, choices, strict=True))
        return CategoricalDistribution(texts)

    def draw(self, study):
        """Ask a study for a trial with all its parameters drawn."""
        if self.function is None:
            return study.ask(self.distributions)
        trial = study.ask()
        self.function(trial)
        return trial

    def decode(self, stored):
        """Return the parameters of the estimator behind those that a study stores."""
        if self.function is not None:
            from optuna.trial import FixedTrial

            params = self.function(FixedTrial(stored))
            return dict(stored if params is None else params)
        return {
            name: self._choices[name][value] if name in self._choices else value
            for name, value in stored.items()
        }

    def current(self, estimator):
        """Return the estimator's own parameters, as far as the space allows them."""
        params = estimator.get_params()
        current = {}
        for name, distribution in self.distributions.items():
            value = params[name]
            if name in self._choices:
                value = _as_text(value)
            if _allows(distribution, value):
                current[name] = value
        return current

    def largest(self, name):
        """Return the largest value of a number, None if it is not drawn."""
        distribution = self.distributions.get(name)
        if distribution is None:
            return None
        return max(getattr(distribution, "choices", None) or [distribution.high])

    def describe(self):
        """Return what tells this space from others, for every process the same."""
        if self.function is not None:
            return _told(self.function)
        from optuna.distributions import distribution_to_json

        return sorted(
            (n, distribution_to_json(d)) for n, d in self.distributions.items()
        )


def _told(function):
    """Return what tells a function from others but for its code."""
    if isinstance(function, partial):
        return _told(function.func), function.args, function.keywords
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _as_text(choice):
    if isinstance(choice, BaseEstimator):
        return repr(choice)
    try:
        return json.dumps(choice)
    except TypeError:
        return repr(choice)


def _allows(distribution, value):
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        # True equals 1, which is another choice.
        return any(type(value) is type(c) and value == c for c in choices)
    low, step = distribution.low, distribution.step
    kind = int if isinstance(low, int) else int | float
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    on_grid = step is None or abs((value - low) / step % 1) < 1e-9
    return low <= value <= distribution.high and on_grid
