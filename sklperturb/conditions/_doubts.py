"""Say what in a table of conditions reads as if it were meant otherwise."""

import re
import sys
import warnings

import pandas as pd

from sklperturb.conditions._frames import read_column
from sklperturb.conditions._labels import (
    CONTROL,
    as_text,
    each_label,
    is_control_label,
)
from sklperturb.conditions._near import (
    fold,
    joined_otherwise,
    near_misses,
    pairs,
    quoted,
    twins,
)
from sklperturb.conditions._quantities import MISSING

_CONTROL_LIKE = re.compile(
    r"(sg)?(no|non|safe)?(target(ing|s)?|neg(ative)?|control|ctrl|ntc?|scr|scrambled?"
    r"|untreated|unstimulated|unstim|unperturbed|vehicle|mock|dmso|pbs|wildtype"
    r"|emptyvector|aavs1|rosa26|lacz|luciferase|e?gfp|mcherry)+(guide|sg|g)?\d*"
)
_MISSING_LIKE = MISSING | {"-", "."}
_PACKAGES = ("sklperturb", "sklearn", "contextlib")


def warn(message, category=UserWarning):
    """Warn the user, at the line that called the toolkit from outside."""
    level, frame = 2, sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _PACKAGES:
            break
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def doubtful_columns(columns, spellings, roles):
    """Return a message for each role without a column for which one seems meant.

    Parameters
    ----------
    columns : list of str
        Of a table of conditions.
    spellings : dict of str to sequence of str
        How the columns of each role are known to be called.
    roles : dict of str to (str or None)
        The column of each role that was found.

    Returns
    -------
    messages : list of str
    """
    open_roles = [role for role, column in roles.items() if column is None]
    near = near_columns(columns, {role: spellings[role] for role in open_roles})
    return [
        f"Column {column!r} is not read: as {role}, the name {known!r} is known. "
        f"Rename it, or pass schema=PerturbationSchema(..., {role}={column!r})."
        for column, (role, known) in near.items()
    ]


def near_columns(columns, spellings):
    """Return {column: (role, known spelling)} for columns that are near misses."""
    exact = {name for names in spellings.values() for name in names}
    known = {
        fold_column(name): (role, name)
        for role, names in spellings.items()
        for name in reversed(names)
    }
    near = {
        column: known.get(fold_column(column))
        for column in columns
        if isinstance(column, str) and column not in exact
    }
    return {column: found for column, found in near.items() if found is not None}


def doubtful_controls(labels, is_control, schema):
    """Return a message if labels of perturbations read like those of controls.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        As they are written.
    is_control : ndarray of bool of shape (n_samples,)
    schema : PerturbationSchema

    Returns
    -------
    messages : list of str
        None or one.
    """
    texts = pd.Series(each_label(labels, as_text))
    counts = texts[~is_control].value_counts().sort_index()
    counts = counts[[_reads_like_control(name) for name in counts.index]]
    suspects, n_rows = counts.index.tolist(), int(counts.sum())
    if not suspects:
        return []
    known = sorted(texts[is_control].unique())
    call = f"schema=PerturbationSchema({schema.perturbation!r}, ..., control_labels="
    kept = f"; if not, {call}{_listed(*known)}) says so" if known else ""
    label = f"the label {quoted(known[0])}" if known else f"the label {CONTROL!r}"
    others = f"the controls are {_some(known)}" if known else "there are no others"
    return [
        f"Column {schema.perturbation!r} holds {_some(suspects)} in {n_rows} rows, "
        f"which read like controls and are taken as perturbations; {others}. If they "
        f"are controls, give them {label} in the file. Or pass {call}"
        f"{_listed(*known, *suspects)}){kept}."
    ]


def unmet_controls(labels, control_labels):
    """Return a message if `control_labels` name controls but for their spelling.

    Parameters
    ----------
    labels : array-like of shape (n_samples,)
        As they are written.
    control_labels : sequence of str
        What the user said.

    Returns
    -------
    messages : list of str
        None or one.
    """
    near = near_misses(control_labels, [text.strip() for text in _present(labels)])
    if not near:
        return []
    return [
        "The controls that are named are not among the labels, but for their "
        f"spelling. Did you mean {pairs(near)}?"
    ]


def doubtful_combinations(names, column):
    """Return a message if names read like combinations, and are none.

    Parameters
    ----------
    names : iterable of str
        Of perturbations, as they are read.
    column : str

    Returns
    -------
    messages : list of str
        None or one.
    """
    names = [name for name in set(names) if not _reads_like_control(name)]
    found = {*joined_otherwise(names, set(names)), *filter(_joins_control, names)}
    found = sorted(found)
    if not found:
        return []
    return [
        f"{len(found)} labels of column {column!r} read like combinations and are "
        f"taken as one perturbation each: {_some(found)}. Write a plus sign between "
        "the parts, as in 'A+B', if they are combinations."
    ]


def _joins_control(name):
    """Return whether a name is as ``A_ctrl`` and ``NegCtrl0_A``."""
    parts = name.split("_")
    return len(parts) == 2 and all(parts) and any(map(_reads_like_control, parts))


def doubtful_names(X, schema, is_control=None):
    """Return a message for each column with names that may be meant otherwise.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
    schema : PerturbationSchema
    is_control : ndarray of bool of shape (n_samples,), default=None
        Rows whose perturbation does not count.

    Returns
    -------
    messages : list of str
    """
    messages = []
    for role in ("perturbation", "context"):
        column = getattr(schema, role)
        if column is None:
            continue
        values = read_column(X, column, allow_missing=True)
        if role == "perturbation" and is_control is not None:
            values = values[~is_control]
        texts = _present(values)
        blank = {t for t in texts if t.strip().casefold() in _MISSING_LIKE}
        if role == "perturbation":
            blank |= {t for t in texts if t.strip().casefold() == "unknown"}
        if blank:
            messages.append(
                f"Column {column!r} holds {_some(sorted(blank))} as text, which looks "
                "like a missing label and is kept as a name. Leave these cells empty "
                "in the file if it is missing."
            )
        near = twins(texts)
        if near:
            messages.append(
                f"Column {column!r} holds names that differ in their spelling only and "
                f"are taken as different: {pairs(near, of='and')}. Give each one "
                "spelling if they are the same."
            )
    return messages


def doubtful_new_names(X_new, X, schema):
    """Return a message for each column whose new names read like known ones."""
    messages = []
    for column in schema.columns("perturbation", "context"):
        known, new = (
            _present(read_column(table, column, allow_missing=True))
            for table in (X, X_new)
        )
        near = near_misses(new, known)
        if near:
            messages.append(
                f"{len(near)} names of column {column!r} to predict are not in "
                f"training, but for their spelling. Did you mean {pairs(near)}?"
            )
    return messages


def _present(values):
    """Return the different values that are not missing, as text."""
    return list(map(as_text, pd.Series(values, dtype=object).dropna().unique()))


def _reads_like_control(label):
    folded = fold(label).replace("-", "")
    return is_control_label(label, combines=False) or bool(
        _CONTROL_LIKE.fullmatch(folded)
    )


def fold_column(name):
    """Return the name of a column without case, punctuation and a plural's s."""
    text = fold(name).replace("μ", "u")
    return re.sub(r"[^a-z0-9]", "", text).removesuffix("s")


def _listed(*names, n=6):
    """Return names as a list in code, cut to what a message can hold."""
    return f"[{_some(names, n)}]"


def _some(names, n=3):
    return ", ".join(map(quoted, names[:n])) + (", ..." if len(names) > n else "")
