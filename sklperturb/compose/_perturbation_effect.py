"""Learn what perturbations change, from cells and their controls."""

import warnings
from numbers import Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import _fit_context, clone
from sklearn.utils import _safe_indexing, check_consistent_length, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.baseline import GroupStatisticRegressor
from sklperturb.cells import looks_like_counts, mean_by_group, open_cells
from sklperturb.cells._files import gene_names, is_annotated
from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._labels import control_rows, each_label, take_labels
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._validation import (
    resolve_schema,
    validate_conditions,
    validate_target,
)


class PerturbationEffectRegressor(ConditionRegressor):
    """Fit a regressor to the mean effect of each condition, measured from controls.

    Cells are averaged by condition, the controls of the same context are subtracted,
    and `regressor` learns these effects, one row for each condition. A prediction is
    the mean of the row's controls plus the effect. With one regressor or another,
    this is every simple baseline for single cells; see `make_genetic_baselines`.

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
    match_batch : bool, default=False
        Compare a cell with the controls of its own batch, where there are any.
    target_sum : float, default=None
        Scale each cell to this sum and take log(1 + x) first, for raw counts.
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
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.models.make_genetic_baselines : What to compare a model with.
    DisplacedControlsRegressor : The same, and cells of it.
    LatentTargetRegressor : Learn in a latent space.

    Notes
    -----
    A condition is a perturbation in a context, at a dose if there is one. Each counts
    once, however many cells it has. Controls are the rows that the control column
    marks, or, without such a column, those whose perturbation is spelled as a control;
    they are not conditions, and are predicted as what they are. Where a context has no
    controls, those of all contexts stand in for them. Without any control row, `y` is
    taken to hold changes from control already.

    Cells are read a block at a time, so an AnnData may be backed by a file, or be some
    rows of such a one. A file that is stored by columns is read whole, with a warning.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.compose import PerturbationEffectRegressor
    >>> X = pd.DataFrame({"target_gene": ["control", "KLF1", "MYC", "MYC"]})
    >>> y = [[1.0, 1.0], [3.0, 1.0], [1.0, 4.0], [1.0, 6.0]]
    >>> new = pd.DataFrame({"target_gene": ["TP53", "control"]})
    >>> PerturbationEffectRegressor().fit(X, y).predict(new)
    array([[2., 3.],
           [1., 1.]])
    """

    _parameter_constraints = {
        "regressor": [HasMethods(["fit", "predict"]), None],
        "subtract_control": ["boolean"],
        "predicts": [StrOptions({"expression", "change"})],
        "match_batch": ["boolean"],
        "target_sum": [Interval(Real, 0, None, closed="neither"), None],
        "schema": [PerturbationSchema, None],
    }

    def __init__(
        self,
        regressor=None,
        *,
        subtract_control=True,
        predicts="expression",
        match_batch=False,
        target_sum=None,
        schema=None,
    ):
        self.regressor = regressor
        self.subtract_control = subtract_control
        self.predicts = predicts
        self.match_batch = match_batch
        self.target_sum = target_sum
        self.schema = schema

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Average the cells of each condition and fit the regressor.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_cells, n_columns)
            Condition of each cell, or of each pseudobulk.
        y : AnnData, DataFrame or array-like of shape (n_cells, n_genes)
            Expression.

        Returns
        -------
        self : PerturbationEffectRegressor

        Raises
        ------
        ValueError
            If all rows are controls, or values are not finite.

        Warns
        -----
        UserWarning
            If `y` looks like raw counts and `target_sum` is None.
        """
        # That there is a y is checked here, and the rest of it below.
        target = y if y is None else "no_validation"
        X = validate_conditions(self, X, target, reset=True)
        genes = gene_names(y)
        y = self._read(X, y)
        self.schema_ = resolve_schema(self.schema, X)
        self.schema_.require(X, "perturbation")
        is_control = control_rows(X, self.schema_)
        if is_control.all():
            raise ValueError(
                "All rows are controls, and there is no perturbation to learn from. "
                "Check the control column that the schema names."
            )
        keys = self._reference_keys(X)
        levels, controls = _factorize(keys[is_control])
        rows = np.flatnonzero(~is_control)
        columns = self.schema_.columns("context", "perturbation", "dose")
        # Of controls, the dose may be missing.
        table = take_columns(_safe_indexing(X, rows), columns)
        if self.schema_.labels_combine:
            # A+B and B+A are one condition.
            place = columns.index(self.schema_.perturbation)
            table[:, place] = each_label(table[:, place], self.schema_.spell)
        names, conditions = _factorize(table)
        n_conditions = len(names)
        groups = np.empty(len(is_control), dtype=np.intp)
        groups[rows], groups[is_control] = conditions, n_conditions + controls
        means, sizes = mean_by_group(
            y, groups, n_conditions + len(levels), target_sum=self.target_sum
        )
        self._remember_controls(levels, means[n_conditions:], sizes[n_conditions:])
        self.n_cells_ = sizes[:n_conditions]
        self.effects_ = means[:n_conditions]
        if self.subtract_control:
            references, at = self._find_references(keys[rows])
            weights = sparse.csr_array(
                (1 / self.n_cells_[conditions], (conditions, at)),
                shape=(n_conditions, len(references)),
            )
            self.effects_ = self.effects_ - weights @ references
        first = rows[np.unique(conditions, return_index=True)[1]]
        self.conditions_ = _safe_indexing(X, first)
        self._fit_regressor(genes)
        return self

    def predict(self, X):
        """Return the expected response of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        predicted, references = self._expect(X)
        if self.predicts == "change":
            predicted -= references
        return self._shaped(predicted)

    def _expect(self, X):
        """Return the expected expression of each row, and that of its controls."""
        is_control = control_rows(X, self.schema_)
        references, at = self._find_references(self._reference_keys(X))
        references = references[at]
        predicted = references.copy()
        rows = np.flatnonzero(~is_control)
        if len(rows):
            asked = self.regressor_.predict(_safe_indexing(X, rows))
            asked = np.asarray(asked, dtype=np.float64).reshape(len(rows), -1)
            predicted[rows] = asked + (references[rows] if self.subtract_control else 0)
        return predicted, references

    def _read(self, X, y):
        if not is_annotated(y):
            y = validate_target(self, X, y)
            self._y_ndim = y.ndim
            return open_cells(y.reshape(len(y), -1))
        y = open_cells(y)
        check_consistent_length(X, y)
        self._y_ndim = 2
        if self.target_sum is None and looks_like_counts(y):
            warnings.warn(
                f"{type(self).__name__}: y looks like raw counts, whose means follow "
                "the depth of sequencing. Pass target_sum=10000, or normalised values.",
                UserWarning,
                stacklevel=4,
            )
        return y

    def _used_columns(self):
        return [c for c in self.schema_.columns() if c != self.schema_.mechanism]

    def _reference_keys(self, X):
        """Return what a row's controls must share with it, one column for each."""
        roles = ["context"] + ["batch"] * bool(self.match_batch)
        return take_labels(X, self.schema_.columns(*roles))

    def _remember_controls(self, levels, means, sizes):
        """Keep the mean of the controls of each key, and of each start of a key."""
        n_genes = means.shape[1]
        self._references = {(): np.zeros(n_genes)}
        starts = {level[:length] for level in levels for length in range(len(level))}
        for start in starts:
            rows = [i for i, level in enumerate(levels) if level[: len(start)] == start]
            self._references[start] = np.average(means[rows], 0, weights=sizes[rows])
        self._references |= dict(zip(levels, means, strict=True))
        self.control_mean_ = self._references[()]

    def _find_references(self, keys):
        """Return the control means that rows need, and which of them each needs."""
        levels, codes = _factorize(keys)
        found = []
        for level in levels:
            while level not in self._references:
                level = level[:-1]
            found.append(self._references[level])
        return np.array(found), codes

    def _fit_regressor(self, genes):
        default = GroupStatisticRegressor()
        regressor = clone(default if self.regressor is None else self.regressor)
        unset = [
            name
            for name, value in regressor.get_params().items()
            if value is None and name.rpartition("__")[2] == "schema"
        ]
        regressor.set_params(**dict.fromkeys(unset, self.schema_))
        effects = self.effects_
        if self._y_ndim == 1:
            effects = effects.ravel()
        elif genes is not None:
            index = getattr(self.conditions_, "index", None)
            effects = pd.DataFrame(effects, index=index, columns=genes)
        self.regressor_ = regressor.fit(self.conditions_, effects)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.regressor is not None:
            tags.non_deterministic = get_tags(self.regressor).non_deterministic
        return tags


def _factorize(table):
    """Return the distinct rows of an object array as tuples, and each row's number."""
    rows = pd.Series([tuple(row) for row in table], dtype=object)
    codes, levels = pd.factorize(rows)
    return list(levels), codes
