"""The usual features of a condition, side by side."""

import pandas as pd
from sklearn import compose, preprocessing

from sklperturb.conditions._frames import as_pandas, as_table, column_names
from sklperturb.conditions._labels import take_labels
from sklperturb.conditions._validation import resolve_schema
from sklperturb.preprocessing._target_statistics import TargetStatisticsEncoder


class SchemaColumns:
    """Select columns of a DataFrame by their role, for a ColumnTransformer.

    Parameters
    ----------
    *roles : str
        Roles in a `PerturbationSchema`; a role that the data lacks is left out.
    schema : PerturbationSchema, default=None
        None infers the roles from the column names.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.preprocessing import SchemaColumns
    >>> X = pd.DataFrame({"sm_name": ["u"], "cell_type": ["A"], "note": ["-"]})
    >>> SchemaColumns("context", "perturbation")(X)
    ['cell_type', 'sm_name']
    """

    def __init__(self, *roles, schema=None):
        self.roles = roles
        self.schema = schema

    def __call__(self, X):
        """Return the columns of `X` that play the roles.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)

        Returns
        -------
        columns : list of str
        """
        return resolve_schema(self.schema, X).columns(*self.roles)

    def __repr__(self):
        roles = ", ".join(map(repr, self.roles))
        return f"SchemaColumns({roles}, schema={self.schema!r})"


class ColumnTransformer(compose.ColumnTransformer):
    """One of scikit-learn that reads data frames of any library by name.

    Only the latest releases of scikit-learn do so, and not of all libraries. It has
    the same name, after which `make_pipeline` calls its step.
    """

    def fit_transform(self, X, y=None, **params):
        return super().fit_transform(as_pandas(X), y, **params)

    def transform(self, X, **params):
        return super().transform(as_pandas(X), **params)


class OneHotEncoder(preprocessing.OneHotEncoder):
    """One of scikit-learn to which 1, 1.0 and "1" are one name, as elsewhere here."""

    def fit(self, X, y=None):
        return super().fit(_as_texts(X), y)

    def transform(self, X):
        return super().transform(_as_texts(X))


def _as_texts(X):
    X = as_table(X)
    texts = take_labels(X, column_names(X))
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame(texts, X.index, X.columns, dtype=object)
    return texts


def make_condition_encoder(
    *, statistics=("mean", "std"), n_components=32, smooth="auto", cv=5, schema=None
):
    """Return one-hot columns and target statistics of context and perturbation.

    Parameters
    ----------
    statistics, n_components, smooth, cv : as for `TargetStatisticsEncoder`
        Passed to it.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Returns
    -------
    encoder : ColumnTransformer
        With the steps "onehot" and "statistics", so that, say,
        ``statistics__n_components`` can be tuned.

    See Also
    --------
    TargetStatisticsEncoder : The part that sees the response, cross-fitted.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklperturb.preprocessing import make_condition_encoder
    >>> X = pd.DataFrame({"cell_type": list("ABAB"), "sm_name": list("uuvv")})
    >>> encoder = make_condition_encoder(statistics=["mean"], n_components=1, cv=2)
    >>> encoder.fit_transform(X, np.eye(4)).shape
    (4, 6)
    """
    columns = SchemaColumns("context", "perturbation", schema=schema)
    onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder = TargetStatisticsEncoder(
        statistics, n_components, schema=schema, smooth=smooth, cv=cv
    )
    return ColumnTransformer(
        [("onehot", onehot, columns), ("statistics", encoder, columns)]
    )
