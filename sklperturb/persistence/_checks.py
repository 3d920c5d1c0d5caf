"""What fitted objects may say of themselves, where other code would believe it.

scikit-learn's transformers count on what they have learnt. Of a file it may be
anything, and compiled code does not look where it writes.
"""

import os
from numbers import Integral

import numpy as np

from sklperturb.files._reading import FileError, short

# Memory that a file may take beyond what it holds, for text of one length and arrays
# that are used again: so many bytes, and so many times its size.
_FREE_BYTES, _MOST_TIMES = 2**28, 50
# Once those that are used again are counted again; each takes up to .2 ms to make.
MOST_OBJECTS = 200_000
_ONE_HOT = (
    "sklearn.preprocessing.OneHotEncoder",
    "sklperturb.preprocessing._condition_encoder.OneHotEncoder",
)
_FEW_JOBS = 64  # more are too many on a machine with fewer cores


class Budget:
    """Count what a file asks for, and refuse what is out of proportion.

    Parameters
    ----------
    path : Path
    size : int
        Bytes of the file.
    """

    def __init__(self, path, size):
        self.path, self._n_bytes = path, _FREE_BYTES + _MOST_TIMES * size
        self.n_objects = 0

    def take_bytes(self, n_bytes):
        """Count memory, before it is taken."""
        self._n_bytes -= n_bytes
        if self._n_bytes < 0:
            raise FileError(
                f"{self.path} is damaged or was changed: its model takes far more "
                "memory than the file has bytes. Get the file again."
            )

    def take_objects(self, n_objects):
        """Count objects: what walks through a model makes as many steps."""
        self.n_objects += n_objects
        if self.n_objects > MOST_OBJECTS:
            raise FileError(
                f"{self.path} is damaged or was changed: its model has more than "
                f"{MOST_OBJECTS} parts. Get the file again."
            )


def check_keys(keys, path):
    """Refuse keys that were made to have one hash, which take forever to tell apart."""
    if len(keys) > 100 + 2 * len(set(map(hash, keys))):
        raise FileError(
            f"{path} is damaged or was changed: {len(keys)} of its keys have the same "
            "hashes. Get the file again."
        )


def check_position(state, path):
    """Refuse a state of random numbers that is past the end of its buffer."""
    name, inner = state.get("bit_generator"), state.get("state")
    place, end = 0, 0
    if name == "MT19937" and isinstance(inner, dict):
        place, end = inner.get("pos"), 624
    elif name == "Philox":
        place, end = state.get("buffer_pos"), 4
    if type(place) is not int or not 0 <= place <= end:
        raise FileError(
            f"{path} is damaged or was changed: random numbers are at {short(place)} "
            f"of {end}. Get the file again."
        )


def fewer_jobs(state):
    """Let no file start more processes than make sense here."""
    n_jobs = state.get("n_jobs")
    if isinstance(n_jobs, Integral) and n_jobs > max(_FEW_JOBS, os.cpu_count() or 1):
        state["n_jobs"] = -1


def check_fitted(name, made, path):
    """Refuse a fitted object whose attributes do not fit each other.

    Parameters
    ----------
    name : str
        Of its class.
    made : object
    path : Path
        For messages.
    """
    about = vars(made)
    if name in _ONE_HOT and "categories_" in about:
        fits = _codes_fit(about)
    elif name == "sklearn.preprocessing.FunctionTransformer":
        options = [about.get("kw_args"), about.get("inv_kw_args")]
        # An array could be where the function writes to.
        fits = all(
            isinstance(value, bool | int | float | str | None)
            for each in options
            if each
            for value in each.values()
        )
    else:
        fits = True
    if not fits:
        raise FileError(
            f"{path} is damaged or was changed: {name} has attributes that do not fit "
            "each other. Get the file again, or make it again."
        )


def _codes_fit(about):
    """Whether each category has a column; what has none is written past the end."""
    categories, widths = about["categories_"], about["_n_features_outs"]
    nothing = [None] * len(categories)
    dropped, groups, groupings = about["_drop_idx_after_grouping"], nothing, nothing
    if about["_infrequent_enabled"]:
        groups = about["_infrequent_indices"]
        groupings = about["_default_to_infrequent_mappings"]
    if dropped is None:
        dropped = nothing
    elif type(dropped) is not np.ndarray or dropped.ndim != 1:
        return False
    lists = [categories, widths, groups, groupings]
    if not all(type(each) is list for each in lists):
        return False
    return (
        all(map(_fits, *lists, dropped))
        and len({len(each) for each in (*lists, dropped)}) == 1
    )


def _fits(names, width, group, grouping, drop):
    """Whether the categories of one feature fit the number of its columns."""
    if type(names) is not np.ndarray or names.ndim != 1 or not len(names):
        return False
    if names.dtype.kind not in "OU":  # found by bisection
        last = names[-1] if names[-1] == names[-1] else np.inf  # no number comes last
        if not (np.diff(np.append(names[:-1], last).astype(float)) > 0).all():
            return False
    codes = np.arange(len(names))
    if (group is None) != (grouping is None):
        return False
    if grouping is not None:
        codes = grouping
        if type(codes) is not np.ndarray or codes.shape != names.shape:
            return False
        if codes.dtype.kind not in "iu" or codes.min() < 0:
            return False
    n_codes = int(codes.max()) + 1
    if drop is None:
        return isinstance(width, Integral) and width == n_codes
    fits = isinstance(drop, Integral) and 0 <= drop < n_codes
    return fits and isinstance(width, Integral) and width == n_codes - 1
