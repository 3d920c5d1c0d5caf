"""Predictions as data frames with the names of genes, where they are asked for.

What scikit-learn has for `transform`: a setting of each estimator, and one for all of
them, which each thread has for itself.
"""

import inspect
import numbers
import sys
import threading
from contextlib import contextmanager
from functools import wraps

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin
from sklearn.pipeline import Pipeline

from sklperturb.conditions._documented import SCORE
from sklperturb.conditions._frames import is_annotated, without_annotation
from sklperturb.conditions._near import spelling_hint

# What is kept on an estimator beside what it learns: names, and what was asked for.
# Files hold both.
TARGET_NAMES, OUTPUT_CONFIG = "_target_names", "_sklearn_output_config"
_OUTPUTS = ("default", "pandas", "like_y")
_DEFAULTS = {"predict_output": "default"}
# What passes on the predictions of the estimator that it holds, as they are.
_PASSES_ON = ("sklearn.pipeline", "sklearn.model_selection._search")
_local = threading.local()


def get_config():
    """Return the settings of this thread.

    Returns
    -------
    config : dict
        A copy; what can be set is described in `set_config`.

    See Also
    --------
    set_config : Change them.
    config_context : Change them for a while.

    Examples
    --------
    >>> import sklperturb
    >>> sklperturb.get_config()
    {'predict_output': 'default'}
    """
    return dict(_settings())


def set_config(*, predict_output=None):
    """Change the settings of this thread.

    Parameters
    ----------
    predict_output : {"default", "pandas", "like_y"}, default=None
        What `predict` and `predict_interval` of all estimators of sklperturb return,
        but for those with a setting of their own (`set_output(predict=...)`):

        - "default": arrays, as in scikit-learn;
        - "pandas": a DataFrame with the names of genes and the index of `X`, a Series
          where `y` had one dimension. Where `y` had no names, columns are numbered,
          ``y0, y1, ...``;
        - "like_y": the same where `y` was a data frame, a Series or an AnnData in
          `fit`, else arrays;
        - None: as it was.

    Raises
    ------
    ValueError
        If it is none of them.

    See Also
    --------
    config_context : The same for a while.
    sklearn.set_config : The settings of scikit-learn, that of `transform` among them.

    Notes
    -----
    Threads and processes that are started later begin with the defaults.

    Examples
    --------
    >>> import sklperturb
    >>> sklperturb.set_config(predict_output="like_y")
    >>> sklperturb.set_config(predict_output="default")
    """
    if predict_output is not None:
        _settings()["predict_output"] = _output(predict_output)


@contextmanager
def config_context(*, predict_output=None):
    """Change the settings of this thread within a ``with`` block.

    Parameters
    ----------
    predict_output : {"default", "pandas", "like_y"}, default=None
        As of `set_config`.

    Yields
    ------
    None

    See Also
    --------
    set_config : The same for good, and what the settings mean.

    Examples
    --------
    >>> import pandas as pd
    >>> import sklperturb
    >>> from sklperturb.baseline import NoChangeRegressor
    >>> y = pd.DataFrame({"MYC": [1.0, 2.0], "TP53": [0.0, 1.0]})
    >>> model = NoChangeRegressor().fit([["A"], ["B"]], y)
    >>> with sklperturb.config_context(predict_output="pandas"):
    ...     model.predict(pd.DataFrame(["A"], index=["first"]))
           MYC  TP53
    first  0.0   0.0
    """
    before = get_config()
    try:
        set_config(predict_output=predict_output)
        yield
    finally:
        _settings().update(before)


def _output(value):
    """Return how predictions are to be given; raise if it is no way that there is."""
    if not (isinstance(value, str) and value in _OUTPUTS):
        raise ValueError(
            f"The output of predict is set to {value!r}; it must be one of "
            f"{list(_OUTPUTS)}."
        )
    return str(value)


@contextmanager
def arrays_only():
    """Let estimators in the block predict arrays, whatever anybody asked them for.

    What the toolkit computes with is arrays; only what users called gives frames.
    """
    _local.n_inside = getattr(_local, "n_inside", 0) + 1
    try:
        yield
    finally:
        _local.n_inside -= 1


def wants_arrays():
    """Whether this is within `arrays_only`."""
    return getattr(_local, "n_inside", 0) > 0


def _settings():
    """Return what this thread may change."""
    if not hasattr(_local, "settings"):
        _local.settings = dict(_DEFAULTS)
    return _local.settings


class NamedPredictionsMixin:
    """Let `predict` return a frame where `set_output` or the configuration says so.

    It does for `predict` what scikit-learn does for `transform`. `fit` remembers the
    names of a data frame `y`. Estimators that are called by another one, in its `fit`
    or `predict`, give arrays: only the outermost returns a frame. So do those that
    scikit-learn calls, which computes with arrays, but for its `Pipeline` and searches.

    A method behind `available_if` is not seen here, and has the decorator
    `gives_frames` itself.
    """

    # Attribute with the estimator that predicts in the place of this one, if any. What
    # was asked of it counts where nothing was asked of this one.
    _predicts_with = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name, decorate in _DECORATORS.items():
            method = vars(cls).get(name)
            if inspect.isfunction(method) and not hasattr(method, "_names_predictions"):
                setattr(cls, name, decorate(method))
        if getattr(cls, "score", None) is RegressorMixin.score:
            cls.score = _scores_by_name(cls.score)

    def set_output(self, *, transform=None, predict=None):
        """Set what `predict` and `transform` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            For estimators that transform, as in scikit-learn.
        predict : {"default", "pandas", "like_y"}, default=None
            What `predict` and `predict_interval` return: arrays; a DataFrame with the
            names of genes and the index of `X`, or a Series where `y` had one
            dimension; or one of these where `y` was a data frame, a Series or an
            AnnData in `fit`, else arrays. None leaves it as it is, which at first is
            what `sklperturb.set_config` says.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If `predict` is none of them, or the estimator does not transform.
        """
        if predict is not None:
            predict = _output(predict)
        if transform is not None:
            of_scikit_learn = getattr(super(), "set_output", None)
            if of_scikit_learn is None:
                raise ValueError(
                    f"{type(self).__name__} has no transform of its own, of which "
                    f"transform={transform!r} could set the output; pass predict=, or "
                    "call set_output of the transformer."
                )
            of_scikit_learn(transform=transform)
        if predict is not None:
            setattr(self, OUTPUT_CONFIG, _own_config(self) | {"predict": predict})
        return self

    def _predict_output(self):
        """Return what was asked of this estimator itself, or None."""
        asked = _own_config(self).get("predict")
        if asked is None and self._predicts_with is not None:
            other = getattr(self, self._predicts_with, None)  # None before fit
            return _own_config(other).get("predict")
        return asked


def gives_frames(method):
    """Return a method that gives its arrays as frames where these are asked for."""

    @wraps(method)
    def framed(self, X, *args, **kwargs):
        if wants_arrays():
            return method(self, X, *args, **kwargs)
        computed_with = _scikit_learn_computes()
        output = self._predict_output() or get_config()["predict_output"]
        with arrays_only():
            found = method(self, X, *args, **kwargs)
        names = getattr(self, TARGET_NAMES, None)
        if output == "default" or computed_with:
            return found
        if output == "like_y" and names is None:
            return found
        if isinstance(found, tuple):
            return tuple(_named(each, X, names) for each in found)
        return _named(found, X, names)

    framed._names_predictions = True
    return framed


def _scikit_learn_computes():
    """Whether scikit-learn computes with what `predict`, two calls up, returns.

    `StackingRegressor`, `TransformedTargetRegressor` and others take no Series.
    """
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name not in _PASSES_ON:
            return name.partition(".")[0] == "sklearn"
        frame = frame.f_back
    return False


def _remembers_names(method):
    """Return a `fit` that keeps the names that `y` has, and computes with arrays."""

    @wraps(method)
    def remembering(self, X, *args, **kwargs):
        y = args[0] if args else kwargs.get("y")
        if getattr(self, "warm_start", False):
            _check_goes_on(self, y)
        with arrays_only():
            fitted = method(self, X, *args, **kwargs)
        names = target_names(y)
        if names is None:
            vars(self).pop(TARGET_NAMES, None)
        else:
            setattr(self, TARGET_NAMES, names)
        return fitted

    remembering._names_predictions = True
    return remembering


def _scores_by_name(method):
    """Return a `score` that takes all kinds of `y`, and knows genes by their names."""

    def score(self, X, y, sample_weight=None):
        return method(self, X, as_predicted(self, y), sample_weight)

    score.__doc__ = SCORE
    return score


_DECORATORS = {
    "fit": _remembers_names,
    "predict": gives_frames,
    "predict_interval": gives_frames,
}


def target_names(y):
    """Return the names of the columns of `y`, of a Series that of itself, or None.

    Text and whole numbers stay what they are, so that predictions line up with `y`;
    all else becomes text, which files can hold.
    """
    if is_annotated(y):
        names = y.var_names
    elif isinstance(y, pd.Series):
        names = [] if y.name is None else [y.name]
        if isinstance(y.name, numbers.Integral):
            return np.array(names)
    elif isinstance(y, pd.DataFrame):
        names = y.columns
    else:
        frame = nw.from_native(y, pass_through=True, allow_series=True)
        if isinstance(frame, nw.Series):
            names = [frame.name] if frame.name else []
        elif isinstance(frame, nw.DataFrame):
            names = frame.columns
        else:
            return None
    if isinstance(names, pd.Index) and names.dtype.kind in "iu":
        return names.to_numpy()
    made = np.empty(len(names), dtype=object)
    made[:] = [str(name) for name in names]
    return made


def known_names(estimator):
    """Return the names of what a fitted estimator predicts, or None.

    Those that `y` had in `fit`; of a pipeline or a search, in the fit of what predicts.
    """
    while (names := getattr(estimator, TARGET_NAMES, None)) is None:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return None
    return names


def predict_genes_of(estimator, X, y):
    """Return a fitted estimator's prediction for `X`, of the genes of `y`, in order."""
    with arrays_only():
        y_pred = estimator.predict(X)
    places = places_in_prediction(estimator, y)
    if places is None or np.ndim(y_pred) != 2 or np.shape(y_pred)[1] != len(places):
        return y_pred
    return np.asarray(y_pred)[:, places]


def places_in_prediction(estimator, y):
    """Return where the genes of `y` are among those predicted; None is in place."""
    return _places(target_names(y), known_names(estimator))


def _places(genes, others):
    if genes is None or others is None or len(genes) != len(others):
        return None
    return places_of_genes(*(pd.Index(n).astype(str) for n in (genes, others)))


def _check_goes_on(estimator, y):
    """Refuse a `y` whose genes are not those of the last fit, in their order."""
    if places_in_prediction(estimator, y) is not None:
        raise ValueError(
            "y has the genes in another order than the model to go on with, as "
            "warm_start=True asks, was trained on. Keep it, or set warm_start=False."
        )


def as_genes_of(y, values):
    """Return values for each of `y` in the order of its genes, if both name them."""
    places = _places(target_names(y), target_names(values))
    if places is None:
        return values
    return np.asarray(without_annotation(values))[:, places]


def as_predicted(estimator, y, values=None):
    """Return `y`, or its values as they were read, with genes in the order of `fit`."""
    places = places_in_prediction(estimator, y)
    values = without_annotation(y) if values is None else values
    return values if places is None else np.asarray(values)[:, np.argsort(places)]


def places_of_genes(genes, predicted):
    """Return where the genes of `y` are among those predicted; None is in their place.

    Names that only number the columns, as frames and AnnData have them where nobody
    named any, say no more than the places do. A ValueError names what is not there.
    """
    if predicted.equals(genes):
        return None
    if not predicted.is_unique:
        raise ValueError(
            "The prediction has genes more than once, so that those of y cannot be "
            f"told: {list(predicted[predicted.duplicated()][:5])}. Make their names "
            "unique, and fit the model again."
        )
    places = predicted.get_indexer(genes)
    if (places >= 0).all():
        return places
    numbers = pd.RangeIndex(len(genes)).astype(str)
    if numbers.equals(genes) or numbers.equals(predicted):
        return None
    raise ValueError(
        f"The prediction must have the genes of y; it has {len(predicted)}, of which "
        f"{int((places >= 0).sum())} are among the {len(genes)} of y. Score the model "
        "on the genes that it was fitted to, or name them alike."
        f"{spelling_hint(predicted, genes)}"
    )


def _named(y_pred, X, names):
    """Return an array as a frame over the rows of `X`, without a copy."""
    if not isinstance(y_pred, np.ndarray) or y_pred.ndim not in (1, 2):
        return y_pred
    index = X.index if isinstance(X, pd.DataFrame | pd.Series) else None
    is_known = names is not None and len(names) > 0
    if y_pred.ndim == 1:
        name = names[0] if is_known else None
        return pd.Series(y_pred, index, name=name, copy=False)
    columns = names if is_known else [f"y{i}" for i in range(y_pred.shape[1])]
    return pd.DataFrame(y_pred, index, columns, copy=False)


def _own_config(estimator):
    """Return what was set on an estimator; in a stranger's file it may be anything."""
    config = getattr(estimator, OUTPUT_CONFIG, None)
    return config if isinstance(config, dict) else {}
