"""What the toolkit recommends for a screen of signatures, as one estimator."""

import logging
from importlib.util import find_spec
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state

from sklperturb.conditions._frames import take_columns
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.ensemble._blend import BlendRegressor, mrrmse_weights
from sklperturb.ensemble._kernel_residual import KernelResidualRegressor
from sklperturb.ensemble._meta import check_rows, out_of_fold
from sklperturb.ensemble._rescale import RescaledRegressor
from sklperturb.ensemble._seeds import SeedEnsembleRegressor
from sklperturb.ensemble._seen_unseen import SeenUnseenRegressor
from sklperturb.ensemble._stretch import Stretch, StretchedRegressor
from sklperturb.models._trials import trial_folds
from sklperturb.utils._choices import Budget

logger = logging.getLogger(__name__)

# (Seeds of the networks on their own, of those that are trained for longer, and of
# those that correct the kernel model): while the weights are learnt, and at the end;
# and the folds of the first.
BUDGETS = {
    Budget.fast: ((3, 2, 2), (8, 4, 4), 4),
    Budget.thorough: ((8, 4, 4), (40, 20, 20), 5),
}


class BestRegressor(ConditionRegressor):
    """Predict a screen's missing signatures with what did best across screens.

    Perturbations measured in other contexts are predicted by a blend of five models
    that err in different ways: a product kernel over contexts and perturbations
    (`ProductKernelRidge`), ridge from context to context (`ContextTransferRidge`),
    networks on learnt codes (`TokenEmbeddingMLPRegressor`), the same trained three
    times as long, which is better where there is little noise, and networks that
    correct the kernel's leave-one-out errors (`KernelResidualRegressor`), each network
    with several seeds. The weights are learnt on held-out pairs of the contexts that
    are to be predicted; or, where the perturbations measured in these have much
    stronger or weaker effects than the others, on other contexts, held out but for
    these perturbations. They need not add up to one, and what is predicted for strong
    perturbations is made stronger (`StretchedRegressor`), where the data say so.

    Perturbations that were never measured are predicted from their structure
    (`TanimotoKernelRidge`) where there are SMILES and rdkit is installed, else by the
    context's effect.

    Parameters
    ----------
    budget : {"fast", "thorough"} or tuple, default="fast"
        How many seeds the networks get, 8, 4 and 4, or 40, 20 and 20 (less than half
        of these while the weights are learnt); and on how many folds the weights are
        learnt, 4 or 5. Networks with a weight of zero are not trained again.

        A tuple ``(trial, final, n_splits)`` sets them: `trial` is the number of seeds
        of the networks on their own, of those trained longer and of those that correct
        the kernel model while the weights are learnt, `final` that at the end, and
        `n_splits` the number of folds. Networks without a seed are left out:
        ``((1, 0, 0), (1, 0, 0), 2)`` is for a quick trial.
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
        The fitted parts.
    weights_ : dict of {str: float}
        Weight of each part in the blend.
    stretch_ : Stretch
        What the blend's rows are multiplied by.
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
    >>> from sklperturb.models import BestRegressor
    >>> from sklperturb.metrics import mrrmse
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> quick = ((1, 0, 1), (1, 0, 1), 2)
    >>> model = BestRegressor(quick, random_state=0).fit(screen.X, screen.y)
    >>> error = mrrmse(screen.y_test, model.predict(screen.X_test))
    >>> bool(error < mrrmse(screen.y_test, 0 * screen.y_test))
    True
    """

    _parameter_constraints = {
        "budget": "no_validation",  # by check_budget
        "schema": [PerturbationSchema, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(self, budget="fast", *, schema=None, n_jobs=None, random_state=None):
        self.budget = budget
        self.schema = schema
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, X_unlabeled=None):
        """Learn the weights out of fold and fit all parts.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.
        X_unlabeled : DataFrame or array-like of shape (n_unlabeled, n_columns), \
                default=None
            Conditions that will be predicted, where they are known. Only their
            contexts are used. None takes the contexts with less than a quarter of the
            perturbations, or all if there are none.

        Returns
        -------
        self : BestRegressor

        Raises
        ------
        ValueError
            If a parameter is none of the allowed values.
        """
        trial_sizes, sizes, n_splits = check_budget(self.budget)
        X, y = check_rows(self, X, y)
        self._start_fit(X, y)
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=4)
        trial_parts, parts = (
            seen_parts(self.schema_, *size, seeds, self.n_jobs)
            for size in (trial_sizes, sizes)
        )
        targets = self._target_contexts(X, X_unlabeled)
        cv = trial_folds(X, y, self.schema_, targets, n_splits, int(seeds[3]))
        names = [name for name, _ in parts]
        logger.info("Learning the weights of %s.", ", ".join(names))
        weights, self.stretch_ = learn_blend(trial_parts, X, y, cv)
        self.weights_ = dict(zip(names, weights.tolist(), strict=True))
        shown = ", ".join(f"{n} {w:.2f}" for n, w in self.weights_.items() if w)
        logger.info("Fitting all rows; weights are %s.", shown)
        blend = BlendRegressor(parts, weights=weights)
        seen = StretchedRegressor(blend, stretch=self.stretch_)
        unseen = unseen_model(self.schema_)
        model = SeenUnseenRegressor(seen, unseen, schema=self.schema_)
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

    def _target_contexts(self, X, X_unlabeled):
        """Return the training contexts that are likely to be asked for."""
        if self.schema_.context is None:
            return []
        roles = self._roles()
        if X_unlabeled is not None:
            asked = take_columns(X_unlabeled, roles[:1])[:, 0]
            return sorted(set(asked) & set(self.contexts_))
        measured = pd.DataFrame(take_columns(X, roles)).groupby(0)[1].nunique()
        return list(measured.index[measured < 0.25 * len(self.perturbations_)])


def check_budget(budget):
    """Return the numbers of seeds and of folds, or raise a ValueError."""
    match BUDGETS.get(budget) if isinstance(budget, str) else budget:
        case [[*trial], [*final], n_splits] if (
            len(trial) == len(final) == 3
            and all(isinstance(n, Integral) for n in (*trial, *final, n_splits))
            and min(*trial, *final) >= 0
            and np.array_equal(np.sign(trial), np.sign(final))
            and n_splits >= 2
        ):
            return trial, final, n_splits
    raise ValueError(
        f"budget={budget!r} is not allowed; pass one of {list(BUDGETS)}, or a tuple "
        "such as ((1, 1, 1), (2, 1, 1), 2): three numbers of seeds while the weights "
        "are learnt, three at the end, zero in the same places, and at least 2 folds."
    )


def learn_blend(parts, X, y, cv):
    """Return the weights and the stretch that predict held-out pairs best."""
    if cv is None:  # too few pairs to tell the parts apart
        return np.full(len(parts), 1 / len(parts)), Stretch()
    predictions = []
    for number, (name, part) in enumerate(parts, 1):
        logger.info("Learning the weight of %s, %d of %d.", name, number, len(parts))
        _, [predicted], truth = out_of_fold([part], X, y, cv)
        predictions.append(predicted)
    predictions = np.stack(predictions)
    weights = mrrmse_weights(truth, predictions)
    return weights, Stretch.learn(truth, np.tensordot(weights, predictions, 1))


def seen_parts(schema, n_networks, n_long, n_residual, seeds, n_jobs):
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
    long = clone(own).set_params(max_epochs=120, batch_size=128)
    correcting = TokenEmbeddingMLPRegressor(numeric_columns="rest", **plain)
    residual = KernelResidualRegressor(
        regressor=ensemble(correcting, n_residual, seeds[2]), schema=schema
    )
    networks = [
        ("network", n_networks, ensemble(own, n_networks, seeds[0])),
        ("long", n_long, ensemble(long, n_long, seeds[1])),
        ("residual", n_residual, residual),
    ]
    return [
        ("kernel", ProductKernelRidge(schema=schema)),
        ("transfer", ContextTransferRidge(schema=schema)),
        *(
            (name, RescaledRegressor(network, factors=[1.0], clip=True))
            for name, n_seeds, network in networks
            if n_seeds
        ),
    ]


def unseen_model(schema):
    """Return the unfitted model for perturbations that were never measured."""
    from sklperturb.baseline import AdditiveRegressor
    from sklperturb.linear_model import TanimotoKernelRidge

    if schema.smiles is not None and find_spec("rdkit") is not None:
        return TanimotoKernelRidge(schema=schema)
    return AdditiveRegressor("joint", schema=schema)
