"""What the toolkit recommends for a screen of signatures, as one estimator."""

import logging
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import _fit_context
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils._param_validation import StrOptions

from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._regressor import ConditionRegressor
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.ensemble._blend import centred_ranks
from sklperturb.ensemble._weights import Spectrum
from sklperturb.linear_model._kernel import MOST_ROWS
from sklperturb.model_selection import UnseenPerturbationKFold
from sklperturb.model_selection._meta import check_rows
from sklperturb.models._learning import (
    EDGES,
    MIN_ROWS,
    Clock,
    alone,
    fit_parts,
    held_out_predictions,
    learn_weights,
    moments_of,
)
from sklperturb.models._parts import (
    check_budget,
    chosen_parts,
    in_proportion,
    seen_parts,
    unseen_parts,
)
from sklperturb.models._trials import trial_folds
from sklperturb.utils._callbacks import CallbackSupportMixin, begin_fit
from sklperturb.utils._choices import SCORER_NAMES

logger = logging.getLogger(__name__)

# What scikit-learn calls the scorers of what the weights can make best.
_SCORED = {name: SCORER_NAMES[name] for name in ("neg_mrrmse", "rowwise_spearman")}
_SCORED["neg_mean_squared_error"] = "mse"
# In how many other contexts a perturbation was measured, where the next kind begins.
_KINDS = (2, 3, 5)


class BestRegressor(CallbackSupportMixin, ConditionRegressor):
    """Predict a screen's missing signatures with what did best across screens.

    Perturbations measured in other contexts are predicted by a blend of models that err
    in different ways: kernel ridge on how alike perturbations act in the other contexts
    (`ResponseKernelRidge`), boosted trees that correct it gene by gene
    (`LongFormBoostingRegressor`, if LightGBM is installed), ridge on target statistics
    (`TargetEncodedRidge`), ridge from context to context (`ContextTransferRidge`) and
    networks on learnt codes (`TokenEmbeddingMLPRegressor`). Perturbations that were
    never measured are predicted from their structure and mechanism, whichever there is
    (`TanimotoKernelRidge`), if rdkit is installed, from what `sources` tell of their
    genes (`GeneKnowledgeRidge`), and by their context's effect.

    The weights are learnt on held-out pairs of the contexts that are to be predicted;
    or, where the perturbations measured in these have much stronger or weaker effects
    than the others, on other contexts, held out but for these perturbations. A part has
    a weight of its own in each band of components of the responses: some know what is
    common to many responses, some also what is particular. Rows whose perturbation was
    measured in one, two, three or more other contexts get weights of their own, where
    enough of them were held out. The weights need not add up to one, and what is
    predicted for strong perturbations is made stronger (`StretchedRegressor`), where
    the data say so.

    Parameters
    ----------
    budget : {"fast", "thorough"} or float, default="fast"
        How many seeds the networks get, and whether there are networks of several
        sizes. A number is a time limit of `fit` in seconds, within which as much is
        done as can be, the quickest parts first; what that is depends on the machine.
        The quickest part is there however little time there is.
    parts : list of str, default=None
        Of the parts "response", "boosting", "ridge", "transfer", "network", "wide
        network", "long network", "structure", "genes" and "context" those to use; None
        is all that the budget has; past 10,000 rows without "response", "boosting",
        "structure" and "genes", which compare each row with each. Without one for
        perturbations that were never measured, "structure", "genes" or "context",
        these get "context"; without one for the others, the parts for those that were
        never measured predict all.
    scoring : {"mrrmse", "spearman", "mse"}, default="mrrmse"
        What the weights make best: the mean over rows of the RMSE, the mean over rows
        of the correlation with the ranks of the responses, or the squared error. Names
        of their scorers do as well: "neg_mrrmse", "rowwise_spearman" and
        "neg_mean_squared_error".
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    sources : list, default=None
        What is known of genes, for the part "genes", which predicts perturbed genes
        that were never measured, and for targets of compounds: as of
        `GeneKnowledgeRidge`.
    n_jobs : int, default=None
        Number of models trained at a time; None is 1 unless in a
        `joblib.parallel_config`.
    random_state : int, RandomState instance or None, default=None
        Seeds the networks and deals the folds.

    Attributes
    ----------
    weights_ : DataFrame
        Weights by kind of row and part, with a column for each band of components.
        Kinds are "seen", "seen in 1", ... and "unseen".
    estimates_ : DataFrame of shape (n_kinds, 4)
        For "seen" and "unseen", the MRRMSE of held-out rows, by weights that were
        learnt without them, its interval of 95 % over perturbations, and their number.
        Kinds whose weights could not be learnt are not there.
    stretch_ : dict of {str: Stretch}
        What the blend's rows are multiplied by, by "seen" and "unseen".
    parts_ : dict of {str: dict of {str: regressor}}
        The fitted parts that have a weight, by "seen" and "unseen".
    spectrum_ : Spectrum
        The components that bands are made of.
    contexts_, perturbations_ : ndarray
        Levels seen in `fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)

    See Also
    --------
    sklperturb.ensemble.BlendRegressor : Blends any estimators, in bands or not.

    Notes
    -----
    What is learnt from a screen is learnt inside `fit`, so cross-validation of this
    estimator is nested and its score honest. The parts and their sizes were chosen by
    cross-validation of several screens (``benchmarks/models/portfolio.py``).

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
    >>> model = BestRegressor(parts=["response", "ridge"], random_state=0)
    >>> model = model.fit(screen.X, screen.y)
    >>> error = mrrmse(screen.y_test, model.predict(screen.X_test))
    >>> bool(error < mrrmse(screen.y_test, 0 * screen.y_test))
    True
    """

    _parameter_constraints = {
        "budget": "no_validation",  # by check_budget
        "parts": [list, None],
        "scoring": [StrOptions({*_SCORED, *_SCORED.values()})],
        "schema": [PerturbationSchema, None],
        "sources": [list, tuple, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        budget="fast",
        *,
        parts=None,
        scoring="mrrmse",
        schema=None,
        sources=None,
        n_jobs=None,
        random_state=None,
    ):
        self.budget = budget
        self.parts = parts
        self.scoring = scoring
        self.schema = schema
        self.sources = sources
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, X_unlabeled=None):
        """Learn the weights out of fold and fit all parts that have one.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Conditions.
        y : array-like of shape (n_samples,) or (n_samples, n_genes)
            Responses.
        X_unlabeled : DataFrame or array-like of shape (n_unlabeled, n_columns), \
                default=None
            Conditions that will be predicted, where they are known: weights are learnt
            for their contexts, and for seen or unseen perturbations as there are. None
            takes the contexts with less than half of the perturbations, or all if
            there are none, and learns for both.

        Returns
        -------
        self : BestRegressor

        Raises
        ------
        ValueError
            If a parameter is none of the allowed values, or ranks of one gene are to
            be best.

        Warns
        -----
        UserWarning
            If there are more than 10,000 rows, of which parts are left out that compare
            each row with each.
        """
        plan = check_budget(self.budget)
        clock = Clock(plan.seconds)
        X, y = check_rows(self, X, y)
        codes = self._start_fit(X, y)
        *seeds, fold_seed = check_random_state(self.random_state).randint(
            2**31 - 1, size=4
        )
        y = y.reshape(len(y), -1)
        self._measured = _measured(*codes[:2], self)
        # A rotation that loses nothing: as many columns as rows, however many genes.
        self._rotation = Spectrum(y, [len(y)]).components
        catalogue = {
            "seen": seen_parts(self.schema_, plan, self._rotation, seeds, self.n_jobs),
            "unseen": unseen_parts(self.schema_, self.sources),
        }
        if self.parts is not None:
            catalogue = chosen_parts(catalogue, self.parts)
        elif len(y) > MOST_ROWS:
            catalogue = in_proportion(catalogue, len(y))
        self._has_seen_parts = bool(catalogue["seen"])
        rotated = y @ self._rotation.T
        folds = {
            "seen": self._seen_folds(X, rotated, X_unlabeled, plan, int(fold_seed)),
            "unseen": self._unseen_folds(X, X_unlabeled, plan, int(fold_seed)),
        }
        self.spectrum_ = Spectrum(rotated, EDGES)
        ranks, level = None, None
        scoring = _SCORED.get(self.scoring, self.scoring)
        if scoring == "spearman":
            ranks = centred_ranks(y) @ self._rotation.T
            level = self._rotation.sum(axis=1) * y.shape[1] ** -0.5
        learns = {kind: bool(folds[kind] and catalogue[kind]) for kind in catalogue}
        task = begin_fit(self, X, y, n_parts=len(catalogue) + sum(learns.values()))
        self.parts_, self._learnt, learnt_names, estimates = (
            dict.fromkeys(catalogue) for _ in range(4)
        )
        # What is sure to be quick comes first, and what is left of the time is for
        # the other kind.
        order = sorted(catalogue, key=lambda kind: (learns[kind], len(catalogue[kind])))
        for number, kind in enumerate(order):
            clock.start(len(order) - number)
            parts = catalogue[kind]
            names, learnt = list(parts), alone(len(parts))
            n_final = dict.fromkeys(parts, plan.n_final)
            if learns[kind]:
                weighing = task.part(f"weigh-{kind}", n_parts=len(parts)).begin()
                predictions = held_out_predictions(
                    *(parts, plan, clock, X, rotated, folds[kind]),
                    *(self.n_jobs, weighing),
                )
                weighing.end()
                held_out = moments_of(
                    predictions,
                    rotated,
                    ranks,
                    level,
                    folds[kind],
                    self._kinds_in(folds[kind], *codes[:2]),
                    y.shape[1],
                )
                names, learnt = held_out.names, learn_weights(held_out, scoring)
                n_final = {name: n for name, (n, _) in predictions.items()}
                estimates[kind] = _estimate(learnt.errors, codes[1][held_out.rows])
                logger.info("%s", _told(kind, names, learnt, estimates[kind]))
            used = learnt.used()
            models = {
                name: parts[name].build(n_final[name])
                for name, keep in zip(names, used, strict=True)
                if keep
            }
            fitting = task.part(f"fit-{kind}", n_parts=len(models), ordered=False)
            fitting.begin()
            self.parts_[kind] = fit_parts(models, X, rotated, self.n_jobs, fitting)
            fitting.end()
            for key, weights in learnt.weights.items():
                learnt.weights[key] = weights[used]
            self._learnt[kind], learnt_names[kind] = learnt, list(self.parts_[kind])
        self.stretch_ = {kind: learnt.stretch for kind, learnt in self._learnt.items()}
        self.weights_ = _weights_table(self._learnt, learnt_names)
        self.estimates_ = pd.DataFrame(
            {kind: found for kind, found in estimates.items() if found},
            index=["mrrmse", "low", "high", "n_rows"],
        ).T
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
        y_pred : ndarray of shape (n_samples,) or (n_samples, n_genes)
        """
        context, perturbation = self._codes(X)
        (X,) = indexable(as_pandas(X))
        kinds = _kinds(self._measured, context, perturbation)
        carries_over = self._measured.sum(axis=0).max() > 1
        seen = (perturbation >= 0) & carries_over & self._has_seen_parts
        rotated = np.zeros((len(context), len(self._rotation)))
        for name, rows in (("seen", seen), ("unseen", ~seen)):
            rows, parts = np.flatnonzero(rows), self.parts_[name]
            if not len(rows) or not parts:
                continue
            learnt = self._learnt[name]
            predictions = [p.predict(_safe_indexing(X, rows)) for p in parts.values()]
            for kind in np.unique(kinds[rows]):
                inside = kinds[rows] == kind
                rotated[rows[inside]] = self.spectrum_.weigh(
                    [p[inside] for p in predictions],
                    learnt.weights.get(kind, learnt.weights[None]),
                )
            strengths = np.sqrt(
                np.square(rotated[rows]).sum(axis=1) / self._rotation.shape[1]
            )
            rotated[rows] *= learnt.stretch.factors(strengths)[:, None]
        return self._shaped(rotated @ self._rotation)

    def _seen_folds(self, X, y, X_unlabeled, plan, seed):
        """Return folds of pairs, or None if nothing of that kind is to be learnt."""
        if self._asks_for(X_unlabeled, seen=True):
            targets = self._target_contexts(X_unlabeled)
            cv = trial_folds(X, y, self.schema_, targets, plan.n_splits, seed)
            if cv is not None:
                return list(cv) if isinstance(cv, list) else list(cv.split(X))
        return None

    def _used_columns(self):
        structure = self.parts_.get("unseen", {}).get("structure")
        if structure is not None:
            return structure._used_columns()
        return self.schema_.columns("context", "perturbation")

    def _unseen_folds(self, X, X_unlabeled, plan, seed):
        """Return folds of perturbations, or None if there is nothing to be learnt."""
        enough = len(self.perturbations_) >= MIN_ROWS
        if not enough or not self._asks_for(X_unlabeled, seen=False):
            return None
        cv = UnseenPerturbationKFold(
            plan.n_splits, schema=self.schema_, random_state=seed
        )
        return list(cv.split(X))

    def _asks_for(self, X_unlabeled, *, seen):
        if X_unlabeled is None:
            return True
        _, perturbation = self._codes(X_unlabeled)
        return bool(((perturbation >= 0) == seen).any())

    def _target_contexts(self, X_unlabeled):
        """Return the training contexts that are likely to be asked for."""
        if self.schema_.context is None:
            return []
        if X_unlabeled is not None:
            asked = np.unique(self._codes(X_unlabeled)[0])
            return list(self.contexts_[asked[asked >= 0]])
        few = self._measured.sum(axis=1) < 0.5 * len(self.perturbations_)
        return list(self.contexts_[few])

    def _kinds_in(self, folds, context, perturbation):
        """Return the kind of each held-out row, by what its fold has of it."""
        kinds = []
        for train, test in folds:
            measured = _measured(context[train], perturbation[train], self)
            kinds.append(_kinds(measured, context[test], perturbation[test]))
        return np.concatenate(kinds)


def _measured(context, perturbation, model):
    """Return whether each perturbation was measured in each context."""
    measured = np.zeros((len(model.contexts_), len(model.perturbations_)), bool)
    measured[context, perturbation] = True
    return measured


def _kinds(measured, context, perturbation):
    """Return 0 for rows of perturbations measured nowhere else, then by `_KINDS`."""
    elsewhere = measured.sum(axis=0)[perturbation]
    elsewhere = elsewhere - (measured[context, perturbation] & (context >= 0))
    elsewhere = np.where(perturbation >= 0, elsewhere, 0)
    return np.where(elsewhere > 0, np.searchsorted(_KINDS, elsewhere, "right") + 1, 0)


def _estimate(errors, perturbation):
    """Return the mean error, its interval over perturbations, and how many rows."""
    mean = errors.mean()
    deviations = np.bincount(perturbation, errors - mean)
    n_groups = len(np.unique(perturbation))
    spread = np.sqrt(np.square(deviations).sum() * n_groups / max(n_groups - 1, 1))
    half = 1.96 * spread / len(errors) if n_groups > 1 else np.nan
    return mean, mean - half, mean + half, len(errors)


def _told(kind, names, learnt, estimate):
    """Return what was learnt as a line for the log."""
    weights = learnt.weights[None].mean(axis=1)
    shown = ", ".join(
        f"{n} {w:.2f}" for n, w in zip(names, weights, strict=True) if w > 0
    )
    mean, low, high, n_rows = estimate
    return (
        f"Perturbations {kind}: MRRMSE of {n_rows} held-out rows {mean:.4f} "
        f"({low:.4f} to {high:.4f}); mean weights are {shown or 'all 0'}."
    )


def _weights_table(learnt, names):
    """Return the weights as a table, by kind of row and part."""
    begins = (1, *(edge + 1 for edge in EDGES))
    columns = [f"{low}-{high}" for low, high in zip(begins, EDGES, strict=False)]
    columns.append(f"{begins[-1]}-")
    counts = (1, *_KINDS)
    rows = {}
    for task, found in learnt.items():
        for kind, weights in found.weights.items():
            label = task if kind is None else f"{task} in {counts[kind - 1]}"
            if kind is not None and kind == len(counts):
                label += " or more"
            for name, row in zip(names[task], weights, strict=True):
                rows[label, name] = row
    index = pd.MultiIndex.from_tuples(rows, names=["kind", "part"])
    return pd.DataFrame(list(rows.values()), index=index, columns=columns)
