"""A scorer for cross-validation on cells."""

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import CONTROL, as_text, control_rows, each_label
from sklperturb.conditions._validation import resolve_schema
from sklperturb.evaluation._evaluation import CONVENTIONS, evaluate_cells


class CellScorer:
    """Score an estimator's cells by a metric of a named convention.

    For ``scoring`` of :func:`~sklearn.model_selection.cross_val_score` and searches,
    on data whose rows are cells. The estimator's ``sample(X)`` is asked for cells
    where it has one, else its ``predict(X)``.

    Parameters
    ----------
    metric : str
        A row of the scores of :func:`evaluate_cells`, such as "discrimination".
    convention : {"robust", "vcc2025", "cell_eval", "vcc2026"}, default="robust"
        Whose definitions to use.
    schema : PerturbationSchema, default=None
        Names the columns of X, and says which rows are controls (see
        :func:`~sklperturb.conditions.control_rows`).
    control : str, default=None
        Label of the control cells, where the schema names no column of controls. None
        takes the schema's `control_labels` or the spellings in public use.

    Notes
    -----
    Errors are negated, so that greater is better. Control cells must be in the part
    that is tested: a splitter that holds out perturbations must leave some there. The
    measured control cells serve the prediction too, whatever the convention, since a
    model is not asked to predict them. Tests of differential expression see nothing in
    cells that are all alike: for an estimator that only predicts a mean, use a metric
    of pseudobulks.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklperturb.evaluation import CellScorer
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"target_gene": np.repeat(["control", "A", "B"], 20)})
    >>> y = rng.exponential(size=(60, 5))
    >>> model = DummyRegressor().fit(X, y)
    >>> CellScorer("discrimination")(model, X, y)
    0.5
    """

    def __init__(self, metric, convention="robust", *, schema=None, control=None):
        if convention not in CONVENTIONS:
            raise ValueError(
                f"convention={convention!r}; allowed are {', '.join(CONVENTIONS)}."
            )
        self.metric = metric
        self.convention = convention
        self.schema = schema
        self.control = control

    def __repr__(self):
        return f"CellScorer({self.metric!r}, convention={self.convention!r})"

    def __call__(self, estimator, X, y):
        """Return the score of `estimator` on the cells of `X` and `y`.

        Parameters
        ----------
        estimator : object
            Fitted, with `sample` or `predict`.
        X : DataFrame of shape (n_cells, n_columns)
        y : array-like, DataFrame or AnnData of shape (n_cells, n_genes)

        Returns
        -------
        score : float
        """
        schema = resolve_schema(self.schema, X, self.control)
        is_control = control_rows(X, schema)
        labels = each_label(read_column(X, schema.perturbation), as_text)
        labels[is_control] = CONTROL
        make = getattr(estimator, "sample", estimator.predict)
        real = _annotated(y, labels)
        pred = _annotated(make(X), labels, real.var_names)
        pred.X[is_control] = real.X[is_control]
        found = evaluate_cells(
            real,
            pred,
            "label",
            control=CONTROL,
            convention=self.convention,
            anchors=False,
        )
        if self.metric not in found.scores.index:
            raise ValueError(
                f"metric={self.metric!r}; convention {self.convention!r} has "
                f"{list(found.scores.index)}."
            )
        row = found.scores.loc[self.metric]
        return float(row["score"] if row["greater_is_better"] else -row["score"])


def _annotated(values, labels, genes=None):
    from anndata import AnnData

    if hasattr(values, "var_names"):
        genes = values.var_names
        values = values.X
    elif isinstance(values, pd.DataFrame):
        genes = values.columns.astype(str)
    values = values.toarray() if hasattr(values, "toarray") else np.array(values, float)
    if genes is None:
        genes = [f"g{i}" for i in range(values.shape[1])]
    obs = pd.DataFrame({"label": labels}, index=np.arange(len(labels)).astype(str))
    return AnnData(values, obs=obs, var=pd.DataFrame(index=pd.Index(genes)))
