"""Read data frames of any library, and take columns from them by name."""

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

_FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}


def as_pandas(X):
    """Return a data frame of any library as pandas, and anything else as it is.

    Raises
    ------
    TypeError
        If the frame is lazy: its rows are not there yet.
    """
    if isinstance(X, pd.DataFrame | np.ndarray):
        return X
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError(
            f"{type(X).__module__}.{type(X).__name__} is lazy and holds no rows; "
            "collect it first."
        )
    return frame.to_pandas() if isinstance(frame, nw.DataFrame) else X


def is_annotated(y):
    """Return whether `y` is an AnnData, without importing anndata."""
    return all(hasattr(y, name) for name in ("obs", "var_names", "layers", "obsm"))


def without_annotation(y):
    """Return the `X` of an AnnData, or a frame of any library, as a pandas DataFrame.

    Anything else is returned as it is.
    """
    if not is_annotated(y):
        return as_pandas(y)
    return (y.to_memory() if y.isbacked else y).to_df()


def with_columns(values, columns):
    """Return an array as a frame of these columns, without a copy; as it is for None.

    Also where it has one dimension, or a name occurs twice and tells nothing.
    """
    if columns is None or values.ndim != 2 or not columns.is_unique:
        return values
    return pd.DataFrame(values, columns=columns, copy=False)


def as_block(y):
    """Return responses without annotation, and floats of one kind as an array.

    Checks of scikit-learn look at each column of a frame: 0.2 s for 18,211 genes.
    """
    y = without_annotation(y)
    if isinstance(y, pd.DataFrame) and y.shape[1]:
        kinds = set(y.dtypes)
        if len(kinds) == 1 and kinds <= _FLOATS:
            return y.to_numpy()
    return y


def as_table(X):
    """Return conditions as a pandas DataFrame or a two-dimensional array.

    Raises
    ------
    ValueError
        If `X` has another number of dimensions.
    """
    X = as_pandas(X)
    if not hasattr(X, "shape"):
        # Objects, so that a list of mixed values keeps its numbers.
        X = np.asarray(X, dtype=object)
    if len(X.shape) != 2:
        raise ValueError(
            f"X has {len(X.shape)} dimensions; it must be a table with one row per "
            "sample, since the columns say which condition a row is."
        )
    return X


def column_names(X):
    """Return the names of the columns of a table, or of an array their positions."""
    return list(X.columns) if isinstance(X, pd.DataFrame) else [*range(X.shape[1])]


def take_columns(X, columns, *, allow_missing=False):
    """Return some columns of a table of conditions as an array of objects.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
        Data frames of pandas, polars, pyarrow and others are read by name, arrays by
        position.
    columns : list of str or int
        As given by `PerturbationSchema.columns`.
    allow_missing : bool, default=False
        Whether values may be missing.

    Returns
    -------
    table : ndarray of object of shape (n_samples, len(columns))

    Raises
    ------
    ValueError
        If a value is missing: a condition without a name cannot be learnt.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.conditions import take_columns
    >>> X = pd.DataFrame({"cell_type": ["B", "NK"], "sm_name": ["u", "v"]})
    >>> take_columns(X, ["sm_name", "cell_type"]).tolist()
    [['u', 'B'], ['v', 'NK']]
    """
    X = as_table(X)
    if isinstance(X, pd.DataFrame):
        table = X.loc[:, columns].astype(object)
    else:
        table = pd.DataFrame(np.asarray(X)[:, columns], columns=columns, dtype=object)
    missing = table.isna().sum()
    if missing.any() and not allow_missing:
        counts = ", ".join(f"{c!r}: {n}" for c, n in missing[missing > 0].items())
        raise ValueError(
            f"Missing values in the condition columns ({counts}). Every row needs "
            "them; drop these rows or name the level."
        )
    return table.to_numpy(dtype=object)


def read_column(X, column, *, allow_missing=False):
    """Return one column of a table of conditions; see `take_columns`."""
    return take_columns(X, [column], allow_missing=allow_missing)[:, 0]
