"""Let a caller watch the epochs of a network that is trained deep inside a pipeline.

What watches is kept beside the call stack and not in a parameter, so that `clone`
neither copies nor refuses it, and a fitted estimator does not carry it away.
"""

from contextlib import contextmanager
from contextvars import ContextVar

_WATCHER = ContextVar("watcher", default=None)


@contextmanager
def watching_epochs(watcher):
    """Call ``watcher(net, epoch)`` after each epoch of the networks in the block.

    Epochs count from 1. An exception that the watcher raises ends the training.
    """
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def is_watched():
    return _WATCHER.get() is not None


def tell_epoch(net, epoch):
    """Report to the watcher, if there is one, that `net` has finished an epoch."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher(net, epoch)
