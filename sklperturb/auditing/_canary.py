"""What an estimator knows of held-out rows that its training rows did not tell it.

It is fitted to responses that are dealt anew among the training rows. Nothing can be
learnt from these, so that what still predicts the held-out rows came another way: a
lookup, a fitted model, a file. Where there are controls, these stay, and with them what
they tell of their context; responses are then compared within contexts.
"""

import numpy as np

from sklperturb.auditing._result import LeakFinding
from sklperturb.conditions._levels import level_means

_MOST_FITS, _FEWEST_DRAWS = 4, 6
_FEW_TESTED = 6  # held-out rows, below which folds are taken together
_FEW_ALIKE = 3  # held-out rows of a context, below which it has no mean of its own
# Correlation, share of that of the folds as they are, and standard errors from 0.
_NOTABLE, _SHARE, _SURE = 0.2, 0.3, 4.0
_EQUAL = 0.02  # an error of this share of the spread is none


def check_canary(task):
    """Yield a finding if held-out rows are predicted from scrambled training rows."""
    groups = _groups_of_folds(task)
    drawn = _Drawn(task, groups)
    drawn.draw(max(2, -(-_FEWEST_DRAWS // len(groups))))
    if not drawn.suspicious():
        return
    drawn.draw(max(2, -(-_FEWEST_DRAWS // len(groups))))  # chance seldom comes twice
    if not drawn.suspicious():
        return
    copies = np.median(drawn.errors) < _EQUAL
    found = (
        "Predictions are the measured responses of the held-out rows themselves, "
        if copies
        else "The estimator predicts held-out rows "
    )
    mean, error = drawn.mean_and_error()
    within = " within contexts" if task.is_control.any() else ""
    yield LeakFinding(
        "lookup" if copies else "unlearnt knowledge",
        "high",
        f"{found}although it was fitted to responses that were dealt anew among the "
        f"training rows: their correlation{within} is {mean:.2f} (standard error "
        f"{error:.2f}), and {np.mean(drawn.known):.2f} with the true training rows.",
        "Look for what the estimator brings from outside of fit: fitted parts, tables, "
        "files, global variables, columns of X. If it was trained on another screen, "
        "make sure that none of these rows was in it.",
        _inflation(task, drawn.scores, drawn.without),
        task.held_out,
    )


class _Drawn:
    """Fits to scrambled training rows, and how they predict the held-out ones.

    Parameters
    ----------
    task : AuditTask
    groups : list of list of int
        Folds that are taken together.
    """

    def __init__(self, task, groups):
        self._task, self._groups = task, groups
        self.correlations, self.errors = [], []
        self.scores, self.without = {}, {}
        self.known = [
            _correlation(task, self._rows(folds), self._joined(folds, task.base[0]))
            for folds in groups
        ]

    def draw(self, n_times):
        """Scramble the training rows of each fold several times, and fit."""
        n_fits = n_times * sum(map(len, self._groups))
        with self._task.fitting(n_fits, "Scrambling the training rows"):
            for folds in self._groups:
                for _ in range(n_times):
                    self._draw(folds)

    def _draw(self, folds):
        task, rows = self._task, self._rows(folds)
        fitted = {}
        for fold in folds:
            train, test = task.folds[fold]
            values = _scrambled(task, train)
            fitted[fold] = task.predict(task.fit(fold, values=values), test)
            mean = _means(task, values, fold)
            self.scores.setdefault(fold, []).append(task.losses(fold, fitted[fold]))
            self.without.setdefault(fold, []).append(task.losses(fold, mean))
        y_pred = self._joined(folds, fitted)
        self.correlations.append(_correlation(task, rows, y_pred))
        self.errors.append(_error_share(y_pred, task.values[rows]))

    def mean_and_error(self):
        """Return the mean correlation and its standard error."""
        n = len(self.correlations)
        return np.mean(self.correlations), np.std(self.correlations, ddof=1) / n**0.5

    def suspicious(self):
        """Whether what is predicted is more than chance."""
        mean, error = self.mean_and_error()
        return mean > max(_NOTABLE, _SHARE * np.mean(self.known), _SURE * error)

    def _rows(self, folds):
        return np.concatenate([self._task.folds[fold][1] for fold in folds])

    @staticmethod
    def _joined(folds, predictions):
        return np.concatenate([predictions[fold] for fold in folds])


def _groups_of_folds(task):
    """Return folds to look at together, so that each has rows enough to correlate."""
    groups, waiting, n_rows = [], [], 0
    for fold, (_, test) in enumerate(task.folds):
        waiting.append(fold)
        n_rows += int((~task.is_control[test]).sum())
        if n_rows >= _FEW_TESTED:
            groups.append(waiting)
            waiting, n_rows = [], 0
    if not groups:
        return [waiting]
    kept, n_fits = [], 0
    for group in groups:
        if kept and n_fits + len(group) > _MOST_FITS:
            break
        kept.append(group)
        n_fits += len(group)
    return kept


def _inflation(task, scores, without):
    """Compare the fits to scrambled rows with the means of contexts."""
    both = []
    for found in (scores, without):
        both.append(
            np.concatenate(
                [
                    np.mean(found[fold], axis=0)
                    if fold in found
                    else np.full(len(test), np.nan)
                    for fold, (_, test) in enumerate(task.folds)
                ]
            )
        )
    return task.inflation(
        *both,
        np.ones(len(task.held_out), dtype=bool),
        "both from responses dealt anew; without, their means in each context predict",
    )


def _scrambled(task, train):
    """Return responses that are dealt anew among the training rows.

    With controls, which stay, the deviations from each context's mean are, and not
    within contexts, of which a small one would leave many rows with what they had.
    """
    rows = train[~task.is_control[train]]
    own = task.values[rows]
    means = 0.0
    if task.is_control.any():
        of = task.context[rows]
        means = level_means(of, task.context.max() + 1, own)[0][of]
    values = task.values.copy()
    values[rows] = means + task.rng.permutation(own - means)
    return values


def _means(task, values, fold):
    """Return the means of contexts over training rows, of all where one is new."""
    train, test = task.folds[fold]
    train = train[~task.is_control[train]]
    n = task.context.max() + 1
    means, counts = level_means(task.context[train], n, values[train])
    means[counts == 0] = values[train].mean(axis=0)
    return means[task.context[test]]


def _correlation(task, rows, y_pred):
    """Return how predictions correlate with responses, but for controls.

    With controls, a context or a batch is predicted from them, and what counts is how
    its rows differ.
    """
    there = ~task.is_control[rows]
    rows, y_pred = rows[there], y_pred[there]
    codes = np.zeros(len(rows), dtype=int)
    if task.is_control.any():
        codes, batch = task.context[rows], task.codes("batch")
        if batch is not None:
            codes = codes * (len(batch[1]) + 1) + batch[0][rows]
        _, codes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
        several = sizes[codes] >= _FEW_ALIKE
        rows, y_pred, codes = rows[several], y_pred[several], codes[several]
    if len(rows) == 0:
        return 0.0
    a, b = (_centred(each, codes) for each in (y_pred, task.values[rows]))
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / norms) if norms > 1e-12 else 0.0


def _centred(values, codes):
    return values - level_means(codes, codes.max() + 1, values)[0][codes]


def _error_share(y_pred, truth):
    """Return the error of a prediction relative to the spread of the truth."""
    spread = np.linalg.norm(truth - truth.mean(axis=0))
    return np.linalg.norm(y_pred - truth) / spread if spread > 0 else np.inf
