"""Boosted trees over (condition, gene), on what a kernel model leaves."""

from numbers import Integral, Real

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from sklperturb.conditions._levels import pair_means
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.ensemble._boosting import _lightgbm
from sklperturb.ensemble._long_features import NAMES, LongFeatures, as_missing


class LongFormBoostingRegressor(ConditionRegressor):
    r"""Correct a kernel model gene by gene, with trees that all genes share.

    The table of responses is read in long form: a row for each condition and gene. Its
    features say what is known of that gene without the condition's own response: the
    prediction of `ResponseKernelRidge`; the gene's response to the same perturbation in
    the other contexts, the most similar one first; its responses in the same context
    to the perturbations that act most alike elsewhere; its mean and spread in the
    context and over all; how strong, how similar and how many these are. Boosted trees
    [1]_ learn from them the error of the kernel's prediction.

    Training rows are made as hard as those to be predicted. The kernel predicts each
    from rows that were left out, in closed form, and where a perturbation is missing in
    several contexts at once, each training pair is predicted as if its perturbation
    had been measured only where one was that is missing here. A row counts by the
    inverse of the kernel's root mean squared error on its condition, so that squared
    error stands for the mean over conditions of the RMSE.

    Parameters
    ----------
    n_estimators : int, default=100
        Trees.
    learning_rate : float, default=0.1
    max_leaf_nodes : int, default=15
        Leaves of a tree.
    min_samples_leaf : int, default=100
        Rows of the long table, so genes of several conditions.
    l2_regularization : float, default=10.0
        Penalty on the values of the leaves.
    max_features : float, default=0.5
        Share of the features that a tree may split on, drawn anew for each tree.
    n_genes : int, default=200
        Genes drawn from each condition to learn from; all are predicted.
    min_conditions : int, default=60
        Conditions whose perturbation was measured in another context too; from fewer,
        no trees are grown, which would learn what is alike by chance. On nothing but
        noise errors were 5 % larger than those of zeros with 43 of them, and 12 % with
        21; those of the kernel 2 and 4 %.
    n_jobs : int, default=None
        Threads of `predict`, each with conditions of its own; None is 1, -1 all cores.
        `fit` takes one, since the trees are a small part of it.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=None
        Draws the genes, the missing contexts, and the features of each tree.

    Attributes
    ----------
    kernel_ : ResponseKernelRidge
    booster_ : lightgbm.Booster or None
        None if there are fewer than `min_conditions`: nothing is then corrected.
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    BoostedTargetRegressor : Trees for each component of the targets.
    ResidualRegressor : A flexible model on what a simple one leaves.

    Notes
    -----
    A condition whose context or perturbation was not seen, or whose perturbation was
    measured in no other context, gets the prediction of the kernel.

    How alike contexts are, their strengths and the variances of the kernel are learnt
    from all training rows, the left-out one too; its own response enters its features
    through these few numbers, and through how alike other rows act.

    Memory beyond that of the kernel is one copy of the responses, and the long table of
    the drawn genes: 15 MB for 614 conditions.

    References
    ----------
    .. [1] Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree",
       NeurIPS 2017.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import LongFormBoostingRegressor
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> model = LongFormBoostingRegressor(n_estimators=10, random_state=0)
    >>> model.fit(screen.X, screen.y).predict(screen.X_test).shape
    (30, 50)
    """

    _parameter_constraints = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_leaf_nodes": [Interval(Integral, 2, None, closed="left")],
        "min_samples_leaf": [Interval(Integral, 1, None, closed="left")],
        "l2_regularization": [Interval(Real, 0, None, closed="left")],
        "max_features": [Interval(Real, 0, 1, closed="right")],
        "n_genes": [Interval(Integral, 1, None, closed="left")],
        "min_conditions": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_estimators=100,
        *,
        learning_rate=0.1,
        max_leaf_nodes=15,
        min_samples_leaf=100,
        l2_regularization=10.0,
        max_features=0.5,
        n_genes=200,
        min_conditions=60,
        n_jobs=None,
        schema=None,
        random_state=None,
    ):
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.n_genes = n_genes
        self.min_conditions = min_conditions
        self.n_jobs = n_jobs
        self.schema = schema
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Fit the kernel, and the trees to its errors on rows that were left out.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : LongFormBoostingRegressor

        Raises
        ------
        ImportError
            If LightGBM is not installed.
        """
        from sklperturb.linear_model import ResponseKernelRidge

        lightgbm = _lightgbm()
        context, perturbation, y = self._start_fit(X, y)
        draw = check_random_state(self.random_state)
        self.kernel_ = ResponseKernelRidge(schema=self.schema).fit(X, y)
        n_levels = len(self.contexts_), len(self.perturbations_)
        means, place = pair_means(context, perturbation, n_levels, y)
        self._features = LongFeatures(means, place, self.kernel_)
        table, errors, weights = self._long_table(context, perturbation, draw)
        self.booster_ = None
        if len(table):
            params = self._booster_params(draw)
            rows = lightgbm.Dataset(
                table, errors, weight=weights, feature_name=list(NAMES), params=params
            )
            self.booster_ = lightgbm.train(params, rows, self.n_estimators)
        return self

    def predict(self, X):
        """Return the kernel's prediction of each row's condition with its correction.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        context, perturbation = self._codes(X)
        y_pred = self.kernel_.predict(X)
        if self.booster_ is None:
            return self._shaped(y_pred)
        known = np.flatnonzero((context >= 0) & (perturbation >= 0))
        # One condition at a time: the long table of all would fill the memory.
        # Threads, whatever the backend: another process would correct a copy.
        Parallel(self.n_jobs, require="sharedmem")(
            delayed(self._correct)(context[row], perturbation[row], y_pred[row])
            for row in known
        )
        return self._shaped(y_pred)

    def _correct(self, context, perturbation, predicted):
        """Add the correction to the kernel's prediction of a condition, in place."""
        elsewhere = self._features.place[:, perturbation] >= 0
        elsewhere[context] = False
        if elsewhere.any():
            genes = np.arange(len(predicted))
            table = self._features.row(
                context, perturbation, elsewhere, predicted, genes
            )
            predicted += self.booster_.predict(table, num_threads=1)

    def _long_table(self, context, perturbation, draw):
        """Return features, errors of the kernel and weights of the drawn genes."""
        features = self._features
        pairs = np.argwhere(features.place >= 0)
        elsewhere = as_missing(features.place, draw)
        pair = features.place[context, perturbation]
        together = [
            np.flatnonzero((perturbation == p) & ~elsewhere[row][context])
            for p, row in zip(perturbation, pair, strict=True)
        ]
        left_out = self.kernel_._left_out_together(together)
        first = np.unique(pair, return_index=True)[1]
        n_all = features.means.shape[1]
        table, errors, weights = [], [], []
        rows = np.flatnonzero(elsewhere.any(axis=1))
        for row in rows if len(rows) >= self.min_conditions else ():
            c, p = pairs[row]
            one = first[row : row + 1]
            predicted = self.kernel_._decode(left_out[one], context[one])[0]
            genes = draw.permutation(n_all)[: self.n_genes]
            error = features.means[row] - predicted
            table.append(features.row(c, p, elsewhere[row], predicted, genes))
            errors.append(error[genes])
            weights.append(np.full(len(genes), np.sqrt(np.mean(error**2))))
        if not table:
            return table, errors, weights
        # A condition that is predicted without error must not outweigh all others.
        weights = np.concatenate(weights)
        weights = 1 / np.maximum(weights, 0.01 * weights.mean() or 1.0)
        weights /= weights.mean()
        return np.concatenate(table), np.concatenate(errors), weights

    def _booster_params(self, draw):
        return {
            "objective": "l2",
            "learning_rate": self.learning_rate,
            "num_leaves": self.max_leaf_nodes,
            "min_data_in_leaf": self.min_samples_leaf,
            "lambda_l2": self.l2_regularization,
            "feature_fraction": self.max_features,
            "num_threads": 1,
            "seed": int(draw.randint(np.iinfo(np.int32).max)),
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
