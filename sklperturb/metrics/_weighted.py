"""A squared error in which each gene of each compound has its own weight."""

import joblib
import numpy as np
import pandas as pd

from sklperturb.conditions._frames import as_pandas, read_column
from sklperturb.conditions._named_predictions import predict_genes_of
from sklperturb.files._identifiers import as_identifiers
from sklperturb.metrics._checks import check_weights, without_annotation
from sklperturb.metrics._effects import gene_weights, weighted_squared_error


def weighted_mean_squared_error(y_true, y_pred, *, weights, sample_weight=None):
    r"""Compute the weighted mean squared error (wMSE), the score of VCPI 2026.

    .. math::
        \mathrm{wMSE} = \frac{1}{R} \sum_{i=1}^{R}
        \frac{\sum_j w_{ij} (\hat y_{ij} - y_{ij})^2}{\sum_j w_{ij}}

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_samples, n_genes)
        Measured expression or responses, one row per compound.
    y_pred : array-like or DataFrame of shape (n_samples, n_genes)
        Predicted ones, in the same order.
    weights : array-like of shape (n_samples, n_genes) or (n_genes,)
        At least 0, and not all 0 in a row; only their proportions in a row matter.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in the mean.

    Returns
    -------
    error : float
        In the squared unit of `y_true`; 0 is best.

    Raises
    ------
    ValueError
        If shapes differ, values are not finite, or weights are negative, not finite or
        all 0 in a row.

    See Also
    --------
    WeightedMSEScorer : The same in cross-validation, searches and comparisons.
    weighted_squared_error : The errors of the single rows.
    differential_weights : The contest's weights, from t statistics.

    Notes
    -----
    The contest [1]_ divides by no sum, since its weights add up to 1 in a row; with
    those of its file, which are rounded to 16 bits, the two agree to about 0.1 %.

    References
    ----------
    .. [1] "VCPI prediction contest 2026", version 0.1.
       https://github.com/virtualcell-vcpi/vcpi-prediction-contest-2026
    .. [2] Mejia et al. "Diversity by design: addressing mode collapse improves
       scRNA-seq perturbation modeling on well-calibrated metrics". arXiv 2506.22641,
       2025.

    Examples
    --------
    >>> from sklperturb.metrics import wmse
    >>> y_true, y_pred = [[1.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [1.0, 1.0]]
    >>> wmse(y_true, y_pred, weights=[[0.75, 0.25], [0.5, 0.5]])
    0.875
    >>> wmse(y_true, y_pred, weights=[0.0, 1.0], sample_weight=[1, 3])
    1.0
    """
    errors = weighted_squared_error(y_true, y_pred, weights=weights)
    return float(np.average(errors, weights=check_weights(sample_weight, len(errors))))


wmse = weighted_mean_squared_error


class WeightedMSEScorer:
    """Score by the weighted mean squared error, with the weights of the rows scored.

    A scorer for scikit-learn (`cross_val_score`, `GridSearchCV`, ...), and a metric for
    :func:`~sklperturb.comparison.compare`. Weights come by the labels of a column of
    `X`, so that each fold finds those of its rows.

    Parameters
    ----------
    weights : DataFrame of shape (n_labels, n_genes), or array-like of shape (n_genes,)
        A row for each label of `by`, which is the index, and the columns of `y`; or
        one weight for each gene, for all rows.
    by : str, int or None, default=None
        Column of `X` with the labels; None where `weights` is one row.

    Attributes
    ----------
    name : str
        ``"wmse"``.
    greater_is_better : bool
        False: the error's own sign, of `of_rows`. A call gives the negated error.
    scorer : WeightedMSEScorer
        Itself, as row-wise metrics have one.
    description : str

    See Also
    --------
    weighted_mean_squared_error : The error itself.
    sklperturb.datasets.load_vcpi : Gives `weights` by the column ``"compound"``.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklperturb.metrics import WeightedMSEScorer
    >>> X = pd.DataFrame({"compound": ["a", "b", "c"]})
    >>> y = pd.DataFrame({"G1": [1.0, 4.0, 5.0], "G2": [0.0, 0.0, 0.0]})
    >>> weights = pd.DataFrame([[1, 0], [1, 0], [1, 1]], X["compound"], y.columns)
    >>> scorer = WeightedMSEScorer(weights, by="compound")
    >>> cross_val_score(DummyRegressor(), X, y, cv=3, scoring=scorer)
    array([-12.25 ,  -1.   ,  -3.125])
    """

    name = "wmse"
    greater_is_better = False
    description = "weighted mean squared error"

    def __init__(self, weights, *, by=None):
        self.by = by
        self.weights = as_pandas(weights)
        if by is None:
            if np.ndim(weights) != 1:
                raise ValueError(
                    f"weights has shape {np.shape(weights)}; weights by row need by=, "
                    "the column of X that names their rows. Without it, pass one "
                    "weight for each gene."
                )
            return
        if not isinstance(self.weights, pd.DataFrame):
            raise ValueError(
                f"by={by!r} needs weights that are a DataFrame whose index holds the "
                f"labels of that column, got {type(weights).__name__}."
            )
        labels = as_identifiers(self.weights.index)
        if not labels.is_unique:
            raise ValueError(
                f"weights has more than one row for {labels[labels.duplicated()][0]!r}."
            )
        self.weights = self.weights.set_axis(labels)

    def __repr__(self):
        # Searches tell by it whether they go on with the same scores.
        weights = f"<{np.shape(self.weights)}, {joblib.hash(self.weights)[:12]}>"
        return f"WeightedMSEScorer({weights}, by={self.by!r})"

    @property
    def scorer(self):
        return self

    def __call__(self, estimator, X, y):
        """Return the negated error of an estimator on rows, so that greater is better.

        Parameters
        ----------
        estimator : estimator
        X : DataFrame of shape (n_samples, n_columns)
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)

        Returns
        -------
        score : float
        """
        y_pred = predict_genes_of(estimator, X, y)
        return -float(np.mean(self.of_rows(X)(y, y_pred)))

    def of_rows(self, X):
        """Return the function that scores predictions for some rows.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)

        Returns
        -------
        row_function : callable
            ``row_function(y_true, y_pred)`` gives an ndarray of shape (n_samples,).

        Raises
        ------
        ValueError
            If a row has no weights.
        """
        weights = self._take(X)

        def errors(y_true, y_pred):
            truth = without_annotation(y_true)
            w = _of_genes(weights, truth)
            pair = truth, as_pandas(y_pred)
            if not all(isinstance(side, pd.DataFrame) for side in pair):
                # Frames are matched by name, all else by place.
                pair = (np.asarray(side).reshape(len(truth), -1) for side in pair)
            return weighted_squared_error(*pair, weights=w)

        return errors

    def weights_for(self, X, y):
        """Return the weights of rows.

        Parameters
        ----------
        X : DataFrame of shape (n_samples, n_columns)
        y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
            Names the genes, where it does.

        Returns
        -------
        weights : ndarray of shape (n_samples, n_genes), float64

        Raises
        ------
        ValueError
            If a row has no weights, theirs are for other genes, or they are negative,
            not finite or all 0 in a row.
        """
        y = without_annotation(y)
        shape = (len(y), np.size(y) // max(len(y), 1))
        return np.array(gene_weights(_of_genes(self._take(X), y), shape))

    def _take(self, X):
        """Return the weights of rows, by the labels of their column."""
        if self.by is None:
            return self.weights
        labels = as_identifiers(read_column(X, self.by))
        found = self.weights.index.get_indexer(labels)
        if (found < 0).any():
            lacking = labels[found < 0].unique()
            raise ValueError(
                f"weights has no row for {len(lacking)} labels of column {self.by!r}, "
                f"such as {list(lacking[:3])}; its index is such as "
                f"{list(self.weights.index[:3])}. Leave these rows of X out, or give "
                "them weights."
            )
        return self.weights.iloc[found]


def _of_genes(weights, y):
    """Return weights as an array, or raise if their genes are not those of `y`."""
    names = [getattr(table, "columns", None) for table in (weights, y)]
    if all(n is not None for n in names) and not names[0].equals(names[1]):
        raise ValueError(
            f"weights has the genes {list(names[0][:3])} ..., and y "
            f"{list(names[1][:3])} ...; bring them in one order."
        )
    return np.asarray(weights)
