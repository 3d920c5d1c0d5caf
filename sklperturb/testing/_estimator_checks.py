"""Checks of what estimators of perturbation responses promise."""

import inspect
import pickle
import sys
from functools import cache, partial

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags

from sklperturb.datasets import make_chemical_screen
from sklperturb.metrics import neg_mrrmse_scorer
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.preprocessing import make_condition_encoder
from sklperturb.testing._callbacks import fit_with_listener

# Matrix products of other shapes round differently; a leak is far larger.
_TOLERANCE = 1e-6


def check_perturbation_estimator(estimator):
    """Run the toolkit's checks on an estimator.

    They ask what scikit-learn's own `check_estimator` cannot: tables of conditions,
    levels that were not seen, many outputs, predictions that depend on their own
    row only.

    Parameters
    ----------
    estimator : estimator object
        A regressor or a transformer. It is cloned, never fitted.

    Raises
    ------
    AssertionError
        Names the check that failed and says why.

    See Also
    --------
    perturbation_checks : The checks one by one, for a test runner.
    sklearn.utils.estimator_checks.check_estimator : To be passed as well.

    Notes
    -----
    A regressor whose tags do not say that it takes categories
    (``input_tags.categorical``) is checked behind `make_condition_encoder`. So that
    two fits can be compared, every `random_state` is set to 0.

    Examples
    --------
    >>> from sklperturb.baseline import AdditiveRegressor
    >>> from sklperturb.testing import check_perturbation_estimator
    >>> check_perturbation_estimator(AdditiveRegressor())
    """
    for name, check in perturbation_checks(estimator):
        try:
            check()
        except Exception as error:
            raise AssertionError(
                f"{type(estimator).__name__} fails {name}: {error}"
            ) from error


def perturbation_checks(estimator):
    """Yield the toolkit's checks for an estimator, to be run one by one.

    Parameters
    ----------
    estimator : estimator object
        A regressor or a transformer. It is cloned, never fitted.

    Yields
    ------
    name : str
        Name of the check.
    check : callable
        Takes no arguments and raises an AssertionError if the check fails.

    Raises
    ------
    TypeError
        If `estimator` is neither a regressor nor a transformer.

    See Also
    --------
    check_perturbation_estimator : All of them at once.

    Examples
    --------
    >>> from sklperturb.baseline import NoChangeRegressor
    >>> from sklperturb.testing import perturbation_checks
    >>> checks = dict(perturbation_checks(NoChangeRegressor()))
    >>> checks["check_row_independence"]()
    """
    if is_regressor(estimator):
        checks = _ANY_CHECKS + _CONDITION_CHECKS + _REGRESSOR_CHECKS
    elif get_tags(estimator).transformer_tags is None:
        raise TypeError(
            f"{type(estimator).__name__} is neither a regressor nor a transformer, "
            "and there are checks for these two only."
        )
    elif _takes_conditions(estimator):
        checks = _ANY_CHECKS + _CONDITION_CHECKS + _TRANSFORMER_CHECKS
    else:
        checks = _ANY_CHECKS + _TRANSFORMER_CHECKS
    checked = _Checked(estimator)
    for check in checks:
        yield check.__name__, partial(check, checked)


def check_row_independence(checked):
    """An output depends on its own row only, not on the others or their order."""
    fitted, X, _ = checked.fit()
    expected = np.asarray(_outputs(fitted, X))
    order = np.random.default_rng(0).permutation(len(X))
    for rows, what in (
        (order, "in another order"),
        (order[: len(X) // 3], "without the others"),
        ([len(X) - 1], "alone"),
        (np.repeat(order[:2], 3), "repeated"),
    ):
        _assert_same(
            _outputs(fitted, X.iloc[rows]),
            expected[rows],
            f"outputs change when rows are given {what}",
        )


def check_random_state(checked):
    """The same seed gives the same bits, and no global generator moves."""
    seeded = _seed_names(checked.estimator)
    before = _global_states()
    model, X, y = checked.prepare()
    first = model.fit(X, y)
    output = np.asarray(_outputs(first, X))
    after = _global_states()
    for name, state in before.items():
        assert state == after[name], f"the global generator of {name} was used"
    np.random.RandomState(1).rand()
    second, *_ = checked.fit()  # another, wherever it was made
    again = np.asarray(_outputs(second, X))
    if seeded:
        assert np.array_equal(output, again, equal_nan=True), (
            f"two fits with {', '.join(seeded)} = 0 do not give the same bits"
        )
    else:
        _assert_same(again, output, "two fits differ, and there is no random_state")


def check_inputs_unchanged(checked):
    """Fitting and predicting change neither X nor y."""
    model, X, y = checked.prepare()
    X_given, y_given = X.copy(deep=True), y.copy(deep=True)
    model.fit(X_given, y_given)
    pd.testing.assert_frame_equal(X_given, X, obj="X after fit")
    pd.testing.assert_frame_equal(y_given, y, obj="y after fit")
    _outputs(model, X_given)
    pd.testing.assert_frame_equal(X_given, X, obj="X after predict or transform")


def check_training_data_not_needed(checked):
    """Outputs need no y, and do not change when the training data do."""
    model, X, y = checked.prepare()
    X_given, y_given = X.copy(deep=True), y.to_numpy(copy=True)
    model.fit(X_given, y_given)
    method = getattr(model, "predict", None) or model.transform
    required = [
        parameter.name
        for parameter in list(inspect.signature(method).parameters.values())[1:]
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    assert not required, f"{method.__name__} requires {required} besides X"
    expected = np.array(_outputs(model, X), copy=True)
    y_given[:] = 1e6
    X_given.iloc[:] = X_given.iloc[::-1].to_numpy()
    _assert_same(
        _outputs(model, X), expected, "outputs follow changes of the training arrays"
    )


def check_serialisation(checked):
    """A pickled copy, and one in another process, give the same outputs."""
    fitted, X, _ = checked.fit()
    expected = _outputs(fitted, X)
    copy = pickle.loads(pickle.dumps(fitted))
    _assert_same(_outputs(copy, X), expected, "a pickled copy differs")
    # With a single job there would be no other process.
    (output,) = Parallel(n_jobs=2, backend="loky")([delayed(_outputs)(fitted, X)])
    _assert_same(output, expected, "a copy in a worker process differs")


def check_clone_after_fit(checked):
    """A clone of a fitted estimator is unfitted and can learn other sizes."""
    fitted, X, y = checked.fit()
    cloned = clone(fitted)
    state = [name for name in vars(cloned) if name not in cloned.get_params(deep=False)]
    # A Pipeline and its like keep parameters under other names; those of a new
    # object are no sign of a fit.
    fresh = vars(checked.prepare()[0])
    kept = [name for name in state if name not in fresh]
    assert not kept, f"a clone of a fitted estimator carries {kept}"
    narrow = y.iloc[:, : y.shape[1] // 2]
    rows = X if _takes_conditions(fitted) else narrow
    cloned.fit(rows, narrow)
    assert len(_outputs(cloned, rows)) == len(X)


def check_callbacks(checked):
    """Callbacks of scikit-learn survive `fit`, are told of it and change nothing."""
    model, X, y = checked.prepare()
    expected = _outputs(checked.fit()[0], X)
    fitted, listener = fit_with_listener(model, X, y)
    _assert_same(_outputs(fitted, X), expected, "outputs differ with callbacks")
    if listener is None or listener.last is None:
        return
    told, rows = listener.last
    expected = _outputs(fitted[-1] if isinstance(fitted, Pipeline) else fitted, rows)
    message = "the estimator that callbacks are given at the end is another"
    _assert_same(_outputs(told, rows), expected, message)


def check_categories_and_extra_columns(checked):
    """Categorical and string columns, and unused ones, change nothing."""
    fitted, X, y = checked.fit()
    expected = _outputs(fitted, X)
    names = ["cell_type", "sm_name", "SMILES"]
    extra = X.assign(
        note=[f"row {i}" for i in range(len(X))], size=np.arange(len(X)) / 2
    )
    for table, what in (
        (X.astype(dict.fromkeys(names, "category")), "of dtype category"),
        (
            extra.astype(dict.fromkeys(names, "string")),
            "of dtype string, with unused ones besides",
        ),
    ):
        model = clone(fitted).fit(table, y)
        _assert_same(
            _outputs(model, table), expected, f"outputs differ for columns {what}"
        )


def check_unseen_levels(checked):
    """A new context, a new perturbation and both get finite outputs."""
    fitted, X, _ = checked.fit()
    width = np.shape(_outputs(fitted, X))[1]
    new_context = {"cell_type": "a new cell type"}
    new_perturbation = {"sm_name": "a new compound", "SMILES": "CC(=O)NCCO"}
    for values in (new_context, new_perturbation, new_context | new_perturbation):
        X_new = X.iloc[:5].assign(**values)
        output = np.asarray(_outputs(fitted, X_new), dtype=np.float64)
        assert output.shape == (5, width), f"shape {output.shape} for {values}"
        assert np.isfinite(output).all(), f"outputs are not finite for {values}"


def check_missing_perturbation(checked):
    """A row without the name of its perturbation is refused, in fit and after."""
    fitted, X, y = checked.fit()
    if is_regressor(fitted) and np.ptp(fitted.predict(X), axis=0).max() == 0:
        return  # The same prediction for every row: no name is read.
    nameless = X.copy()
    nameless.loc[nameless.index[3], "sm_name"] = None
    for action, what in (
        (lambda: clone(fitted).fit(nameless, y), "fit"),
        (lambda: _outputs(fitted, nameless), "predict or transform"),
    ):
        try:
            action()
        except ValueError:
            continue
        raise AssertionError(f"a missing sm_name raised no ValueError in {what}")


def check_predictions(checked):
    """Predictions are float64 with the shape of y, be it a frame or an array."""
    fitted, X, y = checked.fit()
    y_pred = fitted.predict(X)
    assert isinstance(y_pred, np.ndarray), f"got {type(y_pred).__name__}, not ndarray"
    assert y_pred.shape == y.shape, f"shape {y_pred.shape} for y of shape {y.shape}"
    assert y_pred.dtype == np.float64, f"dtype {y_pred.dtype}, not float64"
    assert np.isfinite(y_pred).all(), "predictions are not finite"
    of_array = clone(fitted).fit(X, y.to_numpy()).predict(X)
    _assert_same(of_array, y_pred, "y as an array and as a frame differ")
    single = clone(fitted).fit(X, y.to_numpy()[:, 0]).predict(X)
    assert single.shape == (len(X),), f"shape {single.shape} for y with one dimension"
    assert single.dtype == np.float64, f"dtype {single.dtype} for y with one dimension"
    column = clone(fitted).fit(X, y.to_numpy()[:, :1]).predict(X)
    _assert_same(column.ravel(), single, "one column and one dimension differ")


def check_cross_validation(checked):
    """Unseen pairs can be predicted and scored by `cross_val_score`."""
    model, X, y = checked.prepare()
    cv, scorer = UnseenPairKFold(2, random_state=0), neg_mrrmse_scorer
    scores = cross_val_score(model, X, y, cv=cv, scoring=scorer, error_score="raise")
    assert np.isfinite(scores).all() and (scores <= 0).all(), f"scores are {scores}"


def check_transform_shapes(checked):
    """`fit_transform`, `transform` and the feature names agree on the width."""
    model, X, y = checked.prepare()
    fitted_output = np.asarray(model.fit_transform(X, y))
    output = np.asarray(model.transform(X))
    assert fitted_output.shape == output.shape, (
        f"fit_transform gives shape {fitted_output.shape}, transform {output.shape}"
    )
    assert len(output) == len(X), f"{len(output)} rows out for {len(X)} rows in"
    assert np.isfinite(output).all() and np.isfinite(fitted_output).all()
    names = model.get_feature_names_out()
    assert len(names) == output.shape[1], (
        f"{len(names)} feature names for {output.shape[1]} columns"
    )
    assert len(set(names)) == len(names), "feature names are not unique"


def check_set_output(checked):
    """``set_output(transform="pandas")`` gives named columns and keeps the index."""
    model, X, y = checked.prepare()
    X = X.set_axis([f"r{i}" for i in range(len(X))])
    y = y.set_axis(X.index)
    plain = np.asarray(clone(model).fit(X, y).transform(X))
    model.set_output(transform="pandas")
    for frame in (model.fit_transform(X, y), model.transform(X)):
        assert isinstance(frame, pd.DataFrame), f"got {type(frame).__name__}"
        assert list(frame.columns) == list(model.get_feature_names_out())
        assert list(frame.index) == list(X.index), "the index was not kept"
    _assert_same(frame.to_numpy(), plain, "values differ from those of an array")


_ANY_CHECKS = [
    check_row_independence,
    check_random_state,
    check_inputs_unchanged,
    check_training_data_not_needed,
    check_serialisation,
    check_clone_after_fit,
    check_callbacks,
]
_CONDITION_CHECKS = [
    check_categories_and_extra_columns,
    check_unseen_levels,
    check_missing_perturbation,
]
_REGRESSOR_CHECKS = [check_predictions, check_cross_validation]
_TRANSFORMER_CHECKS = [check_transform_shapes, check_set_output]


def _takes_conditions(estimator):
    """Whether an estimator reads names itself."""
    if isinstance(estimator, Pipeline):
        return _takes_conditions(estimator.steps[0][1])
    if isinstance(estimator, ColumnTransformer):
        return True
    return get_tags(estimator).input_tags.categorical


class _Checked:
    """An estimator that is checked, and a fit of it that its checks share.

    None of them changes what is fitted, and to fit takes nearly all of their time.
    """

    def __init__(self, estimator):
        self.estimator, self._fitted = estimator, None

    def prepare(self):
        """Return (unfitted estimator that takes X, X, y)."""
        X, y = (table.copy() for table in _data())
        model = clone(self.estimator)
        model.set_params(**dict.fromkeys(_seed_names(model), 0))
        if _takes_conditions(model):
            return model, X, y
        if is_regressor(model):
            return make_pipeline(make_condition_encoder(n_components=4), model), X, y
        return model, y.copy(), y

    def fit(self):
        """Return (fitted estimator, X, y)."""
        model, X, y = self.prepare()
        if self._fitted is None:
            self._fitted = model.fit(X.copy(), y.copy())
        return self._fitted, X, y


@cache
def _data():
    """Return the conditions and the responses that estimators are fitted to."""
    screen = make_chemical_screen(4, 20, 30, random_state=0)
    return screen.X[["cell_type", "sm_name", "SMILES", "control"]], screen.y


def _outputs(fitted, X):
    return fitted.predict(X) if hasattr(fitted, "predict") else fitted.transform(X)


def _seed_names(estimator):
    names = estimator.get_params()
    return [name for name in names if name.split("__")[-1] == "random_state"]


def _global_states():
    """Return the states of the global random generators of loaded libraries."""
    states = {"numpy": pickle.dumps(np.random.get_state())}
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states


def _assert_same(found, expected, message):
    """Assert equality up to the rounding of matrix products."""
    found, expected = np.asarray(found), np.asarray(expected)
    shape = found.shape
    assert shape == expected.shape, f"{message}: shape {shape}, not {expected.shape}"
    scale = max(float(np.abs(expected).max(initial=0)), 1e-300)
    close = np.allclose(found, expected, rtol=0, atol=_TOLERANCE * scale)
    assert close, f"{message} (largest value {scale:.3g})"
