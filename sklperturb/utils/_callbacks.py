"""The callbacks of scikit-learn 1.9, and nothing in their place where it is older.

A fit is a tree of tasks, and callbacks are told when each begins and ends. In
scikit-learn this is experimental: all that the toolkit knows of it stands in this file.
"""

import copy
from contextlib import contextmanager

from sklearn.base import clone

from sklperturb.utils._calls import run_calls

try:
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import ProgressBar as _SklearnBar
except ImportError:  # before scikit-learn 1.9
    _SklearnBar = None

    class CallbackSupportMixin:
        """Stand-in of a version of scikit-learn that has no callbacks."""


# What scikit-learn keeps on an estimator for callbacks; no part of what it learnt.
CALLBACK_ATTRIBUTES = (
    "_callback_fit_ctx",
    "_parent_callback_ctx",
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
)


class FitTask:
    """A task of a fit, of which callbacks are told.

    It can be sent to another process, where it serves to fit an estimator; begin and
    end are told where the estimator is that the task belongs to.

    Parameters
    ----------
    estimator : estimator
        Whose task it is.
    context : sklearn.callback.CallbackContext or None
        None if nobody is told.
    """

    def __init__(self, estimator=None, context=None):
        self._estimator, self._context = estimator, context

    def part(self, name, *, number=None, n_parts=0, ordered=True):
        """Return a task that is part of this one.

        Parameters
        ----------
        name : str
        number : int, default=None
            Which part it is; needed if, and only if, the parts have no order.
        n_parts : int or None, default=0
            How many parts it has itself; None if that is not known.
        ordered : bool, default=True
            Whether one part of it begins when the one before has ended.
        """
        if self._context is None:
            return self
        try:
            context = self._context.subcontext(
                task_name=name,
                task_id=number,
                max_subtasks=n_parts,
                sequential_subtasks=ordered,
            )
        except ValueError:  # one more than was announced, or for a second time
            return FitTask()
        return FitTask(self._estimator, context)

    def begin(self, X=None, y=None):
        """Tell that the task begins; return it.

        `X` and `y` are the training rows, or functions that return them.
        """
        if self._context is not None:
            self._context.call_on_fit_task_begin(estimator=self._estimator, X=X, y=y)
        return self

    def end(self, X=None, y=None, fitted=None):
        """Tell that the task ended; return whether a callback wants to stop there.

        `fitted` is a function that returns the attributes that make the estimator one
        that can predict, as if its fit had stopped here. It is called if a callback
        asks for such an estimator.
        """
        if self._context is None:
            return False
        return self._context.call_on_fit_task_end(
            estimator=self._estimator, X=X, y=y, reconstruction_attributes=fitted
        )

    @contextmanager
    def around(self, estimator):
        """Let an estimator that is fitted in the block go on with the tree of tasks."""
        if self._context is None or not hasattr(estimator, "set_callbacks"):
            yield
            return
        with self._context.propagate_callback_context(estimator):
            yield

    @contextmanager
    def running(self, estimator, X=None, y=None):
        """Tell of the fit of an estimator in the block, from begin to end."""
        try:
            with self.around(estimator):
                self.begin(X, y)
                yield
        finally:
            self.end(X, y)

    def shared_with(self, estimator):
        """Know what `around` will pass on in another process; return the task.

        Raises
        ------
        TypeError
            If the estimator has a callback of its own that is only to be set on the
            outermost one.
        """
        with self.around(clone(estimator)):
            return self

    def __getstate__(self):
        # The way up is all that matters elsewhere. Other tasks may be added meanwhile.
        return {"_estimator": None, "_context": _way_up(self._context)}


def _way_up(context):
    """Return a copy of a context and those above it, without the others below them."""
    if context is None:
        return None
    twin = copy.copy(context)
    twin._children_map = {}
    twin.parent = _way_up(context.parent)
    return twin


def begin_fit(estimator, X=None, y=None, *, n_parts=0, ordered=True):
    """Return the task of a fit that has begun, to be called in a decorated `fit`.

    Parameters
    ----------
    estimator : estimator
    X, y : array-like, default=None
        Training rows.
    n_parts, ordered
        As of `FitTask.part`.
    """
    if _SklearnBar is None:
        return FitTask()
    context = estimator._init_callback_context(
        max_subtasks=n_parts, sequential_subtasks=ordered
    )
    return FitTask(estimator, context).begin(X, y)


def run_parts(parts, calls, n_jobs=None, shared=()):
    """Run delayed calls; yield what they return, in order.

    Parameters
    ----------
    parts : list of FitTask
        What to tell of each call.
    calls : iterable
        Of `joblib.delayed`.
    n_jobs : int or None
    shared : iterable, default=()
        As of `run_calls`.
    """

    def begun():
        for part, call in zip(parts, calls, strict=True):
            part.begin()
            yield call

    results = run_calls(begun(), n_jobs, shared=shared, ordered=True)
    for part, result in zip(parts, results, strict=True):
        part.end()
        yield result


def without_callbacks(estimator):
    """Return an estimator that says the same of what will be fitted, and tells nobody.

    Callbacks differ from run to run, and what a cache or a study is named after must
    not.
    """
    if not any(map(has_callbacks, _nested(estimator))):
        return estimator
    estimator = clone(estimator)
    for each in _nested(estimator):
        if has_callbacks(each):
            each.set_callbacks()
    return estimator


def _nested(estimator):
    return [estimator, *estimator.get_params().values()]


def has_callbacks(estimator):
    """Whether there is anyone to tell of the tasks of a fit."""
    return bool(getattr(estimator, "_skl_callbacks", None))


def shows_progress(estimator):
    """Whether a bar of scikit-learn shows the fit, so that a second is too much."""
    above = getattr(estimator, "_parent_callback_ctx", None)
    callbacks = [
        *getattr(estimator, "_skl_callbacks", ()),
        *getattr(above, "_callbacks", ()),
    ]
    return _SklearnBar is not None and any(
        isinstance(callback, _SklearnBar) for callback in callbacks
    )
