"""Boosted trees for many correlated targets."""

from numbers import Integral, Real

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import BaseEstimator, RegressorMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._frames import without_annotation
from sklperturb.conditions._named_predictions import NamedPredictionsMixin
from sklperturb.preprocessing import TargetReducer


def _lightgbm():
    try:
        import lightgbm
    except ImportError as error:
        raise ImportError(
            'Boosting needs LightGBM; run: pip install "sklperturb[boost]"'
        ) from error
    return lightgbm


class BoostedTargetRegressor(
    DocumentedMixin, NamedPredictionsMixin, RegressorMixin, BaseEstimator
):
    """Boost regression trees on the leading components of the targets.

    `fit` writes the responses in the orthonormal basis of `TargetReducer` and grows
    one LightGBM model for each leading component [1]_; `predict` goes back to genes. It
    takes numbers: put `make_condition_encoder` before it in a Pipeline.

    Parameters
    ----------
    n_components : "full", int, float or "gavish-donoho", default=20
        Components of the targets (see `TargetReducer`). Time grows with their number,
        and the later ones are mostly noise.
    n_estimators : int, default=100
        Trees for each component.
    learning_rate : float, default=0.1
    max_leaf_nodes : int, default=15
        Leaves of a tree.
    min_samples_leaf : int, default=20
    l2_regularization : float, default=1.0
        Penalty on the values of the leaves.
    max_features : float, default=0.3
        Share of the features that a tree may split on, drawn anew for each tree.
    n_jobs : int, default=None
        Threads, each with models of its own; None is 1, -1 all cores. The prediction
        does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Draws the features.

    Attributes
    ----------
    boosters_ : list of lightgbm.Booster
        One for each component.
    reducer_ : TargetReducer
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.compose.LatentTargetRegressor : Any regressor on any latent space.

    Notes
    -----
    On TG-GATEs, LightGBM and one XGBoost tree per output were equally accurate and
    equally fast; XGBoost's trees with vector leaves were slower and no better, and
    scikit-learn's histogram boosting as accurate but several times slower
    (``benchmarks/models/boosting_backends.py``). LightGBM is the smaller package.

    References
    ----------
    .. [1] Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree",
       NeurIPS 2017.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import BoostedTargetRegressor
    >>> from sklperturb.preprocessing import make_condition_encoder
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = make_pipeline(
    ...     make_condition_encoder(n_components=4),
    ...     BoostedTargetRegressor(n_components=3, n_estimators=10, random_state=0),
    ... )
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape
    (32, 50)
    """

    _parameter_constraints = {
        **TargetReducer._parameter_constraints,
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_leaf_nodes": [Interval(Integral, 2, None, closed="left")],
        "min_samples_leaf": [Interval(Integral, 1, None, closed="left")],
        "l2_regularization": [Interval(Real, 0, None, closed="left")],
        "max_features": [Interval(Real, 0, 1, closed="right")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=20,
        *,
        n_estimators=100,
        learning_rate=0.1,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        l2_regularization=1.0,
        max_features=0.3,
        n_jobs=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Learn the basis of the targets, and the trees of each component.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Numbers, such as encoded conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : BoostedTargetRegressor

        Raises
        ------
        ImportError
            If LightGBM is not installed.
        ValueError
            If a parameter is out of range.
        """
        _lightgbm()
        X, y = validate_data(
            *(self, X, without_annotation(y)),
            dtype=np.float64,
            multi_output=True,
            y_numeric=True,
        )
        self._y_ndim = y.ndim
        self.reducer_ = TargetReducer(self.n_components)
        targets = self.reducer_.fit_transform(y.reshape(len(y), -1).astype(float))
        seeds = check_random_state(self.random_state).randint(
            2**31 - 1, size=targets.shape[1]
        )
        blocks = np.array_split(np.arange(targets.shape[1]), self._n_threads(targets))
        grown = Parallel(len(blocks), prefer="threads")(
            delayed(_grow)(
                X,
                targets[:, block],
                seeds[block],
                self._booster_params(),
                self.n_estimators,
            )
            for block in blocks
        )
        self.boosters_ = [booster for block in grown for booster in block]
        return self

    def predict(self, X):
        """Return the expected response of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        latent = [booster.predict(X, num_threads=1) for booster in self.boosters_]
        y_pred = self.reducer_.inverse_transform(np.column_stack(latent))
        return y_pred.ravel() if self._y_ndim == 1 else y_pred

    def _n_threads(self, targets):
        return max(1, min(effective_n_jobs(self.n_jobs), targets.shape[1]))

    def _booster_params(self):
        return {
            "objective": "l2",
            "learning_rate": self.learning_rate,
            "num_leaves": self.max_leaf_nodes,
            "min_data_in_leaf": self.min_samples_leaf,
            "lambda_l2": self.l2_regularization,
            "feature_fraction": self.max_features,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _grow(X, targets, seeds, params, n_estimators):
    """Return one booster for each column of `targets`."""
    lightgbm = _lightgbm()
    # Binning the features takes longer than some trees, and is the same for all.
    rows = lightgbm.Dataset(X, params=params, free_raw_data=False).construct()
    boosters = []
    for target, seed in zip(targets.T, seeds, strict=True):
        rows.set_label(target)
        boosters.append(
            lightgbm.train({**params, "seed": int(seed)}, rows, n_estimators)
        )
    return boosters
