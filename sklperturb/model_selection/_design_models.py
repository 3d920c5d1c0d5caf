"""Ask a model what conditions tell of each other, and how right it is about it."""

import inspect
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state

from sklperturb.conditions._frames import without_annotation
from sklperturb.conditions._levels import number_levels
from sklperturb.model_selection._design import condition, posterior_given
from sklperturb.model_selection._fold import FoldFit, describe_error, responses_for
from sklperturb.model_selection._suggest import suggest_cv
from sklperturb.utils._bootstrap import ClusterBootstrap
from sklperturb.utils._progress import ProgressBar

# Rows of a covariance of which only the diagonal is needed.
_BLOCK = 256
_N_FOLDS = 5
# Rows from which the calibration is learnt, and resamples for its interval.
_FEWEST_ROWS = 10
_N_RESAMPLES = 1000
# Perturbations that count for a ratio of one. On generated and real screens, those of
# fewer were further from what was measured then than one was.
_PRIOR = 10
# Refits of a model that has no covariance.
_N_REFITS = 10
_ASKED = "ResponseKernelRidge, ProductKernelRidge, TanimotoKernelRidge or "
_ASKED += "GeneKnowledgeRidge"


class AskedModel:
    """A fitted model that has `prior_covariance`, at the end of a pipeline or not.

    Parameters
    ----------
    fitted : estimator
    unknown : float, default=0.0
        What stands for the noise where the model says that there is none.
    """

    def __init__(self, fitted, unknown=0.0):
        self.estimator, self._unknown = fitted, unknown

    @classmethod
    def fit(cls, estimator, X, y):
        """Fit a clone.

        Of a single row, noise cannot be learnt: where the model says that there is
        none, it is taken to be as large as the response.
        """
        fitted = clone(estimator).fit(X, responses_for(estimator, y))
        return cls(fitted, np.square(array_of(y)).mean() if len(X) == 1 else 0.0)

    @staticmethod
    def check(estimator):
        """Refuse an estimator that cannot be asked."""
        if not can_be_asked(estimator):
            name = type(estimator).__name__
            raise ValueError(
                f"{name} cannot say what conditions tell of each other: it has no "
                f"prior_covariance. Use {_ASKED}; or strategy='disagreement', which "
                f"refits {name}; or strategy='distance' or 'k_centre', which need no "
                "model."
            )

    def require(self, pool):
        """Refuse conditions without columns that the model compares them by."""
        used = getattr(self.estimator, "_used_columns", list)()
        if absent := [column for column in used if column not in pool]:
            raise ValueError(
                f"candidates and targets lack the columns {absent}, by which "
                f"{type(self.estimator).__name__} compares conditions. Add them; where "
                "they are not known, leave values missing."
            )

    def noise(self, X):
        found = np.asarray(self._last.noise_variance(self._transformed(X)), float)
        return found if found.any() else np.full(len(X), self._unknown)

    def variance(self, X):
        """Return the prior variance of each row."""
        found = np.empty(len(X))
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            found[rows] = np.diag(self._covariance(X.iloc[rows]))
        return found

    def posterior(self, X, pool, place):
        """Return what is known of a pool of conditions after those of the fit.

        Parameters
        ----------
        X : DataFrame
            What is measured.
        pool : DataFrame
        place : ndarray of int of shape (n_candidates,)
            Rows of the pool that are candidates.

        Returns
        -------
        covariance : ndarray of shape (n_candidates, n_pool), float32
        variance, noise : ndarray of shape (n_pool,)
        """
        covariance = self._covariance(pool.iloc[place], pool, np.float32)
        others = np.setdiff1d(np.arange(len(pool)), place)
        variance = np.empty(len(pool))
        variance[place] = covariance[np.arange(len(place)), place]
        variance[others] = self.variance(pool.iloc[others]) if len(others) else 0
        told = self._told(X, pool)
        condition(covariance, told, place)
        variance = np.maximum(variance - np.einsum("ij,ij->j", told, told), 0)
        return covariance, variance, self.noise(pool)

    def expected_errors(self, X, X_test):
        """Return the error that is expected of each row to be predicted."""
        told = self._told(X, X_test)
        left = self.variance(X_test) - np.einsum("ij,ij->j", told, told)
        return np.sqrt(np.maximum(left, 0) + self.noise(X_test))

    def _told(self, X, pool):
        return posterior_given(
            self._covariance(X), self._covariance(X, pool), self.noise(X)
        )

    def _covariance(self, X, X2=None, dtype=None):
        ask = self._last.prior_covariance
        tables = [self._transformed(t) for t in (X, X2) if t is not None]
        own = "dtype" in inspect.signature(ask).parameters and dtype is not None
        found = np.asarray(ask(*tables, dtype=dtype) if own else ask(*tables))
        shape = len(X), len(X if X2 is None else X2)
        if found.shape != shape or not np.isfinite(found).all():
            raise ValueError(
                f"prior_covariance of {type(self._last).__name__} must return finite "
                f"numbers of shape {shape}; it returned those of shape {found.shape}"
                + (", some of them not finite." if found.shape == shape else ".")
            )
        # A view of what the model keeps must not be changed.
        return found.astype(dtype or np.float64, copy=not own)

    @property
    def _last(self):
        return last_step(self.estimator)

    def _transformed(self, X):
        if isinstance(self.estimator, Pipeline) and len(self.estimator.steps) > 1:
            return self.estimator[:-1].transform(X)
        return X


def last_step(estimator):
    """Return the last step of a pipeline, and any other estimator as it is."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def can_be_asked(estimator):
    """Return whether an estimator says what conditions tell of each other."""
    last = last_step(estimator)
    return hasattr(last, "prior_covariance") and hasattr(last, "noise_variance")


def disagreement(estimator, X, y, pool, place, schema, random_state):
    """Return what refits of a model to resampled perturbations disagree on.

    The covariance over refits and genes stands for that of what is not known; the noise
    is what predictions of rows that a refit did not see miss beyond it.

    Returns
    -------
    covariance, variance, noise
        As of `AskedModel.posterior`.
    """
    rng = check_random_state(random_state)
    perturbation, levels = number_levels(X[schema.perturbation])
    truth = array_of(y)
    n_genes = truth.shape[1]
    covariance = np.zeros((len(place), len(pool)), dtype=np.float32)
    total, squares = np.zeros((len(pool), n_genes)), np.zeros(len(pool))
    missed = []
    with ProgressBar(_N_REFITS, "refits", "fit") as bar:
        for _ in range(_N_REFITS):
            drawn = rng.randint(len(levels), size=len(levels))
            times = np.bincount(drawn, minlength=len(levels))[perturbation]
            rows, out = np.repeat(np.arange(len(X)), times), np.flatnonzero(times == 0)
            fit = FoldFit(estimator, X, y, rows, out)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit.fit()
                said = array_of(fit.estimator_.predict(pool)).astype(np.float32)
                if len(out):
                    said_out = array_of(fit.predict())
                    missed.append(np.square(truth[out] - said_out).mean(axis=1))
            covariance += said[place] @ said.T
            squares += np.einsum("ij,ij->i", said, said, dtype=np.float64)
            total += said
            bar.advance()
    mean = (total / _N_REFITS).astype(np.float32)
    covariance -= np.float32(_N_REFITS) * mean[place] @ mean.T
    variance = squares - _N_REFITS * np.einsum("ij,ij->i", mean, mean, dtype=float)
    freedom = (_N_REFITS - 1) * n_genes
    covariance /= freedom
    variance = np.maximum(variance / freedom, 0)
    error = np.mean(np.concatenate(missed)) if missed else np.square(truth).mean()
    noise = max(error - variance.mean(), 0.1 * error)
    return covariance, variance, np.full(len(pool), noise)


def calibration(estimator, X, y, targets, schema, random_state):
    """Return the ratio of measured to expected error of held-out rows.

    Folds ask what the targets ask, or where these hold out too little, the hardest that
    the rows allow: see `suggest_cv`.

    Returns
    -------
    calibration : dict
        "ratio", drawn towards one as if ten perturbations more had it, the ends "low"
        and "high" of its 95 % interval, which are NaN where there are too few
        perturbations for one, and "n_rows"; of 0 rows where there are
        too few, or a fold cannot be fitted, and "why".
    """
    none = {"ratio": 1.0, "low": np.nan, "high": np.nan, "n_rows": 0}
    if len(X) < _FEWEST_ROWS:
        return none | {"why": f"{len(X)} rows are measured, and {_FEWEST_ROWS} needed"}
    about = {"schema": schema, "random_state": random_state}
    why = ""
    for asked in (targets, targets.iloc[:0]):
        try:
            cv = suggest_cv(X, asked, n_splits=_N_FOLDS, **about)
            folds = list(cv.split(X))
            held_out = np.concatenate([test for _, test in folds])
            if len(held_out) < _FEWEST_ROWS:
                why = f"folds hold out {len(held_out)} rows, and {_FEWEST_ROWS} needed"
                continue
            measured, expected = _held_out_errors(estimator, X, y, folds)
        except ValueError as error:
            why = f"folds cannot be made or fitted: {describe_error(error)}"
            continue
        units = X[schema.perturbation].to_numpy(dtype=object)[held_out]
        rng = check_random_state(random_state)
        bootstrap = ClusterBootstrap(units.astype(str), _N_RESAMPLES, 0.95, rng)
        ratio = measured.sum() / expected.sum()
        low, high = bootstrap.interval_of_ratio(measured, expected)
        # A few may all be weak: they are drawn towards one.
        trust = bootstrap.sizes[0] / (bootstrap.sizes[0] + _PRIOR)
        ratio, low, high = (
            float(max(value, 0) ** trust) for value in (ratio, low, high)
        )
        return {"ratio": ratio, "low": low, "high": high, "n_rows": len(measured)}
    return none | {"why": why}


def _held_out_errors(estimator, X, y, folds):
    """Return measured and expected errors of held-out rows, fold after fold."""
    truth, measured, expected = array_of(y), [], []
    with ProgressBar(len(folds), "calibration", "fold") as bar:
        for train, test in folds:
            fold = FoldFit(estimator, X, y, train, test)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fold.fit()
                missed = truth[test] - array_of(fold.predict())
                asked = AskedModel(fold.estimator_)
                known = _safe_indexing(X, train)
                expected.append(asked.expected_errors(known, fold.X_test))
            measured.append(np.sqrt(np.mean(missed**2, axis=1)))
            bar.advance()
    return np.concatenate(measured), np.concatenate(expected)


def array_of(y):
    """Return responses as an array of two dimensions."""
    y = np.asarray(without_annotation(y), dtype=np.float64)
    return y[:, None] if y.ndim == 1 else y
