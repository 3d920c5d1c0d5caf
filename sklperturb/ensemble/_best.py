"""What the toolkit recommends for a screen of signatures, as one estimator."""

from importlib.util import find_spec

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import check_random_state

from sklperturb.ensemble._blend import BlendRegressor
from sklperturb.ensemble._kernel_residual import KernelResidualRegressor
from sklperturb.ensemble._rescale import RescaledRegressor
from sklperturb.ensemble._seeds import SeedEnsembleRegressor
from sklperturb.ensemble._seen_unseen import SeenUnseenRegressor
from sklperturb.model_selection import UnseenPairKFold
from sklperturb.utils._condition_regressor import ConditionRegressor
from sklperturb.utils._conditions import take_columns

# Held-out pairs below which weights are noise.
MIN_PAIRS = 15

# Seeds of the networks on their own, seeds of those that correct the kernel model, and
# folds on which the weights are learnt.
BUDGETS = {"fast": (6, 3, 3), "thorough": (12, 6, 5)}


class BestRegressor(ConditionRegressor):
    """Predict a screen's missing signatures with what did best across screens.

    Perturbations measured in other contexts are predicted by a blend of four models
    that err in different ways: a product kernel over contexts and perturbations
    (`ProductKernelRidge`), ridge from context to context (`ContextTransferRidge`),
    networks on learnt codes (`TokenEmbeddingMLPRegressor`) and
    networks that correct the kernel's leave-one-out errors
    (`KernelResidualRegressor`), each network with several seeds. The weights are learnt
    on held-out pairs of the contexts in which few perturbations were measured, since
    those are what is left to predict, and need not add up to one: shrinkage is undone
    where the data say so. Perturbations that were never measured are predicted from
    their structure (`TanimotoKernelRidge`) where there are SMILES and rdkit is
    installed, else by the context's effect.

    Parameters
    ----------
    budget : {"fast", "thorough"}, default="fast"
        How many seeds the networks get, 6 and 3, or 12 and 6; and on how many folds
        the weights are learnt, 3 or 5.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    n_jobs : int, default=None
        Number of networks trained at a time; None is 1 unless in a
        `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Seeds the networks.

    Attributes
    ----------
    model_ : SeenUnseenRegressor
        The fitted parts; ``model_.seen_.weights_`` are the weights of the blend.
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    Notes
    -----
    What is learnt from a screen is learnt inside `fit`, so cross-validation of this
    estimator is nested and its score honest. The parts and their sizes were chosen by
    cross-validation on other rows than those that the documentation reports
    (``benchmarks/best_ablation.py``).

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS 2024 Datasets and
       Benchmarks: the comparison of the methods that this draws on.

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.ensemble import BestRegressor
    >>> from sklperturb.metrics import mrrmse
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> model = BestRegressor(random_state=0).fit(screen.X, screen.y)
    >>> error = mrrmse(screen.y_test, model.predict(screen.X_test))
    >>> bool(error < mrrmse(screen.y_test, 0 * screen.y_test))
    True
    """

    def __init__(self, budget="fast", *, schema=None, n_jobs=None, random_state=None):
        self.budget = budget
        self.schema = schema
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, y):
        """Fit all parts.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.

        Returns
        -------
        self : BestRegressor

        Raises
        ------
        ValueError
            If `budget` is none of the allowed values.
        """
        check_budget(self.budget)
        self._start_fit(X, y)
        n_networks, n_residual, n_splits = BUDGETS[self.budget]
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=3)
        parts = seen_parts(self.schema_, n_networks, n_residual, seeds, self.n_jobs)
        cv = pair_folds(X, self.schema_, n_splits, int(seeds[2]))
        # Too few pairs to learn weights from: all parts alike.
        weights = np.full(len(parts), 1 / len(parts)) if cv is None else None
        model = SeenUnseenRegressor(
            BlendRegressor(parts, cv=cv, weights=weights),
            unseen_model(self.schema_),
            schema=self.schema_,
        )
        self.model_ = clone(model).fit(X, y)
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
        self._codes(X)
        return np.asarray(self.model_.predict(X), dtype=np.float64)


def check_budget(budget):
    """Raise a ValueError if there is no such budget."""
    if budget not in BUDGETS:
        raise ValueError(
            f"budget={budget!r} is not allowed; pass one of {list(BUDGETS)}."
        )


def pair_folds(X, schema, n_splits, seed):
    """Return a splitter of the pairs that resemble what is left to predict, or None.

    These are the pairs of the contexts with fewer than half of the perturbations; where
    there are no such contexts, or too few pairs to learn from, those of all contexts.
    """
    if schema.context is None:
        return None
    table = pd.DataFrame(
        take_columns(X, schema.columns("context", "perturbation")), columns=["c", "p"]
    ).drop_duplicates()
    size = table.groupby("c", sort=True)["p"].size()
    sparse = list(size.index[size < 0.5 * table["p"].nunique()])
    shared = table.groupby("p")["c"].nunique()
    elsewhere = set(table.loc[~table["c"].isin(sparse), "p"])
    inside = table.loc[table["c"].isin(sparse), "p"]
    common = {"schema": schema, "random_state": seed}
    if inside.isin(elsewhere).sum() >= MIN_PAIRS and inside.nunique() >= n_splits:
        return UnseenPairKFold(n_splits, contexts=sparse, **common)
    if shared[shared > 1].sum() >= MIN_PAIRS:
        return UnseenPairKFold(n_splits, **common)
    return None


def seen_parts(schema, n_networks, n_residual, seeds, n_jobs):
    """Return the unfitted models of perturbations that were measured elsewhere."""
    from sklperturb.compose import LatentTargetRegressor
    from sklperturb.linear_model import ContextTransferRidge, ProductKernelRidge
    from sklperturb.neural_network import TokenEmbeddingMLPRegressor

    def ensemble(network, n_seeds, seed):
        # Responses are brought into a basis once, outside of the ensemble: each network
        # would otherwise compute and keep one of its own, most of its memory.
        return LatentTargetRegressor(
            SeedEnsembleRegressor(
                network, n_seeds, n_jobs=n_jobs, random_state=int(seed)
            )
        )

    plain = {"target_components": None, "clip": False}
    own = TokenEmbeddingMLPRegressor(schema=schema, hidden_dim=512, **plain)
    correcting = TokenEmbeddingMLPRegressor(numeric_columns="rest", **plain)
    residual = KernelResidualRegressor(
        regressor=ensemble(correcting, n_residual, seeds[1]), schema=schema
    )
    clip = {"factors": [1.0], "clip": True}
    return [
        ("kernel", ProductKernelRidge(schema=schema)),
        ("transfer", ContextTransferRidge(schema=schema)),
        ("network", RescaledRegressor(ensemble(own, n_networks, seeds[0]), **clip)),
        ("residual", RescaledRegressor(residual, **clip)),
    ]


def unseen_model(schema):
    """Return the unfitted model for perturbations that were never measured."""
    from sklperturb.baseline import AdditiveRegressor
    from sklperturb.linear_model import TanimotoKernelRidge

    if schema.smiles is not None and find_spec("rdkit") is not None:
        return TanimotoKernelRidge(schema=schema)
    return AdditiveRegressor("joint", schema=schema)
