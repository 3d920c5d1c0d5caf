"""One spelling of controls and of combined perturbations: ``control``, ``A+B``."""

import numpy as np
import pandas as pd

CONTROL = "control"
SEPARATOR = "+"
# Compared without case, blanks, hyphens and underscores.
_KNOWN_CONTROLS = frozenset(
    {
        "control",
        "controls",
        "ctrl",
        "nontargeting",
        "nontarget",
        "nontargetingcontrol",
        "ntc",
        "nt",
        "negctrl",
        "negativecontrol",
        "negcontrol",
        "safetargeting",
        "scramble",
        "scrambled",
        "unperturbed",
        "untreated",
        "vehicle",
        "mock",
        "dmso",
        "dmsotf",
        "dimethylsulfoxide",
    }
)
_IGNORED = str.maketrans("", "", " -_")
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False}
_FLAGS |= {"0.0": False, "": False, "nan": False, "none": False, "<na>": False}


def is_control_label(label, control_labels=()):
    """Tell whether `label` names a control.

    Parameters
    ----------
    label : str
    control_labels : sequence of str, default=()
        The only ones that count, letter by letter. Without any, the spellings of
        public data sets count.
    """
    if control_labels:
        return label in control_labels
    return label.casefold().translate(_IGNORED) in _KNOWN_CONTROLS


def split_combination(label, control_labels=(), separator=SEPARATOR):
    """Return the perturbations that `label` combines, sorted and without controls.

    Of a control, there are none.

    Examples
    --------
    >>> from sklperturb.conditions._labels import split_combination
    >>> split_combination("KLF1+CEBPE"), split_combination("ctrl+KLF1")
    (('CEBPE', 'KLF1'), ('KLF1',))
    >>> split_combination("non-targeting")
    ()
    """
    label = str(label)
    if is_control_label(label, control_labels):
        return ()
    parts = {part.strip() for part in label.split(separator)}
    return tuple(
        sorted(
            part
            for part in parts
            if part and not is_control_label(part, control_labels)
        )
    )


def join_combination(parts):
    """Return the one spelling of a combination, whatever the order of its parts.

    Examples
    --------
    >>> from sklperturb.conditions._labels import join_combination
    >>> join_combination(["KLF1", "CEBPE"]), join_combination([])
    ('CEBPE+KLF1', 'control')
    """
    return SEPARATOR.join(sorted(set(parts))) or CONTROL


def each_label(labels, function):
    """Return ``function(label)`` for every label, computed once for equal labels."""
    labels = np.asarray(labels, dtype=object)
    codes, levels = pd.factorize(labels, use_na_sentinel=False)
    values = np.empty(len(levels), dtype=object)
    values[:] = [function(level) for level in levels]
    return values[codes]


def control_rows(X, schema):
    """Return a boolean array that marks the controls among rows of conditions.

    The control column decides; without one, the spelling of the perturbation does.

    Parameters
    ----------
    X : DataFrame or ndarray of shape (n_samples, n_columns)
    schema : PerturbationSchema
    """
    if schema.control is not None:
        schema.require(X, "control")
        flags = _column(X, schema.control)
        if flags.dtype == bool:
            return flags
        return as_flags(pd.DataFrame({schema.control: flags}), schema.control, "X")
    labels = _column(X, schema.perturbation)
    marked = each_label(
        labels, lambda label: is_control_label(str(label), schema.control_labels)
    )
    return marked.astype(bool)


def as_flags(X, column, file_name):
    """Read a column of control flags; where it is missing, nothing is a control."""
    if column not in X:
        return np.zeros(len(X), dtype=bool)
    spelled = X[column].astype(object).map(lambda value: str(value).strip().lower())
    flags = spelled.map(_FLAGS)
    if flags.isna().any():
        raise ValueError(
            f"Column {column!r} of {file_name} marks controls and holds "
            f"{X[column][flags.isna()].iloc[0]!r}; allowed are True, False, 1 and 0, "
            "as values or as text."
        )
    return flags.to_numpy(dtype=bool)


def _column(X, name):
    if isinstance(X, pd.DataFrame):
        return X[name].to_numpy()
    return np.asarray(X)[:, name]
