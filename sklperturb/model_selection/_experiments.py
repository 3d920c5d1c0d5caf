"""Choose the experiments after which the rest can be predicted best."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklperturb.conditions._doubts import warn
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._schema import PerturbationSchema
from sklperturb.model_selection._design import Posterior
from sklperturb.model_selection._design_models import (
    AskedModel,
    array_of,
    calibration,
    can_be_asked,
    disagreement,
    last_step,
)
from sklperturb.model_selection._design_rules import (
    Farthest,
    Likeness,
    MostTold,
    Nearest,
    OneOfEach,
    Ranked,
    cluster,
    one_context_first,
)
from sklperturb.model_selection._design_table import Plan
from sklperturb.model_selection._design_task import Limits, Task, costs_of
from sklperturb.utils._choices import DesignCriterion, DesignStrategy, DesignUnit

# Strategies that need a covariance.
_TOLD = ("expected_error", "disagreement")
# Share of the error that one measurement takes off, below which it tells nothing.
_LEAST = 1e-6


@validate_params(
    {
        "n": [Interval(Integral, 1, None, closed="left")],
        "batch": [StrOptions({"greedy", "top"})],
        "strategy": [StrOptions(set(DesignStrategy))],
        "criterion": [StrOptions(set(DesignCriterion))],
        "unit": [StrOptions(set(DesignUnit))],
        "max_per": [dict, None],
        "skip_measured": ["boolean"],
        "calibrate": ["boolean"],
        "schema": [PerturbationSchema, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def suggest_experiments(
    estimator,
    X,
    y,
    candidates,
    n,
    *,
    targets=None,
    costs=None,
    batch="greedy",
    strategy="expected_error",
    criterion="error",
    unit="pair",
    max_per=None,
    clusters=None,
    skip_measured=False,
    calibrate=True,
    schema=None,
    random_state=0,
):
    r"""Choose the experiments after which the targets can be predicted best.

    Kernel models say how responses go together before these are measured
    (`prior_covariance`). Given what is measured, the covariance :math:`C` of the rest
    follows in closed form, and does not depend on what a next measurement will show: so
    a batch is chosen one after the other, each time that which takes most, per cost,
    off the mean of the targets' expected errors

    .. math:: \sqrt{C_{tt} + s_t}, \quad
        C_{tt} \leftarrow C_{tt} - \frac{C_{tj}^2}{C_{jj} + s_j}

    with noise :math:`s`, in the unit of the mean row-wise root mean squared error. No
    step needs more than an update of rank one [1]_, [2]_.

    Parameters
    ----------
    estimator : estimator or None
        A kernel model (`ResponseKernelRidge`, `ProductKernelRidge`,
        `TanimotoKernelRidge`, `GeneKnowledgeRidge`, or any with `prior_covariance` and
        `noise_variance`), or a pipeline that ends in one. A clone is fitted to `X` and
        `y`. Any regressor does for "disagreement"; None for the strategies that need no
        model.
    X : DataFrame of shape (n_samples, n_columns)
        Conditions that are measured. Without rows, nothing is: see Notes.
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
        Responses.
    candidates : DataFrame of shape (n_candidates, n_columns)
        Conditions that can be measured, with the columns of `X` that name context,
        perturbation and structure; others, such as plates and prices, may be there.
        A combination ``A+B`` is the same as ``B+A``, and a perturbation without
        structure or mechanism has that of any other row that names it.
    n : int
        Experiments to choose: rows of `candidates` or, with ``unit="perturbation"``,
        perturbations.
    targets : DataFrame of shape (n_targets, n_columns), default=None
        Conditions that shall be predicted; one that is there twice counts twice. None
        stands for the candidates.
    costs : str or array-like of shape (n_candidates,), default=None
        Cost of each candidate, above 0, or the column that has it. None is 1 each.
    batch : {"greedy", "top"}, default="greedy"
        Whether each choice counts on those before it, or the `n` that are best on their
        own are taken; the latter is for the first two strategies.
    strategy : str, default="expected_error"
        - "expected_error": by the covariance of the model.
        - "disagreement": by that of ten refits to resampled perturbations, for models
          that have no covariance.
        - "distance": what brings the targets nearest to what is measured.
        - "k_centre": what is farthest from all that is measured.
        - "clusters": one of each cluster of perturbations, or of each level of the
          column `clusters`, in turn.
        - "one_context_first": all of the context with most candidates, then the next.
        - "random".

        Distances are those of structures, where `X` or `candidates` have any, or else
        of responses in what is measured; the last five ignore costs, but "distance".
    criterion : {"error", "remaining", "variance"}, default="error"
        What the first two strategies reduce: the mean error of all targets, of which
        one that is measured keeps the noise of a measurement; the same with no error
        for those that are measured, since nothing of them is left to predict; or the
        mean squared error.
    unit : {"pair", "perturbation"}, default="pair"
        Whether a choice is one row, or all rows of a perturbation.
    max_per : dict of {str: int}, default=None
        Most rows of each level of a column of `candidates`, as ``{"plate": 96}``.
    clusters : str, default=None
        Column of `candidates` for the strategy "clusters", such as the mechanism; for
        no other.
    skip_measured : bool, default=False
        Whether candidates that `X` has are left out, in place of an error.
    calibrate : bool, default=True
        Whether to fit the model to five folds, which ask what the targets ask, and to
        multiply expected errors by the ratio of measured to expected ones there. It is
        drawn towards one, as if ten perturbations more had shown that.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    random_state : int, RandomState instance or None, default=0
        Decides between equals, and draws what is drawn at random.

    Returns
    -------
    plan : DataFrame of shape (n_chosen, n_columns + 5)
        The chosen rows of `candidates` in the order of choice, with their index, and

        - `gain`: by how much `expected_error` falls;
        - `expected_error`: mean over all targets after this choice, where those that
          are measured count with the error of measuring them again;
        - `expected_error_unmeasured`: mean over the targets that are not measured by
          then; NaN where there is none left;
        - `cost`: of this and all choices before;
        - `reason`: which targets it tells of.

        Errors are in the unit of `y`, NaN where the model cannot be asked. ``attrs``
        has "expected_error" and "expected_error_unmeasured" before any choice,
        "calibration" with "ratio", "low" and "high" of its 95 % interval and "n_rows"
        it was learnt from, and "strategy".

    Raises
    ------
    TypeError
        If `candidates` or `targets` are no data frames.
    ValueError
        If a column is missing, candidates are repeated or measured already, there are
        too few of them or of what `max_per` allows, a cost is not above 0, the model
        cannot be asked, or `batch` or `clusters` are not for the strategy.

    Warns
    -----
    UserWarning
        If contexts of candidates or targets were never measured, or the model has
        found nothing that conditions tell of each other.

    See Also
    --------
    suggest_cv : Folds that ask what a submission will be asked.

    Notes
    -----
    Where nothing is measured, nothing can be fitted: conditions are then taken as
    correlated as the genes in the `sources` of a `GeneKnowledgeRidge`, their structures
    or their names are alike, and a response has the variance one, and as much noise.

    With fewer than ten rows nothing can be held out to calibrate by, and errors are
    mostly larger than expected. Of a single row, noise is taken as large as it is.

    What a model has learnt of the kernel is held fast while a batch is chosen, so that
    errors may fall by more than is expected once it learns more. Large batches are
    better chosen in rounds, with the new measurements in `X`.

    Time is that of the fit, and of one pass over (candidates x pool) for each choice;
    memory, of one such matrix of 4 bytes each.

    References
    ----------
    .. [1] Krause, Singh and Guestrin, "Near-Optimal Sensor Placements in Gaussian
       Processes", Journal of Machine Learning Research 9, 2008.
    .. [2] Settles, "Active Learning", Morgan & Claypool, 2012.
       :doi:`10.2200/S00429ED1V01Y201207AIM018`

    Examples
    --------
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.linear_model import ProductKernelRidge
    >>> from sklperturb.model_selection import suggest_experiments
    >>> screen = make_chemical_screen(4, 20, 50, n_shared=5, random_state=0)
    >>> plan = suggest_experiments(
    ...     ProductKernelRidge(), screen.X, screen.y, screen.X_test, 3
    ... )
    >>> len(plan), bool((plan["gain"] > 0).all())
    (3, True)
    """
    _check_strategy(strategy, batch, clusters)
    task = Task(X, y, candidates, targets, schema, skip_measured)
    units, names = task.units(unit)
    costs = costs_of(costs, task, units)
    limits = Limits(max_per, task.candidates, units)
    limits.check(n, names)
    rng = check_random_state(random_state)
    rank = rng.permutation(len(units))
    posterior, calibrated = _posterior(
        task, estimator, strategy, criterion, calibrate, rng
    )
    if strategy in _TOLD:
        rule = MostTold(posterior, units, costs, rank)
        if batch == "top":
            values = posterior.gains(units) / costs
            rule = Ranked(np.lexsort((rank, -values)))
    else:
        rule = _design(strategy, task, units, costs, rank, n, clusters)
    plan = Plan(task, units, costs, posterior, calibrated, strategy)
    for number in range(n):
        allowed = limits.allowed()
        if not allowed.any():
            raise ValueError(
                f"Only {number} of n={n} {names} could be chosen within max_per="
                f"{max_per}: no other fits beside these. Allow more, or lower n."
            )
        chosen = rule.pick(allowed)
        limits.take(chosen)
        rule.measured(chosen)
        plan.add(chosen, getattr(rule, "reason", None))
    if strategy in _TOLD and plan.first_share() < _LEAST:
        warn(
            "The model has found nothing that one condition tells of others, so that "
            "all candidates are as good. Measure more, give the model more to go by, "
            "such as structures, or choose by strategy='k_centre'."
        )
    return plan.table()


def _check_strategy(strategy, batch, clusters):
    """Raise if another option is not for the strategy."""
    if batch == "top" and strategy not in _TOLD:
        raise ValueError(
            f"batch='top' is for the strategies {list(_TOLD)}, and "
            f"strategy={strategy!r}; leave it out, or choose one of these."
        )
    if clusters is not None and strategy != "clusters":
        raise ValueError(
            f"clusters={clusters!r} is for strategy='clusters', and "
            f"strategy={strategy!r}; leave it out, or choose that strategy."
        )


def _posterior(task, estimator, strategy, criterion, calibrate, rng):
    """Return what is known of the pool, and how right that is; None if nothing is."""
    seed = int(rng.randint(2**31 - 1))
    none = {"ratio": 1.0, "low": np.nan, "high": np.nan, "n_rows": 0}
    if not len(task.X):
        known = _beforehand(task, estimator)
    elif strategy == "disagreement":
        _require_model(estimator, strategy)
        given = task.X, task.y, task.pool, task.place, task.schema, seed
        known = disagreement(estimator, *given)
    else:
        if strategy == "expected_error":
            _require_model(estimator, strategy)
            AskedModel.check(estimator)
        elif not can_be_asked(estimator):
            return None, none
        asked = AskedModel.fit(estimator, task.X, task.y)
        asked.require(task.pool)
        known = asked.posterior(task.X, task.pool, task.place)
        if calibrate:
            asks = task.pool.iloc[: task.n_targets]
            none = calibration(estimator, task.X, task.y, asks, task.schema, seed)
    about = task.place, task.weights, task.known, criterion
    return Posterior(*known, *about), none


def _beforehand(task, estimator):
    """Return the covariance of conditions of which none is measured."""
    about = task.pool, task.place, task.n_targets, task.schema
    sources = getattr(last_step(estimator), "sources", None)
    like = Likeness(task.X, np.zeros((0, 1)), *about, sources)
    covariance = like.between_candidates_and_pool()
    # As much noise as signal: how much there is, only measurements can tell.
    ones = np.ones(len(task.pool))
    return covariance, ones, ones.copy()


def _require_model(estimator, strategy):
    if estimator is None:
        raise ValueError(
            f"strategy={strategy!r} needs an estimator; pass one, or another strategy, "
            "such as 'k_centre'."
        )


def _design(strategy, task, units, costs, rank, n, clusters):
    """Return the rule of a design that needs no model."""
    schema = task.schema
    if strategy == "random":
        return Ranked(np.argsort(rank), "drawn at random")
    if strategy == "one_context_first":
        order = one_context_first(task.candidates, schema, units, rank)
        return Ranked(order, "its context is measured first")
    if strategy == "clusters" and clusters is not None:
        if clusters not in task.candidates:
            raise ValueError(
                f"clusters={clusters!r} is no column of the candidates; they have "
                f"{list(task.candidates.columns)}."
                f"{spelling_hint([clusters], task.candidates.columns)}"
            )
        first = [rows[0] for rows in units]
        names = task.candidates[clusters].iloc[first].map(str)
        codes, names = pd.factorize(names, sort=True)
        return OneOfEach(codes, np.zeros(len(units)), rank, names)
    like = Likeness(
        task.X, array_of(task.y), task.pool, task.place, task.n_targets, schema
    )
    if strategy == "k_centre":
        return Farthest(like, units, rank)
    if strategy == "distance":
        return Nearest(like, units, costs, rank, task.weights)
    codes = like.perturbations(np.array([rows[0] for rows in units]))
    levels, codes = np.unique(codes, return_inverse=True)
    numbers, typical = cluster(like.of_perturbations[np.ix_(levels, levels)], n)
    return OneOfEach(numbers[codes], typical[codes], rank)
