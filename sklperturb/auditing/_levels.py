"""What is named alike on both sides: rows, perturbations, contexts, batches, donors.

A level in training is a leak only if the folds hold out new ones, but for slips.
"""

import numpy as np

from sklperturb.auditing._result import LeakFinding
from sklperturb.auditing._task import severity, some
from sklperturb.conditions._frames import column_names, read_column
from sklperturb.conditions._labels import as_text
from sklperturb.conditions._levels import number_levels
from sklperturb.conditions._near import fold as fold_name
from sklperturb.uncertainty._ceiling_rows import condition_columns, number_conditions

_ADVICE = {
    "perturbation": "Cut the folds with UnseenPerturbationKFold",
    "context": "Cut the folds with UnseenContextKFold",
    "batch": "Cut the folds with GroupKFold on this column",
    "replicate": "Cut the folds with GroupKFold on this column",
}
_PLURAL = {
    "perturbation": "perturbations",
    "context": "contexts",
    "batch": "batches",
    "replicate": "replicates",
}


def check_rows(task):
    """Yield a finding if rows are trained on and tested in the same fold."""
    linked, concerned = [], []
    for train, test in task.folds:
        both = np.zeros(len(task.values), dtype=bool)
        both[np.intersect1d(train, test)] = True
        linked.append(both)
        concerned.append(both[test])
    concerned = np.concatenate(concerned)
    if not concerned.any():
        return
    worth = task.without_rows(linked, concerned, "these rows left out of training")
    yield LeakFinding(
        "rows",
        "high",
        f"{concerned.sum()} of {len(concerned)} held-out rows are in the training rows "
        "of the same fold.",
        "Correct the folds: the training and the test rows of a fold must have no row "
        "in common.",
        worth,
        task.held_out[concerned],
    )


def check_levels(task):
    """Yield findings of levels that folds hold out, but for some rows."""
    for role, overlap in task.overlaps.items():
        if not task.claims_new(role) or not overlap.seen.any():
            continue
        codes, names = task.codes(role) or (task.perturbation, None)
        yield _finding(
            task,
            "levels",
            codes,
            overlap.seen,
            f"The folds hold out {_PLURAL[role]}",
            f"{_ADVICE[role]}, or give each row its {role}.",
            names,
        )


def check_names(task):
    """Yield findings of names that folds hold out and that are only spelled anew."""
    for role in ("perturbation", "context"):
        coded = task.codes(role)
        if coded is None or not task.claims_new(role):
            continue
        codes, names = coded
        folded, _ = number_levels(np.array([fold_name(name) for name in names]))
        joined = _apply(folded, codes)
        seen = task.overlap(joined).seen & ~task.overlaps[role].seen
        if not seen.any():
            continue
        yield _finding(
            task,
            "names",
            joined,
            seen,
            f"The folds hold out {role}s by name, and names differ in their spelling "
            "only",
            f"Give each {role} one spelling, then cut the folds again.",
            names,
            codes,
        )


def check_replicates(task):
    """Yield a finding if rows of one condition are on both sides of a fold."""
    if task.codes("perturbation") is None:
        return
    if any(task.claims_new(role) for role in ("batch", "replicate")):
        return  # the same conditions, measured anew, are what the folds ask for
    if any(task.claims_new(role) for role in ("perturbation", "context")):
        return  # a level is new, so is the condition; slips are told with the levels
    columns = condition_columns(task.conditions, task.schema)
    columns = [name for name in columns if name in column_names(task.conditions)]
    condition = number_conditions(task.conditions, task.schema, columns)
    seen = task.overlap(condition).seen
    column = task.codes("perturbation")
    if seen.any():
        yield _finding(
            task,
            "replicates",
            condition,
            seen,
            f"Rows of one condition, alike in {some(columns, len(columns))}, are on "
            "both sides",
            "Cut the folds by condition, as the splitters of "
            "sklperturb.model_selection do, or average replicates first.",
            column[1],
            column[0],
        )
    other = task.overlap(_joined(task, "perturbation", "context")).seen & ~seen
    if other.any():
        yield LeakFinding(
            "replicates",
            "note",
            f"{other.sum()} of {len(other)} held-out rows have their perturbation in "
            "their context in training at another dose or time.",
            "The score says how well doses and times are interpolated. UnseenPairKFold "
            "holds out all of a pair.",
            rows=task.held_out[other],
        )


def check_known(task):
    """Yield notes of what is in training by design."""
    for role in ("batch", "replicate"):
        overlap = task.overlaps.get(role)
        if overlap is None or task.claims_new(role) or not overlap.seen.any():
            continue
        yield LeakFinding(
            "shared batches",
            "note",
            f"{overlap.share:.0%} of the held-out rows are of a {role} that is in "
            "training too.",
            f"The score says nothing about a new {role}; for that, hold out whole "
            "ones with scikit-learn's GroupKFold.",
        )


def linked_rows(task, codes):
    """Return, for each fold, the rows whose level is held out; controls are none.

    Returns
    -------
    linked : list of ndarray of bool of shape (n_samples,)
    """
    linked = []
    for _, test in task.folds:
        tested = test[~task.is_control[test] & (codes[test] >= 0)]
        same = np.isin(codes, codes[tested]) & (codes >= 0) & ~task.is_control
        linked.append(same)
    return linked


def text_column(task, column):
    """Return a column of the conditions as text, None where it is missing."""
    values = read_column(task.conditions, column, allow_missing=True)
    return [
        None if value != value or value is None else as_text(value) for value in values
    ]


def columns_called(task, *names):
    """Return the columns of the conditions with one of the names, however spelled."""
    wanted = {fold_name(name).replace("-", "") for name in names}
    return [
        column
        for column in column_names(task.conditions)
        if isinstance(column, str) and fold_name(column).replace("-", "") in wanted
    ]


def overlap_finding(task, kind, codes, seen, claim, advice, examples=()):
    """Return a finding of held-out rows whose level is trained on, with its worth."""
    worth = task.without_rows(
        linked_rows(task, codes), seen, "what is shared left out of training"
    )
    rows = task.held_out[seen]
    examples = list(examples)
    shown = f", such as {some(examples)}" if examples else ""
    return LeakFinding(
        kind,
        severity(worth),
        f"{claim}: {seen.sum()} of {len(seen)} held-out rows ({seen.mean():.1%}) have "
        f"in training what they hold out{shown}.",
        advice,
        worth,
        rows,
        examples,
    )


def _finding(task, kind, codes, seen, claim, advice, names, own=None):
    examples = ()
    if names is not None:
        own = codes if own is None else own
        examples = [names[code] for code in np.unique(own[task.held_out[seen]])]
    return overlap_finding(task, kind, codes, seen, claim, advice, examples)


def _joined(task, *roles):
    """Return one code for each combination of the levels of some roles."""
    columns = [task.codes(role)[0] for role in roles if task.codes(role) is not None]
    return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].ravel()


def _apply(folded, codes):
    return np.append(folded, -1)[codes]
