"""Cells of a model of means: controls, displaced by the predicted change."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import log_normalise, open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.compose._perturbation_effect import PerturbationEffectRegressor
from sklperturb.conditions._labels import control_rows, take_labels
from sklperturb.conditions._validation import validate_conditions


class DisplacedControlsRegressor(PerturbationEffectRegressor):
    """Make cells of any model of means: controls, displaced by the predicted change.

    `regressor` learns the mean effect of each condition, as in
    `PerturbationEffectRegressor`. `sample` draws controls of the same context and batch
    and adds the effect to each, so that a mean has the spread of cells: what a model
    that generates cells has to be better than.

    Parameters
    ----------
    regressor : estimator, default=None
        Takes conditions, and learns one row of effects for each. None is the mean of
        all effects, the "mean shift". Where it or a part of it has a parameter
        `schema` that is None, it is given this estimator's.
    subtract_control : bool, default=True
        False lets the regressor learn expression itself: with the default regressor,
        the "perturbed mean".
    predicts : {"expression", "change"}, default="expression"
        What `predict` returns: expected expression, or its change from the controls.
        Cells are expression always.
    match_batch : bool, default=False
        Compare a cell with the controls of its own batch, where there are any.
    target_sum : float, default=None
        Scale each cell to this sum and take log(1 + x) first, for raw counts. Cells
        are then of that scale.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.

    Attributes
    ----------
    regressor_ : estimator
        Fitted to the effects.
    conditions_ : DataFrame or ndarray of shape (n_conditions, n_columns)
        The perturbed conditions; of each, the first row.
    effects_ : ndarray of shape (n_conditions, n_genes)
        What `regressor_` was fitted to.
    n_cells_ : ndarray of int of shape (n_conditions,)
    control_mean_ : ndarray of shape (n_genes,)
        Of all controls.
    controls_ : ndarray or csr_array of shape (n_controls, n_genes)
        The cells that are displaced.
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.flow.FlowMatchingRegressor : Learns how the spread changes, too.
    sklperturb.models.make_cell_models : Such models, by name.

    Notes
    -----
    Where a context and batch have no controls, those of the context stand in, and then
    those of all contexts. Values that a displacement takes below zero stay there.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.compose import DisplacedControlsRegressor
    >>> X = pd.DataFrame({"target_gene": ["control", "control", "KLF1", "MYC"]})
    >>> y = [[0.0, 1.0], [2.0, 1.0], [3.0, 1.0], [1.0, 5.0]]
    >>> model = DisplacedControlsRegressor().fit(X, y)
    >>> new = pd.DataFrame({"target_gene": ["TP53"]})
    >>> model.predict(new)
    array([[2., 3.]])
    >>> sorted(model.sample(new, n_cells=2)[0].tolist())
    [[1.0, 3.0], [3.0, 3.0]]
    """

    def fit(self, X, y):
        """Fit the regressor to mean effects, and keep the controls.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_cells, n_columns)
            Condition of each cell.
        y : AnnData, DataFrame or array-like of shape (n_cells, n_genes)
            Expression, or a latent space. Only the controls are kept.

        Returns
        -------
        self : DisplacedControlsRegressor

        Raises
        ------
        ValueError
            If all rows are controls, or values are not finite.
        """
        super().fit(X, y)
        rows = np.flatnonzero(control_rows(X, self.schema_))
        cells = np.asarray(y)[:, None] if self._y_ndim == 1 else y
        self.controls_ = open_cells(cells).rows(rows)
        if self.target_sum is not None:
            self.controls_ = log_normalise(self.controls_, self.target_sum)
        keys = self._pool_keys(X)[rows]
        n_columns, keys = keys.shape[1], [tuple(key) for key in keys]
        self._pools = {}
        for length in range(n_columns + 1):
            starts = pd.Series([key[:length] for key in keys], dtype=object)
            self._pools |= starts.groupby(starts).indices
        return self

    @validate_params(
        {
            "self": "no_validation",
            "X": "no_validation",
            "n_cells": [Interval(Integral, 1, None, closed="left")],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def sample(self, X, n_cells=100, *, random_state=0):
        """Return controls of the row's context and batch, displaced.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions. For a row that is a control, controls are drawn.
        n_cells : int, default=100
            Cells of each row. Rows that share a condition get different controls as
            long as there are enough.
        random_state : int, RandomState instance or None, default=0
            Seed of what is drawn.

        Returns
        -------
        cells : ndarray of shape (n_samples, n_cells, n_genes)

        Raises
        ------
        ValueError
            If there were no controls in the training data.
        """
        check_is_fitted(self)
        if not self.controls_.shape[0]:
            raise ValueError(
                "There were no controls in the training data, and cells are controls "
                "that are displaced; fit to data with controls."
            )
        X = validate_conditions(self, X, reset=False)
        predicted, references = self._expect(X)
        changes = predicted - references
        rng = check_random_state(random_state)
        cells = np.empty((len(changes), n_cells, changes.shape[1]))
        keys = np.column_stack(
            [self._pool_keys(X), take_labels(X, [self.schema_.perturbation])]
        )
        keys = pd.Series([tuple(key) for key in keys], dtype=object)
        for key, rows in keys.groupby(keys, sort=False).indices.items():
            pool = self._pool(key[:-1])
            n_drawn = len(rows) * n_cells
            turns = [rng.permutation(pool) for _ in range(-(-n_drawn // len(pool)))]
            drawn = to_dense(self.controls_[np.concatenate(turns)[:n_drawn]])
            cells[rows] = drawn.reshape(len(rows), n_cells, -1)
            cells[rows] += changes[rows, None]
        return cells

    def _pool_keys(self, X):
        """Return what tells pools of controls apart, one column for each."""
        return take_labels(X, self.schema_.columns("context", "batch")).astype(str)

    def _pool(self, key):
        """Return the rows of the controls that are most like a row."""
        while key not in self._pools:
            key = key[:-1]
        return self._pools[key]
