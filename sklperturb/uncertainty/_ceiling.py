"""How well the true mean response would score, on responses as noisy as measured."""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from sklperturb.conditions import PerturbationSchema, resolve_schema
from sklperturb.conditions._doubts import warn
from sklperturb.conditions._frames import as_pandas, as_table, column_names, read_column
from sklperturb.conditions._near import spelling_hint
from sklperturb.metrics import WeightedMSEScorer, get_metric
from sklperturb.metrics._checks import without_annotation
from sklperturb.uncertainty._ceiling_agreement import (
    TRANSFORMS,
    agreement_with_truth,
    gene_reliability,
)
from sklperturb.uncertainty._ceiling_noise import (
    contrasts_of,
    effective_genes,
    row_spread,
    tail_factors,
)
from sklperturb.uncertainty._ceiling_rows import (
    number_conditions,
    number_replicates,
    partners_of,
)
from sklperturb.utils._bootstrap import ClusterBootstrap

_NO_REPLICATES = (
    "No ceiling: every condition was measured once. Pass rows of single replicates, or "
    "halves=, the responses from either half of the cells or samples of each condition "
    "(sklperturb.signatures.signature_halves makes them from counts)."
)
# How far halves may respond more or less strongly than the response they are of.
_SAME_SCALE = (0.8, 1.25)


@dataclass(frozen=True, eq=False)
class NoiseCeiling:
    """The score that the true mean response of every condition would reach.

    Attributes
    ----------
    metric : str
        In whose unit and sign it is.
    greater_is_better : bool
    value : float
        Mean over the rows that were measured more than once.
    low, high : float
        Its interval, by a bootstrap of perturbations; NaN below three of them.
    by_row : ndarray of shape (n_samples,)
        What each row adds to the mean; NaN where its condition was measured once. Of a
        correlation it is the same in all rows of a condition, and with the noise of
        its own estimate may exceed 1 or be below 0.
    method : {"replicates", "halves"}
    reliability : Series of float
        By gene: the share of the variance of rows that is between conditions, and not
        noise. May be below 0, by chance.
    n_units : int
        Perturbations that were measured more than once.
    n_rows : int
        Rows that were.
    n_effective_genes : float
        Number of independent genes among which noise would agree as much by chance.

    See Also
    --------
    noise_ceiling : Makes it.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.inspection import noise_ceiling
    >>> X = pd.DataFrame({"sm_name": np.repeat([f"c{i}" for i in range(50)], 3)})
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(rng.normal(size=(50, 80)), 3, axis=0)
    >>> found = noise_ceiling(X, y + rng.normal(size=y.shape))
    >>> round(found.share(score=1.2, baseline=1.4), 2)
    0.49
    """

    metric: str
    greater_is_better: bool
    value: float
    low: float
    high: float
    by_row: np.ndarray
    method: str
    reliability: pd.Series
    n_units: int
    n_rows: int
    n_effective_genes: float

    def share(self, score, baseline):
        """Return how much of the way from a baseline to the ceiling a score is.

        Parameters
        ----------
        score, baseline : float
            In the sign of the metric.

        Returns
        -------
        share : float
            0 at the baseline, 1 at the ceiling, and not clipped; NaN where the ceiling
            is not better than the baseline.
        """
        return share_of(score, baseline, self.value, self.greater_is_better)

    def __str__(self):
        interval = "" if np.isnan(self.low) else f" ({self.low:.4f} to {self.high:.4f})"
        units = "perturbation" + "s" * (self.n_units != 1)
        return (
            f"{self.metric}: {self.value:.4f}{interval}, from {self.method} of "
            f"{self.n_units} {units}"
        )


@validate_params(
    {
        "X": "no_validation",
        "y": "no_validation",
        "scoring": [str, callable],
        "schema": [PerturbationSchema, None],
        "replicates": [str, Integral, None],
        "conditions": ["array-like", None],
        "halves": ["array-like", None],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def noise_ceiling(
    X,
    y=None,
    *,
    scoring="mrrmse",
    schema=None,
    replicates=None,
    conditions=None,
    halves=None,
    n_resamples=2000,
    confidence=0.95,
    random_state=0,
):
    r"""Estimate the score of a perfect model on responses as noisy as those measured.

    A perfect model predicts the true mean response of each condition. It is scored on
    measurements, and these have noise: its error is not 0, nor its correlation 1. How
    much noise there is, rows that measure one condition again tell, or two halves of
    the cells behind each response.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
        Conditions.
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes), default=None
        Responses, a row for each as it is scored. With `halves` it may be left out.
    scoring : str, or scorer of `sklperturb.metrics`, default="mrrmse"
        A row-wise metric, or `WeightedMSEScorer`.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    replicates : str or int, default=None
        Column of `X` that names independent measurements, such as donors: rows of one
        condition that agree in it have noise in common, and are not compared; rows
        without a name there are left out. None takes the schema's replicate column,
        and without one every row for a measurement of its own.
    conditions : list of str or int, default=None
        Columns of `X` that say which rows are of one condition. None takes
        perturbation, context and dose, and columns with a common name of a time or a
        dose.
    halves : tuple of two arrays of shape (n_samples, n_genes), default=None
        Responses of each row of `X` from either half of its cells, samples or
        replicates, on the scale of `y`, whose noise is taken for that of the mean of
        the two.
    n_resamples : int, default=2000
        Bootstrap resamples of perturbations.
    confidence : float, default=0.95
        Level of the interval.
    random_state : int, RandomState instance or None, default=0
        Seeds the bootstrap, and what else is drawn.

    Returns
    -------
    ceiling : NoiseCeiling or None
        None, with a warning that says what to supply, where every condition was
        measured once.

    Raises
    ------
    ValueError
        If a column does not exist, a response is not finite, or the shapes of `X`, `y`
        and `halves` differ.

    Warns
    -----
    UserWarning
        If there is no second measurement, or `halves` are on another scale than `y`.

    See Also
    --------
    sklperturb.comparison.compare : Sets scores beside it.
    sklperturb.signatures.signature_halves : Halves of screens of cells.
    sklperturb.evaluation.evaluate_cells : A second measurement of cells.

    Notes
    -----
    A row is :math:`y_{ci} = \mu_c + e_{ci}` with independent errors. For errors the row
    less the mean of the :math:`m` other measurements, times
    :math:`\sqrt{m / (m + 1)}`, has the variance of :math:`e_{ci}`; it is scored in
    place of it. For `WeightedMSEScorer` this is unbiased; for the others if errors are
    normal, however they correlate between genes. Two corrections, of 1 where errors
    are normal, serve the rest: for "mrmae" errors with heavy tails, that of one row
    from that of a difference by its characteristic function; and with three
    measurements or more, wells that are noisier than others of their condition. With
    two, the latter cannot be told, and the ceiling is too high an error there.

    A correlation with the truth is the root of that of two measurements,
    :math:`\sqrt{r_c}`. As roots of noisy estimates are biased, the :math:`r_c` are
    first drawn towards their mean until they vary as they would without noise. For
    "spearman" the best prediction are expected ranks; what the true mean reaches is a
    little less, by a factor from responses that are generated alike.

    Of halves, :math:`(y_1 - y_2) / 2` has the variance of the error of their mean, and
    the correlation of their mean is stepped up by :math:`2 r / (1 + r)`
    [1]_ [2]_. What both halves have in common, such as a donor or a control, is no
    noise to them, and the ceiling better than can be reached.

    Signed :math:`-\log_{10} p` values are no mean plus noise: half the cells give
    smaller ones. Halves must first be brought to the scale of the whole, as
    `signature_halves` does.

    References
    ----------
    .. [1] Spearman, C. "Correlation calculated from faulty data". British Journal of
       Psychology, 1910. :doi:`10.1111/j.2044-8295.1910.tb00206.x`
    .. [2] Brown, W. "Some experimental results in the correlation of mental abilities".
       British Journal of Psychology, 1910.
       :doi:`10.1111/j.2044-8295.1910.tb00207.x`

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.inspection import noise_ceiling
    >>> X = pd.DataFrame({"sm_name": np.repeat([f"c{i}" for i in range(50)], 3)})
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(rng.normal(size=(50, 80)), 3, axis=0)
    >>> print(noise_ceiling(X, y + rng.normal(size=y.shape)))
    mrrmse: 0.9938 (0.9787 to 1.0090), from replicates of 50 perturbations
    """
    X = as_table(X)
    metric = _check_metric(scoring)
    schema = resolve_schema(schema, X)
    rng = check_random_state(random_state)
    codes = np.arange(len(X))
    if halves is None:
        y, genes = _responses(y, X, "y")
        for name in [*(conditions or ()), *([replicates] * (replicates is not None))]:
            _check_column(X, name)
        codes = number_conditions(X, schema, conditions)
        column = schema.replicate if replicates is None else replicates
        levels = number_replicates(X, codes, column)
        found = _of_replicates(metric, X, y, codes, levels, rng)
    else:
        halves, genes = _check_halves(halves, y, X)
        found = _of_halves(metric, X, halves, rng)
    if found is None:
        warn(_NO_REPLICATES)
        return None
    by_row, reliability, n_genes = found
    known = ~np.isnan(by_row)
    units = read_column(X, schema.perturbation).astype(str)[known]
    bootstrap = ClusterBootstrap(units, n_resamples, confidence, rng)
    low, high = map(float, bootstrap.interval(by_row[known]))
    return NoiseCeiling(
        metric=metric.name,
        greater_is_better=metric.greater_is_better,
        value=float(by_row[known].mean()),
        low=low,
        high=high,
        by_row=by_row,
        method="replicates" if halves is None else "halves",
        reliability=reliability.set_axis(genes),
        n_units=bootstrap.sizes[0],
        n_rows=int(known.sum()),
        n_effective_genes=float(n_genes),
    )


def share_of(score, baseline, ceiling, greater_is_better):
    """Return (score - baseline) / (ceiling - baseline), NaN where that means nothing.

    Parameters
    ----------
    score, baseline, ceiling : float
    greater_is_better : bool
    """
    span = ceiling - baseline
    if not (span > 0 if greater_is_better else span < 0):
        return np.nan
    return (score - baseline) / span + 0.0  # no -0


def _of_replicates(metric, X, y, codes, levels, rng):
    """Return the expected scores of rows, reliabilities, and effective genes."""
    partners = partners_of(codes, levels)
    rows = np.flatnonzero([len(own) > 0 for own in partners])
    if not len(rows):
        return None
    by_row = np.full(len(y), np.nan)
    of_rows = np.unique(codes[rows], return_inverse=True)[1]
    if metric.name in TRANSFORMS:
        scores, n_genes = agreement_with_truth(
            metric.name, y[rows], of_rows, levels[rows], random_state=rng
        )
        by_row[rows] = scores[of_rows]
    else:
        contrasts = contrasts_of(y, partners)
        n_genes = effective_genes(contrasts.values, of_rows)
        scores = _score_noise(metric, X, rows, contrasts.values)
        if metric.name != WeightedMSEScorer.name:  # a mean of squares is unbiased
            factor = row_spread(contrasts, of_rows, n_genes, rng)
            scores = scores * np.where(contrasts.n_others > 1, factor, 1.0)
        if metric.name == "mrmae":
            tails = tail_factors(contrasts, partners, y, of_rows, rng)
            scores = scores * [tails[m] for m in contrasts.n_others]
        by_row[rows] = scores
    return by_row, gene_reliability(y[rows], of_rows, None), n_genes


def _of_halves(metric, X, halves, rng):
    """Return the same from two halves of each row."""
    n = len(X)
    both, codes = np.concatenate(halves), np.tile(np.arange(n), 2)
    levels = np.repeat([0, 1], n)
    if metric.name in TRANSFORMS:
        by_row, n_genes = agreement_with_truth(
            metric.name, both, codes, levels, n_merged=2, random_state=rng
        )
    else:
        noise = (halves[0] - halves[1]) / 2
        by_row = _score_noise(metric, X, np.arange(n), noise)
        n_genes = effective_genes(noise, np.arange(n))
    return by_row, gene_reliability(both, codes, None, n_merged=2), n_genes


def _score_noise(metric, X, rows, noise):
    X = X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]
    return metric.of_rows(X)(noise, np.zeros_like(noise))


def _check_metric(scoring):
    """Return a metric, or raise if scores of cells are asked for."""
    if hasattr(scoring, "convention"):
        raise ValueError(
            f"scoring={scoring!r} scores cells; compare sets a second measurement of "
            "the cells beside its scores by itself. Row-wise metrics go in here."
        )
    return get_metric(scoring)


def _check_column(X, name):
    names = column_names(X)
    if name not in names:
        raise ValueError(
            f"Column {name!r} is not in X, which has {names}."
            f"{spelling_hint([name], names)}"
        )


def _responses(y, X, described):
    """Return responses as an array, and the names of the genes."""
    if y is None:
        raise ValueError("y is None; pass the responses, or halves=.")
    y = without_annotation(y)
    genes = getattr(y, "columns", None)
    values = check_array(
        y, ensure_2d=False, dtype=np.float64, input_name=described
    ).reshape(len(y), -1)
    check_consistent_length(X, values)
    return values, pd.RangeIndex(values.shape[1]) if genes is None else genes


def _check_halves(halves, y, X):
    """Return both halves, and the genes; warn if they are on another scale than y."""
    if len(halves) != 2:
        raise ValueError(
            f"halves has {len(halves)} entries; allowed is a tuple of two tables of "
            "responses, with a row for each row of X."
        )
    (first, genes), (second, others) = (
        _responses(as_pandas(half), X, f"halves[{i}]") for i, half in enumerate(halves)
    )
    if first.shape != second.shape or not _same(genes, others):
        raise ValueError(
            f"The halves have shapes {first.shape} and {second.shape}, or genes in "
            "another order; both need the same rows and genes."
        )
    if y is not None:
        y, named = _responses(y, X, "y")
        if y.shape != first.shape or not _same(named, genes):
            raise ValueError(
                f"y has shape {y.shape} and the halves {first.shape}, or genes are in "
                "another order; bring them in one."
            )
        mean = (first + second) / 2
        size = float(np.vdot(mean, y))
        ratio = size / float(np.vdot(mean, mean)) if mean.any() else 1.0
        if not _SAME_SCALE[0] <= ratio <= _SAME_SCALE[1]:
            warn(
                f"y is {ratio:.2f} times the mean of its halves, so that their noise "
                "is not that of y. Give the halves the scale of y: of p values, those "
                "of a half's effect with the standard error of the whole "
                "(sklperturb.signatures.signature_halves)."
            )
    return (first, second), genes


def _same(genes, others):
    """Whether names agree, where both tables have them."""
    unnamed = isinstance(genes, pd.RangeIndex) or isinstance(others, pd.RangeIndex)
    return unnamed or genes.equals(others)
