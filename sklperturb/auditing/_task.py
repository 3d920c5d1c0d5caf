"""What all checks share: folds, what they claim is new, fits, and inflations."""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from sklperturb.auditing._result import Inflation
from sklperturb.comparison._evidence import held_out_units
from sklperturb.conditions._frames import column_names, read_column
from sklperturb.conditions._labels import control_rows, each_label
from sklperturb.conditions._levels import number_levels
from sklperturb.model_selection._fold import FoldFit, describe_error
from sklperturb.preprocessing._molecules import smiles_or_none
from sklperturb.utils._bootstrap import ClusterBootstrap
from sklperturb.utils._progress import ProgressBar

# Folds are taken to hold out a level if at most these shares of the held-out rows have
# it in training, and of its rows, relative to chance, are there.
_MOST_SEEN, _BELOW_CHANCE = 0.5, 0.25
_N_RESAMPLES, _CONFIDENCE = 2000, 0.95
_NOTABLE = 0.01  # share of the score, below which an inflation is no matter


@dataclass(frozen=True)
class Overlap:
    """Which held-out rows have a level that is trained on.

    Attributes
    ----------
    seen : ndarray of bool of shape (n_held_out,)
        Fold after fold.
    in_training : float
        Mean share of the other rows of a held-out row's level that are trained on,
        relative to that of all rows; 1 if rows are dealt at random.
    """

    seen: np.ndarray
    in_training: float

    @property
    def share(self):
        return float(self.seen.mean()) if len(self.seen) else 0.0

    @property
    def claims_new(self):
        """Whether the folds are cut by this level, but for slips."""
        few = self.share <= _MOST_SEEN and self.in_training <= _BELOW_CHANCE
        return self.share == 0 or few


class AuditTask:
    """An estimator, its data and its folds, for the checks to look at.

    Parameters
    ----------
    estimator : estimator
    X : DataFrame or ndarray of shape (n_samples, n_columns)
        What the estimator is given.
    y : DataFrame or ndarray of shape (n_samples,) or (n_samples, n_genes)
    folds : list of tuple (train, test) of ndarray of int
    metric : RowwiseMetric or WeightedMSEScorer
    conditions : DataFrame or ndarray of shape (n_samples, n_conditions)
        What rows are; `X` itself, unless that holds numbers only.
    schema : PerturbationSchema or None
        Roles of the columns of `conditions`; None if it names nothing.
    claims : dict of str to bool
        What the user says of roles: whether the folds hold out new ones.
    scaffolds_claimed : bool
        Whether the splitter is one of scaffolds.
    rng : RandomState
    dealt : tuple of (str, ndarray of int of shape (n_samples,)), default=None
        What the splitter deals as one, of `dealt_units`.
    """

    def __init__(
        self,
        estimator,
        X,
        y,
        folds,
        metric,
        conditions,
        schema,
        claims,
        rng,
        dealt=None,
    ):
        self.estimator, self.X, self.y = estimator, X, y
        self.folds, self.metric, self.rng = folds, metric, rng
        self.conditions, self.schema, self.said = conditions, schema, claims
        self.values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        self.genes = list(y.columns) if isinstance(y, pd.DataFrame) else None
        self.held_out = np.concatenate([test for _, test in folds])
        self.dealt = dealt
        self.progress = None

    # What rows are.

    @cached_property
    def is_control(self):
        """Which rows are controls; compounds that serve as references are none."""
        if self.schema is None:
            return np.zeros(len(self.values), dtype=bool)
        flagged = control_rows(self.conditions, self.schema)
        column = self.schema.smiles
        if column is None or column not in column_names(self.conditions):
            return flagged
        smiles = read_column(self.conditions, column, allow_missing=True)
        labels = read_column(self.conditions, self.schema.perturbation)
        spelled = each_label(labels, self.schema.names_control).astype(bool)
        return flagged & (spelled | (smiles_or_none(smiles) == None))  # noqa: E711

    def codes(self, role):
        """Return (codes, names) of a role's column; None if there is no such column."""
        column = None if self.schema is None else getattr(self.schema, role)
        if column is None or column not in column_names(self.conditions):
            return None
        return number_levels(read_column(self.conditions, column, allow_missing=True))

    @cached_property
    def perturbation(self):
        """Codes of the perturbations; each row is its own where nothing names them."""
        found = self.codes("perturbation")
        return np.arange(len(self.values)) if found is None else found[0]

    @cached_property
    def context(self):
        """Codes of the contexts; all rows share one where nothing names them."""
        found = self.codes("context")
        return np.zeros(len(self.values), int) if found is None else found[0]

    # What folds claim.

    def overlap(self, codes, units=None):
        """Return the `Overlap` of a level; codes below 0, and controls, do not count.

        Parameters
        ----------
        codes : ndarray of int of shape (n_samples,)
        units : ndarray of int of shape (n_samples,), default=None
            What is dealt into folds whole, such as the compounds of a scaffold; None
            takes each row for itself.
        """
        rows = (codes >= 0) & ~self.is_control
        units = np.arange(len(codes)) if units is None else units
        n = codes.max(initial=0) + 1
        own = units * n + np.maximum(codes, 0)
        seen, shares = [], []
        for train, test in self.folds:
            train = np.setdiff1d(train[rows[train]], test)
            there = np.flatnonzero(rows[test])
            tested = test[there]
            found = np.zeros(len(test), dtype=bool)
            in_training = np.bincount(codes[train], minlength=n)[codes[tested]]
            found[there] = in_training > 0
            seen.append(found)
            both = np.concatenate([train, tested])
            _, of_own, sizes = np.unique(
                own[both], return_inverse=True, return_counts=True
            )
            others = np.bincount(codes[both], minlength=n)[codes[tested]]
            others = others - sizes[of_own[len(train) :]]
            chance = len(train) / max(len(both), 1)
            mates = others > 0
            share = np.minimum(in_training[mates] / others[mates], 1)
            shares.append(share / max(chance, 1e-12))
        shares = np.concatenate(shares)
        mean = float(shares.mean()) if len(shares) else 0.0
        return Overlap(np.concatenate(seen), mean)

    @cached_property
    def overlaps(self):
        """Return {role: Overlap} of the roles that there are."""
        found = {"perturbation": self.overlap(self.perturbation)}
        for role in ("context", "batch", "replicate"):
            coded = self.codes(role)
            if coded is not None and len(coded[1]) > 1:
                found[role] = self.overlap(coded[0])
        return found

    def claims_new(self, role):
        """Whether the folds hold out new levels of a role, as the user or they say."""
        if role in self.said:
            return self.said[role]
        found = self.overlaps.get(role)
        return found is not None and found.claims_new

    # Fits and scores.

    @cached_property
    def units(self):
        """What the bootstrap resamples, by held-out row."""
        if self.schema is None:
            each = np.arange(len(self.values)) if self.dealt is None else self.dealt[1]
            return each[self.held_out]
        return held_out_units(self.conditions, self.folds, self.schema, self.dealt)[1]

    def given(self, values):
        """Return responses in the form of the `y` that the user gave."""
        if isinstance(self.y, pd.DataFrame):
            return pd.DataFrame(values, self.y.index, self.y.columns)
        return values.reshape(np.shape(self.y))

    def truth(self, fold):
        return self.values[self.folds[fold][1]]

    def fit(self, fold, *, estimator=None, X=None, values=None, keep=None):
        """Fit a clone on a fold, or on what is said to be left of it.

        Parameters
        ----------
        fold : int
        estimator : estimator, default=None
            In place of the audited one.
        X : DataFrame or ndarray, default=None
        values : ndarray of shape (n_samples, n_genes), default=None
            Responses to learn from.
        keep : ndarray of bool of shape (n_samples,), default=None
            Rows that may be trained on.

        Returns
        -------
        model : estimator
        """
        train, test = self.folds[fold]
        if keep is not None:
            train = train[keep[train]]
        task = FoldFit(
            self.estimator if estimator is None else estimator,
            self.X if X is None else X,
            self.y if values is None else self.given(values),
            train,
            test,
        )
        model = task.fit().estimator_
        if self.progress is not None:
            self.progress.advance(steps=1)
        return model

    def predict(self, model, rows, X=None):
        """Return predictions for rows as an array of shape (n_rows, n_genes)."""
        found = model.predict(_safe_indexing(self.X if X is None else X, rows))
        return np.asarray(found, dtype=np.float64).reshape(len(rows), -1)

    def losses(self, fold, y_pred, truth=None):
        """Return the score of each held-out row of a fold, in the metric's own sign."""
        test = self.folds[fold][1]
        of_rows = self.metric.of_rows(_safe_indexing(self.conditions, test))
        truth = self.truth(fold) if truth is None else truth
        return np.asarray(of_rows(truth, y_pred), dtype=np.float64)

    @cached_property
    def base(self):
        """Return (predictions of each fold, scores of all held-out rows)."""
        predictions = []
        with self.fitting(len(self.folds), "Fitting the folds"):
            for fold, (_, test) in enumerate(self.folds):
                predictions.append(self.predict(self.fit(fold), test))
        scores = [self.losses(f, p) for f, p in enumerate(predictions)]
        return predictions, np.concatenate(scores)

    def fitting(self, total, description):
        """Return a context in which fits are counted on a bar."""
        return _Counted(self, ProgressBar(total, description, unit="fit"))

    def scores_of(self, changes, description):
        """Return the scores of all held-out rows under some change, fold by fold.

        Parameters
        ----------
        changes : callable
            Given the number of a fold, the keywords of `fit`; None leaves it as it is.
        description : str

        Returns
        -------
        scores : ndarray of shape (n_held_out,)
        predictions : list of ndarray
        """
        predictions, scores = [], []
        with self.fitting(len(self.folds), description):
            for fold, (_, test) in enumerate(self.folds):
                changed = changes(fold)
                if changed is None:
                    found = self.base[0][fold]
                else:
                    model = self.fit(fold, **changed)
                    found = self.predict(model, test, changed.get("X"))
                predictions.append(found)
                scores.append(self.losses(fold, found))
        return np.concatenate(scores), predictions

    def inflation(self, scores, scores_without, rows, how):
        """Compare scores of the same held-out rows with and without a leak.

        Parameters
        ----------
        scores, scores_without : ndarray of shape (n_held_out,)
        rows : ndarray of bool of shape (n_held_out,)
            The rows that are concerned.
        how : str
            What was changed, in words.

        Returns
        -------
        inflation : Inflation
        """
        rows = rows & np.isfinite(scores) & np.isfinite(scores_without)
        if not rows.any():
            return Inflation(how=f"{how}, and no row could be compared")
        gain = scores - scores_without
        if not self.metric.greater_is_better:
            gain = -gain
        gain = gain[rows]
        bootstrap = ClusterBootstrap(
            np.asarray(self.units)[rows],
            _N_RESAMPLES,
            _CONFIDENCE,
            np.random.RandomState(self.rng.randint(2**31 - 1)),
        )
        low, high = bootstrap.interval_of_difference(gain)
        means = (float(s[rows].mean()) for s in (scores, scores_without))
        return Inflation(
            *means, float(gain.mean()), float(low), float(high), int(rows.sum()), how
        )

    def without_rows(self, linked, concerned, how):
        """Measure what training rows are worth that are linked to held-out ones.

        The score without them is compared with that without as many others, so that
        what is measured is what these rows tell, and not that there are fewer.

        Parameters
        ----------
        linked : list of ndarray of bool of shape (n_samples,)
            For each fold, the training rows to leave out.
        concerned : ndarray of bool of shape (n_held_out,)
        how : str

        Returns
        -------
        inflation : Inflation
        """
        others = []
        for (train, _), leave_out in zip(self.folds, linked, strict=True):
            free = train[~leave_out[train]]
            n = min(int(leave_out[train].sum()), max(len(free) - 2, 0))
            random = np.zeros(len(leave_out), dtype=bool)
            random[self.rng.choice(free, n, replace=False)] = True
            others.append(random)

        def dropping(groups):
            def change(fold):
                train = self.folds[fold][0]
                if not groups[fold][train].any():
                    return None
                return {"keep": ~groups[fold]}

            return change

        try:
            without, _ = self.scores_of(dropping(linked), "Leaving rows out")
            matched, _ = self.scores_of(dropping(others), "Leaving others out")
        except Exception as error:  # whatever an estimator raises on fewer rows
            return Inflation(how=f"without these rows, {describe_error(error)}")
        return self.inflation(matched, without, concerned, how)

    def same_predictions(self, predictions):
        """Whether predictions are those of the folds as they are."""
        pairs = zip(self.base[0], predictions, strict=True)
        return all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)

    def replaced(self, memo):
        """Return the estimator with some of its objects replaced, by their identity."""
        memo = dict(memo)
        return copy.deepcopy(self.estimator, memo)


class _Counted:
    """Count the fits in a block on a bar."""

    def __init__(self, task, bar):
        self._task, self._bar = task, bar

    def __enter__(self):
        self._before, self._task.progress = self._task.progress, self._bar
        return self._bar

    def __exit__(self, *error):
        self._task.progress = self._before
        self._bar.close()


def severity(inflation, *, unmeasured="low"):
    """Return how bad a leak is: "high" if the score is notably better by it."""
    if np.isnan(inflation.inflation):
        return unmeasured
    notable = inflation.inflation >= _NOTABLE * abs(inflation.score_without)
    return "high" if inflation.shown and notable else "low"


def some(names, n=3):
    """Return the first of some names as text, quoted."""
    shown = ", ".join(repr(str(name)) for name in list(names)[:n])
    return shown + (", ..." if len(names) > n else "")
