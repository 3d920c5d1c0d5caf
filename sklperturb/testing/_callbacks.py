"""What the callbacks of scikit-learn 1.9 are promised, and someone who listens."""

from contextlib import contextmanager

from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from sklperturb.utils._callbacks import (
    CALLBACK_ATTRIBUTES,
    CallbackSupportMixin,
    has_callbacks,
)


class Listener:
    """A callback that notes the tasks that begin and end.

    Attributes
    ----------
    begun, ended : list of tuple
        Of the root's identity, and the names of the tasks from the root down.
    last : tuple (estimator, X) or None
        As a callback is given them at the end of a task.
    """

    def __init__(self):
        self.begun, self.ended, self.last = [], [], None

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Note a task that begins."""
        self.begun.append(_path(context))

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        """Note a task that ended, and the estimator as it then was."""
        self.ended.append(_path(context))
        self.last = None if fitted_estimator is None else (fitted_estimator, X)


def _path(context):
    above = () if context.parent is None else _path(context.parent)
    return *above, (context.root_uuid, context.task_name, context.task_id)


class _Outermost(CallbackSupportMixin, BaseEstimator):
    """What fits the estimator that is checked."""


@contextmanager
def _within_another_fit(model):
    """Yield a task of another estimator's fit, which the model's is part of."""
    root = _Outermost()._init_callback_context(max_subtasks=1)
    task = root.subcontext(task_name="checked")
    with task.propagate_callback_context(model):
        yield task


def fit_with_listener(model, X, y):
    """Fit a clone as part of another fit; return it and its last step's listener.

    Parameters
    ----------
    model : estimator
    X, y : DataFrame
        Training rows.

    Returns
    -------
    model : estimator
        Fitted.
    listener : Listener or None
        None if nothing in it can have callbacks, or scikit-learn has none.
    """
    model = clone(model)
    last = model[-1] if isinstance(model, Pipeline) else model
    if not hasattr(CallbackSupportMixin, "set_callbacks"):
        return model.fit(X, y), None
    listener = None
    if hasattr(last, "set_callbacks"):
        listener = Listener()
        last.set_callbacks(listener)
    with _within_another_fit(model) as task:
        model.fit(X, y)
        kept = getattr(model, "_parent_callback_ctx", None)
        model._parent_callback_ctx = task  # for scikit-learn to take it away
    assert kept is task, "fit lost the task of another fit that it is part of"
    left = {name for each in (model, last) for name in vars(each)}
    left &= set(CALLBACK_ATTRIBUTES) - {"_skl_callbacks"}
    assert not left, f"fit leaves {sorted(left)} behind"
    if listener is None:
        return model, None
    assert has_callbacks(last), "fit lost the callbacks of the estimator"
    assert has_callbacks(clone(last)), "a clone lost the callbacks of the estimator"
    assert listener.begun, "no task of the fit was told to callbacks"
    assert sorted(map(str, listener.begun)) == sorted(map(str, listener.ended)), (
        "the tasks that began are not those that ended"
    )
    roots = {path[0][0] for path in listener.ended}
    assert roots == {task.root_uuid}, "the tasks are not part of the other fit"
    return model, listener
