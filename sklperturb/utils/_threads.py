"""Keep numerical libraries to one thread."""

import sys
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread():
    """Leave the other cores to other fits; the result is then the same everywhere."""
    torch = sys.modules.get("torch")
    n_threads = None if torch is None else torch.get_num_threads()
    with threadpool_limits(1):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(n_threads)
