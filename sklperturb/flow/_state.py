"""The state of a fitted model, of arrays and plain values, as one file."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from sklperturb.utils._atomic import written_whole

_ARRAY = "array"


def write_state(path, state):
    """Write nested dictionaries of arrays and plain values to an ``.npz`` file.

    Raises
    ------
    TypeError
        If something in it is neither an array of numbers or text nor a plain value.
    """
    arrays = {}

    def plain(value):
        if isinstance(value, np.generic):
            return value.item()
        if not isinstance(value, np.ndarray) or value.dtype == object:
            raise TypeError(f"A {type(value).__name__} is neither numbers nor text.")
        name = f"{_ARRAY}{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}

    arrays["state"] = np.array(json.dumps(state, default=plain))
    path = Path(path)
    with written_whole(path) as unfinished, open(unfinished, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_state(path):
    """Return what `write_state` wrote; nothing in the file is run.

    Raises
    ------
    ValueError
        If the file is none of these.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return json.loads(
            str(arrays["state"]),
            object_hook=lambda found: (
                arrays[found[_ARRAY]] if found.keys() == {_ARRAY} else found
            ),
        )
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(
            f"{path} is no model that fit-cells wrote, or it is damaged: {error}"
        ) from error


def table_state(table):
    """Return a table of conditions as text and arrays."""
    table = pd.DataFrame(table)
    values = [table.iloc[:, i].to_numpy() for i in range(table.shape[1])]
    return {
        "columns": list(table.columns),
        "values": [v if v.dtype.kind in "biuf" else v.astype(str) for v in values],
    }


def table_from_state(state):
    """Return the DataFrame of which `table_state` was taken."""
    columns = zip(state["columns"], state["values"], strict=True)
    return pd.DataFrame(dict(columns))
