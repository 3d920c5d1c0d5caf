"""The recommended model of cells: simple, unless held-out conditions say more."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context, clone
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import open_cells
from sklperturb.cells._blocks import to_dense
from sklperturb.cells._files import gene_names, is_annotated
from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._labels import control_rows, take_labels
from sklperturb.conditions._named_predictions import NamedPredictionsMixin
from sklperturb.conditions._validation import (
    resolve_schema,
    validate_conditions,
    validate_target,
)
from sklperturb.metrics import energy_distance
from sklperturb.model_selection import UnseenContextKFold, UnseenPerturbationKFold
from sklperturb.model_selection._fold import FoldFit
from sklperturb.models._cell_models import make_cell_models
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit
from sklperturb.utils._intervals import mean_interval

_CANDIDATES = ("controls", "context_shift", "kernel", "flow")  # the simplest first
_FEWEST = 5  # below which an interval says little, and nothing is chosen
_MAX_CELLS = 10_000  # that principal components are learnt from
_FOLDS = {"perturbation": UnseenPerturbationKFold, "context": UnseenContextKFold}


class BestCellsRegressor(
    DocumentedMixin,
    NamedPredictionsMixin,
    CallbackSupportMixin,
    RegressorMixin,
    BaseEstimator,
):
    """Generate cells by the simplest model that held-out perturbations do not refute.

    Controls as they are, controls displaced by the mean shift of their context, by a
    kernel ridge on what is known of genes, and a flow are compared by cross-validation.
    One takes the place of the simpler ones only where its energy distance [1]_ is
    smaller than that of each, by a 95 % interval of the paired differences.

    Parameters
    ----------
    embedding : transformer, default=None
        Gives perturbed genes a vector, such as `GeneSetEncoder` or `LookupEmbedding`.
        Without one there is no kernel.
    unseen : {"perturbation", "context"}, default="perturbation"
        What will be asked for, and is held out: perturbations, or contexts, whose
        controls are known.
    n_splits : int, default=5
        Folds; fewer where there is less to hold out.
    n_components : int, default=50
        Principal components of the training cells of a fold, in which the held-out
        cells are scored.
    max_steps : int, default=2000
        Steps of the training of the flow.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds, of the flow and of the cells that are scored.

    Attributes
    ----------
    best_estimator_ : estimator
        The chosen one, fitted to all cells.
    choice_ : str
        Its name: "controls", "context_shift", "kernel" or "flow".
    cv_errors_ : dict of str to float
        Mean energy distance of what was held out, by model; empty where nothing was
        compared. That of the choice is a little too small, since it was chosen by it.
    cv_intervals_ : DataFrame of shape (n_pairs, 3)
        For each "model" and each that is "simpler", the mean "difference" of their
        errors, and the ends "low" and "high" of its interval by Student's t over
        perturbations (or contexts).
    schema_ : PerturbationSchema
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    make_cell_models : These models and others, by name.
    sklperturb.comparison.compare : Shows all of them, on folds of one's own.

    References
    ----------
    .. [1] Szekely and Rizzo. "Energy statistics: A class of statistics based on
       distances". Journal of Statistical Planning and Inference 143, 2013.
       :doi:`10.1016/j.jspi.2013.03.018`

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklperturb.models import BestCellsRegressor
    >>> genes = ["control", "GATA1", "KLF1", "MYC", "SPI1", "TP53"]
    >>> X = pd.DataFrame({"target_gene": np.repeat(genes, 20)})
    >>> y = np.random.default_rng(0).normal(size=(120, 3))
    >>> y[20:] += 3.0
    >>> model = BestCellsRegressor(max_steps=10, random_state=0).fit(X, y)
    >>> model.choice_, model.sample(X[-2:], n_cells=5).shape
    ('context_shift', (2, 5, 3))
    """

    _parameter_constraints = {
        "embedding": [HasMethods(["fit", "transform"]), None],
        "unseen": [StrOptions(set(_FOLDS))],
        "n_splits": [Interval(Integral, 2, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left")],
        "schema": [PerturbationSchema, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        embedding=None,
        *,
        unseen="perturbation",
        n_splits=5,
        n_components=50,
        max_steps=2000,
        schema=None,
        random_state=None,
    ):
        self.embedding = embedding
        self.unseen = unseen
        self.n_splits = n_splits
        self.n_components = n_components
        self.max_steps = max_steps
        self.schema = schema
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Compare the models on what is held out, and fit the best to all cells.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_cells, n_columns)
            Condition of each cell.
        y : AnnData, DataFrame or array-like of shape (n_cells, n_outputs)
            Log-normalised expression, or a latent space.

        Returns
        -------
        self : BestCellsRegressor

        Raises
        ------
        ValueError
            If all rows are controls, or values are not finite.

        Warns
        -----
        UserWarning
            If there are no controls, or fewer than five perturbations (or contexts) to
            hold out: the mean shift of the context is then taken without a choice.
        """
        task = begin_fit(self, X, y, n_parts=2)
        X = validate_conditions(
            self, X, y if y is None else "no_validation", reset=True
        )
        if not is_annotated(y):
            genes, y = gene_names(y), validate_target(self, X, y)
            y = y if genes is None else pd.DataFrame(y, columns=genes)
        self.schema_ = resolve_schema(self.schema, X)
        self.schema_.require(X, "perturbation")
        # One seed, so that the fits of the folds and the last one draw alike.
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        baselines, models = make_cell_models(
            self.embedding,
            schema=self.schema_,
            max_steps=self.max_steps,
            random_state=seed,
        )
        found = baselines | models
        candidates = {name: found[name] for name in _CANDIDATES if name in found}
        errors, units = self._cross_validate(candidates, X, y, seed, task)
        self.cv_errors_ = {
            name: mean_interval(column, units)[0] for name, column in errors.items()
        }
        self.choice_, differences = "context_shift" if errors.empty else "controls", {}
        for at, name in enumerate(errors):
            pairs = {
                (name, simpler): mean_interval(errors[name] - errors[simpler], units)
                for simpler in errors.columns[:at]
            }
            differences |= pairs
            if pairs and all(high < 0 for _, _, high in pairs.values()):
                self.choice_ = name
        self.cv_intervals_ = pd.DataFrame(
            list(differences.values()),
            pd.MultiIndex.from_tuples(differences, names=["model", "simpler"]),
            ["difference", "low", "high"],
        )
        self.best_estimator_ = clone(candidates[self.choice_])
        with task.part("fit-best").running(self.best_estimator_):
            self.best_estimator_.fit(X, y)
        task.end(X, y, fitted=dict)
        return self

    def predict(self, X):
        """Return the expected response of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        check_is_fitted(self)
        return self.best_estimator_.predict(validate_conditions(self, X, reset=False))

    def sample(self, X, n_cells=100, *, random_state=0):
        """Generate cells of each row's condition.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        n_cells : int, default=100
            Cells of each row.
        random_state : int, RandomState instance or None, default=0
            Seed of what is drawn.

        Returns
        -------
        cells : ndarray of shape (n_samples, n_cells, n_outputs)

        Raises
        ------
        ValueError
            If there were no controls in the training data.
        """
        check_is_fitted(self)
        X = validate_conditions(self, X, reset=False)
        return self.best_estimator_.sample(X, n_cells, random_state=random_state)

    def _cross_validate(self, candidates, X, y, seed, task):
        """Return the errors of each condition by model, and the unit of each."""
        is_control = control_rows(X, self.schema_)
        columns = self.schema_.columns("perturbation", "context")
        labels = pd.DataFrame(take_labels(X, columns).astype(str), columns=columns)
        unit = getattr(self.schema_, self.unseen)
        n_units = 0 if unit is None else labels.loc[~is_control, unit].nunique()
        if n_units < _FEWEST or not is_control.any():
            warn(
                f"{type(self).__name__} takes the mean shift of the context, without a "
                f"choice: there are {n_units} {self.unseen}s to hold out and "
                f"{is_control.sum()} controls, and to choose takes {_FEWEST} and some."
            )
            return pd.DataFrame(), []
        cv = _FOLDS[self.unseen](
            min(self.n_splits, n_units),
            keep_controls=True,
            schema=self.schema_,
            random_state=seed,
        )
        rng, errors, units = np.random.default_rng(seed), [], []
        cells = open_cells(y[:, None] if y.ndim == 1 else y)
        comparing = task.part("compare", n_parts=cv.get_n_splits(X)).begin()
        for train, test in cv.split(X):
            of_fold = comparing.part("fold", n_parts=len(candidates)).begin()
            seen = to_dense(cells.rows(np.sort(rng.permutation(train)[:_MAX_CELLS])))
            n_components = min(self.n_components, *seen.shape)
            space = PCA(n_components, random_state=seed).fit(seen)
            truth, guesses = space.transform(to_dense(cells.rows(test))), {}
            for name, model in candidates.items():
                part = of_fold.part(name).shared_with(model).begin()
                fit = FoldFit(model, X, y, train, test, fit_task=part).fit()
                guess = fit.estimator_.sample(fit.X_test, 1, random_state=seed)
                part.end()
                guesses[name] = space.transform(guess.reshape(len(test), -1))
            own = labels.iloc[test].reset_index(drop=True)
            for rows in own.groupby(columns).indices.values():
                if len(rows) > 1:  # the spread of one cell is not known
                    units.append(own[unit][rows[0]])
                    errors.append(
                        {
                            name: energy_distance(
                                truth[rows], guess[rows], unbiased=True
                            )
                            for name, guess in guesses.items()
                        }
                    )
            of_fold.end()
        comparing.end()
        return pd.DataFrame(errors), units

    def _used_columns(self):
        return [c for c in self.schema_.columns() if c != self.schema_.mechanism]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.regressor_tags.poor_score = True
        return tags
