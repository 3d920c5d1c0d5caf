"""Which rows are controls, and one spelling of labels: ``control``, ``A+B``."""

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import as_table, read_column

CONTROL = "control"
SEPARATOR = "+"
# Compared without case, blanks, hyphens and underscores.
_KNOWN_CONTROLS = frozenset(
    (
        *("control", "controls", "ctrl", "negctrl", "negcontrol", "negativecontrol"),
        *("nontargeting", "nontarget", "nontargetingcontrol", "ntc", "nt"),
        *("safetargeting", "scramble", "scrambled", "unperturbed", "untreated"),
        *("vehicle", "mock", "dmso", "dmsotf", "dimethylsulfoxide"),
    )
)
_IGNORED = str.maketrans("", "", " -_")
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False}
_FLAGS |= {"0.0": False, "": False, "nan": False, "none": False, "<na>": False}


def control_rows(X, schema):
    """Return which rows of a table of conditions are controls.

    The control column that the schema names decides. Without one, the label of the
    perturbation does: it is one of the schema's `control_labels` or, if there are
    none, spelled as public data sets spell controls.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_columns)
        Conditions.
    schema : PerturbationSchema
        Roles of the columns.

    Returns
    -------
    is_control : ndarray of bool of shape (n_samples,)

    Raises
    ------
    ValueError
        If `X` lacks the column, or the control column holds anything but True, False,
        1 and 0, as values or as text; where it is missing, nothing is a control.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklperturb.conditions import PerturbationSchema, control_rows
    >>> X = pd.DataFrame({"gene": ["non-targeting", "A"], "flag": [False, True]})
    >>> control_rows(X, PerturbationSchema("gene"))
    array([ True, False])
    >>> control_rows(X, PerturbationSchema("gene", control="flag"))
    array([False,  True])
    """
    X = as_table(X)
    if schema.control is not None:
        schema.require(X, "control")
        flags = read_column(X, schema.control, allow_missing=True)
        return as_flags(flags, f"Column {schema.control!r} of X")
    schema.require(X, "perturbation")
    labels = read_column(X, schema.perturbation, allow_missing=True)
    marked = each_label(
        labels, lambda label: is_control_label(label, schema.control_labels)
    )
    return marked.astype(bool)


def is_control_label(label, control_labels=()):
    """Return whether `label` names a control, or combines nothing but controls.

    Parameters
    ----------
    label : str
    control_labels : sequence of str, default=()
        The only ones that count, letter by letter. Without any, the spellings of
        public data sets count.
    """
    label = as_text(label).strip()
    known = control_labels.__contains__ if control_labels else _is_known_control
    parts = [part.strip() for part in label.split(SEPARATOR) if part.strip()]
    return known(label) or (len(parts) > 0 and all(map(known, parts)))


def split_combination(label, control_labels=(), separator=SEPARATOR):
    """Return the perturbations that a label combines, without controls.

    Parameters
    ----------
    label : str
    control_labels : sequence of str, default=()
        The names of controls. Without any, the spellings of public data sets.
    separator : str, default="+"

    Returns
    -------
    parts : tuple of str
        Sorted, each once; none for a control.

    Examples
    --------
    >>> from sklperturb.conditions import split_combination
    >>> split_combination("KLF1+CEBPE"), split_combination("ctrl+KLF1")
    (('CEBPE', 'KLF1'), ('KLF1',))
    >>> split_combination("non-targeting")
    ()
    """
    label = as_text(label)
    if is_control_label(label, control_labels):
        return ()
    parts = {part.strip() for part in label.split(separator)} - {""}
    return tuple(sorted(p for p in parts if not is_control_label(p, control_labels)))


def join_combination(parts):
    """Return the one spelling of a combination, whatever the order of its parts.

    Parameters
    ----------
    parts : iterable of str

    Returns
    -------
    label : str
        ``"A+B"`` in alphabetical order; ``"control"`` if there are no parts.

    Examples
    --------
    >>> from sklperturb.conditions import join_combination
    >>> join_combination(["KLF1", "CEBPE"]), join_combination([])
    ('CEBPE+KLF1', 'control')
    """
    return SEPARATOR.join(sorted(set(parts))) or CONTROL


def as_text(label):
    """Return a label as text; files with text of fixed length hold bytes."""
    return label.decode() if isinstance(label, bytes) else str(label)


def each_label(labels, function):
    """Return ``function(label)`` for every label, computed once for equal labels."""
    labels = np.asarray(labels, dtype=object)
    codes, levels = pd.factorize(labels, use_na_sentinel=False)
    values = np.empty(len(levels), dtype=object)
    values[:] = [function(level) for level in levels]
    return values[codes]


def as_flags(values, described):
    """Return control flags as booleans; where one is missing, it is no control.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        True, False, 1 and 0, as values or as text.
    described : str
        What holds them, for the error message.
    """
    flags = each_label(values, lambda value: _FLAGS.get(as_text(value).strip().lower()))
    unread = [value is None for value in flags]
    if any(unread):
        raise ValueError(
            f"{described} marks controls and holds "
            f"{np.asarray(values, dtype=object)[unread][0]!r}; allowed are True, "
            "False, 1 and 0, as values or as text."
        )
    return flags.astype(bool)


def _is_known_control(label):
    return label.casefold().translate(_IGNORED) in _KNOWN_CONTROLS
