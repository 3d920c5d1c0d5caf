"""Run the checks for leaks, and collect what they find."""

import warnings

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params

from sklperturb.auditing import _structures
from sklperturb.auditing._canary import check_canary
from sklperturb.auditing._columns import check_columns, unread_columns
from sklperturb.auditing._controls import check_controls
from sklperturb.auditing._copies import check_copies
from sklperturb.auditing._fitted import check_held, check_panels, check_prefitted
from sklperturb.auditing._genes import check_genes
from sklperturb.auditing._levels import (
    check_known,
    check_levels,
    check_names,
    check_replicates,
    check_rows,
)
from sklperturb.auditing._metadata import check_metadata, technical_columns
from sklperturb.auditing._result import LeakAudit
from sklperturb.auditing._structures import check_compounds, check_scaffolds
from sklperturb.auditing._task import AuditTask
from sklperturb.comparison._evidence import dealt_units
from sklperturb.conditions import PerturbationSchema, resolve_schema
from sklperturb.conditions._frames import as_pandas, as_table, without_annotation
from sklperturb.metrics import get_metric
from sklperturb.model_selection import UnseenScaffoldKFold
from sklperturb.models import make_model
from sklperturb.utils._choices import one_of
from sklperturb.utils._progress import ProgressBar


def _unnamed(task):
    """Return why what rows are called is not looked at, "" if it is."""
    named = task.schema is not None
    return "" if named else "nothing says what rows are; pass conditions="


# By name: a function that yields findings of a task, and one that says why it is not
# run, which may be None. A new check is a new line.
CHECKS = {
    "rows": (check_rows, None),
    "levels": (check_levels, _unnamed),
    "names": (check_names, _unnamed),
    "replicates": (check_replicates, _unnamed),
    "compounds": (check_compounds, _unnamed),
    "scaffolds": (check_scaffolds, _structures.why_not),
    "target genes": (check_genes, _unnamed),
    "copies": (
        check_copies,
        lambda t: "there are fewer than 5 genes" if t.values.shape[1] < 5 else "",
    ),
    "columns": (check_columns, None),
    "fitted before": (check_prefitted, None),
    "held responses": (check_held, None),
    "panels": (check_panels, None),
    "canary": (check_canary, None),
    "metadata": (
        check_metadata,
        lambda t: "" if technical_columns(t) else "there are no technical columns",
    ),
    "controls": (
        check_controls,
        lambda t: "" if t.is_control.any() else "there are no controls",
    ),
    "shared batches": (check_known, _unnamed),
}
# What says which part of a task a check cannot look at, "" if it looked at all of it.
_UNREAD = {"columns": unread_columns}
_MOST_CODED = 16  # columns of an array of codes that say what rows are
CLAIMS = ("perturbation", "context", "scaffold", "batch", "replicate")


@validate_params(
    {
        "estimator": [HasMethods(["fit", "predict"]), str],
        "X": "no_validation",
        "y": "no_validation",
        "cv": ["cv_object"],
        "conditions": "no_validation",
        "scoring": [str, callable, object],
        "schema": [PerturbationSchema, None],
        "claims": [StrOptions({"auto"}), list, tuple],
        "checks": [StrOptions({"all"}), list, tuple],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def audit(
    estimator,
    X,
    y,
    cv=5,
    *,
    conditions=None,
    scoring="mrrmse",
    schema=None,
    claims="auto",
    checks="all",
    random_state=0,
):
    """Look for ways in which a cross-validated score knows the held-out responses.

    Folds, columns, responses and the estimator are searched for leaks, and of each
    that is found it is measured how much better it makes the score. The estimator, `X`
    and `y` are left as they are.

    Parameters
    ----------
    estimator : estimator or str
        What is cross-validated, or the name of a registered model.
    X : DataFrame or array-like of shape (n_samples, n_columns)
        Conditions, or whatever else the estimator takes.
    y : array-like, DataFrame or AnnData of shape (n_samples, n_genes)
        Responses, in memory.
    cv : int, splitter or iterable, default=5
        The folds.
    conditions : DataFrame of shape (n_samples, n_conditions), default=None
        What the rows are, where `X` holds features and does not say so. The folds are
        cut by it. An array of numbers is taken for features, unless it has few columns
        of whole numbers, which are then codes.
    scoring : str, RowwiseMetric or scorer of `sklperturb.metrics`, default="mrrmse"
        What inflations are measured in.
    schema : PerturbationSchema, default=None
        Roles of the columns. None infers them from the column names.
    claims : "auto" or list of str, default="auto"
        What the folds hold out whole, of "perturbation", "context", "scaffold", "batch"
        and "replicate". "auto" takes a level to be held out if no row that is tested,
        or far fewer than by chance, has it in training.
    checks : "all" or list of str, default="all"
        Which checks to run; their names are those of `LeakAudit.checks`.
    random_state : int, RandomState instance or None, default=0
        Seeds registered models, permutations and the bootstrap.

    Returns
    -------
    audit : LeakAudit
        Printed, it is a report; ``audit.ok`` says whether there is no leak, and
        ``audit.table()`` is a DataFrame.

    Raises
    ------
    ValueError
        If the folds are empty, `y` is not finite, or a name is not known.

    See Also
    --------
    sklperturb.model_selection.suggest_cv : Folds that ask what is to be predicted.
    sklperturb.comparison.compare : Models on the same folds.

    Notes
    -----
    The checks, and what makes each a leak:

    - "rows": rows that are trained on and tested in one fold;
    - "levels", "names": perturbations, contexts, batches or replicates that the folds
      hold out, but for slips, or under another spelling;
    - "replicates": rows of one condition on both sides;
    - "compounds", "scaffolds", "target genes": held-out perturbations that are in
      training as a salt, a stereoisomer, under another name, or in a combination;
    - "copies": training rows with nearly the responses of a held-out row;
    - "columns": columns of `X` that are functions of the responses;
    - "fitted before", "panels", "held responses": parts of the estimator that were
      fitted or chosen on held-out responses, or bring these along;
    - "canary": held-out rows are predicted although responses were dealt anew among the
      training rows;
    - "metadata": technical columns alone predict as well as the estimator, and it
      reads them, or gains by rows of the same batches;
    - "controls": differences from controls that are held out.

    What is in training by design is a note: of pairs that are held out, each
    perturbation and each context is.

    An inflation compares the same held-out rows with and without the leak; its interval
    resamples what the folds hold out, as that of `compare` does. Where training rows
    are left out, as many others are in the score that it is compared with. The
    estimator is fitted once in each fold, about 8 times for the canary, and once or
    twice in each fold for each leak.

    What no audit can see is what was done before and left no trace: genes of `y`, or
    columns of `X`, that were chosen by looking at all responses.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklperturb.datasets import make_chemical_screen
    >>> from sklperturb.inspection import audit
    >>> from sklperturb.model_selection import UnseenPairKFold
    >>> from sklperturb.preprocessing import TargetStatisticsEncoder
    >>> screen = make_chemical_screen(4, 30, 20, random_state=0)
    >>> encoded = TargetStatisticsEncoder(["mean"]).fit(screen.X, screen.y)
    >>> found = audit(
    ...     Ridge(), encoded.transform(screen.X), screen.y,
    ...     UnseenPairKFold(3, random_state=0), conditions=screen.X,
    ... )
    >>> found.ok, found.findings[0].kind
    (False, 'columns')
    """
    names = _names(checks, CHECKS, "check")
    metric = get_metric(scoring)
    rng = check_random_state(random_state)
    X, y = _as_given(X), _in_memory(y)
    check_consistent_length(X, y)
    conditions, schema = _conditions(X, conditions, schema)
    if isinstance(estimator, str):
        seed = int(rng.randint(2**31 - 1))
        estimator = make_model(estimator, schema=schema, random_state=seed)
    folds = [
        (np.asarray(train), np.asarray(test))
        for train, test in check_cv(cv).split(conditions, y)
    ]
    _check_folds(folds, cv)
    said = _claims(claims, cv)
    task = AuditTask(
        *(clone(estimator), X, y, folds, metric, conditions, schema, said, rng),
        dealt=dealt_units(cv, conditions),
    )
    return _run(task, names)


def _run(task, names):
    """Run the checks of some names on a task."""
    score = float(task.base[1].mean())
    found, states = [], {}
    with warnings.catch_warnings(), ProgressBar(len(names), "Auditing") as progress:
        # The estimator has warned of its data when it was fitted to the folds.
        warnings.simplefilter("ignore")
        for name in names:
            check, why_not = CHECKS[name]
            states[name] = why_not(task) if why_not else ""
            if not states[name]:
                of_check = list(check(task))
                leaks = any(finding.is_leak for finding in of_check)
                clean = _UNREAD.get(name, lambda t: "")(task) or "clean"
                states[name] = "found" if leaks else clean
                found += of_check
            progress.advance(name)
    leaks = sorted((f for f in found if f.is_leak), key=_order)
    claims = {
        role: "new" if task.claims_new(role) else "known" for role in task.overlaps
    }
    return LeakAudit(
        leaks,
        [f for f in found if not f.is_leak],
        states,
        score,
        task.metric.name,
        claims,
        len(task.folds),
        len(task.held_out),
    )


def _order(finding):
    inflation = finding.inflation.inflation
    return finding.severity != "high", -np.nan_to_num(inflation, nan=np.inf)


def _as_given(X):
    """Return X as a DataFrame or an array."""
    X = as_pandas(X)
    return X if isinstance(X, pd.DataFrame) else as_table(X)


def _in_memory(y):
    """Return responses as a DataFrame or an array of finite numbers."""
    y = without_annotation(y)
    checked = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if isinstance(y, pd.DataFrame):
        return pd.DataFrame(checked, index=y.index, columns=y.columns)
    return checked


def _conditions(X, conditions, schema):
    """Return what the rows are, and its schema; None where nothing says it."""
    if conditions is not None:
        conditions = _as_given(conditions)
        check_consistent_length(X, conditions)
        return conditions, resolve_schema(schema, conditions)
    if schema is None and _holds_features(X):
        return X, None
    return X, resolve_schema(schema, X)


def _holds_features(X):
    """Whether a table holds measured numbers, and no names or codes."""
    if isinstance(X, pd.DataFrame):
        known = PerturbationSchema.infer
        try:
            known(X)
        except ValueError:
            return all(map(pd.api.types.is_numeric_dtype, X.dtypes))
        if not all(isinstance(name, int) for name in X.columns):
            return False
    values = np.asarray(X)
    if values.dtype.kind not in "fiu":
        return False
    first = values[:, :2].astype(np.float64)
    # Codes of a handful of columns are conditions; indicators and bits are not.
    few_levels = len(np.unique(first[:, 0])) <= 2
    many = values.shape[1] > _MOST_CODED
    return bool(few_levels or many or (first != np.round(first)).any())


def _check_folds(folds, cv):
    if not folds:
        raise ValueError(f"cv={cv!r} gives no folds; there is nothing to audit.")
    for number, (train, test) in enumerate(folds):
        if len(train) == 0 or len(test) == 0:
            side = "test" if len(train) else "train on"
            raise ValueError(
                f"Fold {number} of cv={cv!r} has no rows to {side}; correct the folds."
            )


def _claims(claims, cv):
    """Return what the user says that the folds hold out, by role."""
    if isinstance(claims, str):
        return {"scaffold": True} if isinstance(cv, UnseenScaffoldKFold) else {}
    for role in claims:
        one_of(role, CLAIMS, "role that folds hold out")
    return {role: role in claims for role in CLAIMS}


def _names(checks, known, what):
    if isinstance(checks, str):
        return list(known)
    return [one_of(name, known, what) for name in checks]
