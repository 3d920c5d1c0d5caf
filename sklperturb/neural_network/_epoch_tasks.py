"""Epochs as tasks of a fit, of which the callbacks of scikit-learn are told."""

import copy

import torch
from skorch.callbacks import Callback


class EpochTasks:
    """Tell callbacks of epochs, and give them the network as it then is.

    Parameters
    ----------
    task : FitTask
        Of the fit.
    regressor : BaseNetRegressor
    X, y : array-like
        As `fit` was given them.
    """

    def __init__(self, task, regressor, X, y):
        self._task, self._regressor, self._data = task, regressor, (X, y)
        self._epoch = None

    def begin(self):
        """Tell that an epoch begins."""
        self._epoch = self._task.part("epoch").begin(*self._data)

    def end(self):
        """Tell that the epoch ended, if one began; return whether to stop there."""
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return False
        with torch.random.fork_rng([]):  # no trace of it in the training
            return epoch.end(*self._data, fitted=self._fitted)

    def _fitted(self):
        return {"net_": self._regressor._net_so_far()}


class SkorchTasks(Callback):
    """Tell of the epochs of a net that skorch trains, and stop if one wants to.

    It comes last, since it ends the training before others hear of the epoch.

    Parameters
    ----------
    tasks : EpochTasks
    """

    stopped = False

    def __init__(self, tasks):
        self.tasks = tasks

    def on_epoch_begin(self, net, **kwargs):
        self.tasks.begin()

    def on_epoch_end(self, net, **kwargs):
        if self.tasks.end():
            self.stopped = True
            raise KeyboardInterrupt


def net_so_far(net):
    """Return a net of skorch that predicts as this one does now, and trains no more."""
    snapshot = type(net).__new__(type(net))
    vars(snapshot).update(vars(net))
    changed = {"callbacks_": [], "history_": copy.copy(net.history_)}
    vars(snapshot).update(changed, module_=copy.deepcopy(net.module_))
    return snapshot
