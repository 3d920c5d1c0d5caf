"""Which rows are controls, and one spelling of labels: ``control``, ``A+B``."""

import numpy as np
import pandas as pd

from sklperturb.conditions._frames import as_table, read_column, take_columns

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
    return each_label(labels, schema.names_control).astype(bool)


def is_control_label(label, control_labels=(), combines=True):
    """Return whether `label` names a control, or combines nothing but controls.

    Parameters
    ----------
    label : str
    control_labels : sequence of str, default=()
        The only ones that count, letter by letter. Without any, the spellings of
        public data sets count.
    combines : bool, default=True
        Whether labels can combine perturbations.
    """
    label = as_text(label).strip()
    known = control_labels.__contains__ if control_labels else _is_known_control
    if known(label):
        return True
    return combines and all(map(known, parts_of(label)))


def parts_of(label, separator=SEPARATOR):
    """Return what a label combines, each as often as it is named; else it alone.

    A plus sign inside brackets, or with nothing on one side, is part of a name, as in
    ``(+)-JQ1``, ``L-(+)-Rhamnose`` and ``CD4+``.
    """
    label = as_text(label).strip()
    if separator not in label:
        return (label,)
    depth, start, parts = 0, 0, []
    for at, letter in enumerate(label):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0:
            return (label,)
        if letter == separator and depth == 0:
            parts.append(label[start:at].strip())
            start = at + 1
    parts.append(label[start:].strip())
    return tuple(parts) if depth == 0 and all(parts) else (label,)


def split_combination(label, control_labels=(), separator=SEPARATOR):
    """Return the perturbations that a label combines, without controls.

    Where labels are those of a table, `PerturbationSchema.split` knows whether they
    combine anything, and what its controls are called.

    Parameters
    ----------
    label : str
    control_labels : sequence of str, default=()
        The names of controls. Without any, the spellings of public data sets.
    separator : str, default="+"

    Returns
    -------
    parts : tuple of str
        Sorted, each once; none for a control. A plus sign inside brackets, or with
        nothing on one side, is part of a name.

    Examples
    --------
    >>> from sklperturb.conditions import split_combination
    >>> split_combination("KLF1+CEBPE"), split_combination("ctrl+KLF1")
    (('CEBPE', 'KLF1'), ('KLF1',))
    >>> split_combination("non-targeting"), split_combination("(+)-JQ1")
    ((), ('(+)-JQ1',))
    """
    if is_control_label(label, control_labels):
        return ()
    parts = set(parts_of(label, separator))
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
    parts = sorted(set(parts))
    return SEPARATOR.join(parts) if parts else CONTROL


def name_asked_for(label, known, schema, control_labels):
    """Return the one spelling of what a label from elsewhere asks for.

    Another file may call controls otherwise, and write ``A+ctrl`` for one gene. A name
    that is in use is never taken for a control.

    Parameters
    ----------
    label : str
    known : set of str
        Perturbations in use, each alone.
    schema : PerturbationSchema
    control_labels : sequence of str
        How controls are called where they are in use.
    """
    own = (*control_labels, CONTROL)
    if schema.labels_combine:
        parts = split_combination(label, own)
    else:
        parts = () if label in own else (label,)
    return join_combination(
        part for part in parts if part in known or not is_control_label(part)
    )


def as_text(label):
    """Return a label as text, alike for all types in which files hold it.

    Text of fixed length is read as bytes, and whole numbers as floats where a value is
    missing in their column: ``b"A"`` is ``"A"``, and 1.0 is ``"1"``, as 1 is.
    """
    if isinstance(label, bytes):
        try:
            return label.decode()
        except UnicodeDecodeError:
            return label.decode("latin-1")
    if isinstance(label, float | np.floating) and label.is_integer():
        return str(int(label))
    return str(label)


def each_label(labels, function):
    """Return ``function(label)`` for every label, computed once for equal labels."""
    labels = np.asarray(labels, dtype=object)
    codes, levels = pd.factorize(labels, use_na_sentinel=False)
    values = np.empty(len(levels), dtype=object)
    values[:] = [function(level) for level in levels]
    return values[codes]


def take_labels(X, columns):
    """Return columns of a table of conditions as text; see `take_columns`."""
    table = take_columns(X, columns)
    texts = np.empty_like(table)
    for text, column in zip(texts.T, table.T, strict=True):
        text[:] = each_label(column, as_text)
    return texts


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
            "False, 1 and 0, as values or as text. Rename the column if it is no "
            "flag, or correct it."
        )
    return flags.astype(bool)


def _is_known_control(label):
    """Return whether a label is spelled as public data sets spell controls."""
    return label.casefold().translate(_IGNORED) in _KNOWN_CONTROLS
