"""Doses and times with their units, as text writes them."""

import re
from numbers import Real

import numpy as np
import pandas as pd

from sklperturb.conditions._labels import as_text, each_label

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([^\d\s+].*?)\s*")
_MOLAR = {"p": 1e-6, "n": 1e-3, "u": 1.0, "µ": 1.0, "μ": 1.0, "m": 1e3, "": 1e6}
_MOLAR |= {"pico": 1e-6, "nano": 1e-3, "micro": 1.0, "milli": 1e3}
# In micromoles per litre, and in hours. Case tells M (molar) from m (minutes, milli).
_UNITS = {
    f"{prefix}{unit}": (factor, "uM")
    for prefix, factor in _MOLAR.items()
    for unit in ("M", "mol/L", "mol/l", "molar")
}
_UNITS |= dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), (1.0, "h"))
_UNITS |= dict.fromkeys(("min", "mins", "minute", "minutes"), (1 / 60, "h"))
_UNITS |= dict.fromkeys(("d", "day", "days"), (24.0, "h"))
_UNITS |= dict.fromkeys(("s", "sec", "second", "seconds"), (1 / 3600, "h"))
# How programs write that a value is missing, in small letters.
MISSING = frozenset(("", "nan", "na", "n/a", "<na>", "none", "null"))


def is_number(text):
    """Return whether a text spells a finite number."""
    return re.fullmatch(_NUMBER, text) is not None


def read_quantity(text):
    """Return the amount and the unit that a text such as ``50 nM`` names, or None.

    Returns
    -------
    amount : float
    unit : {"uM", "h"}
        What the amount is in, whatever the unit of the text.
    """
    found = _QUANTITY.fullmatch(as_text(text))
    if found is None or found[2] not in _UNITS:
        return None
    factor, unit = _UNITS[found[2]]
    # Divided where that is exact: 50 nM are 0.05 uM and not 0.05000000000000001.
    amount = float(found[1])
    return (amount / round(1 / factor) if factor < 1 else amount * factor), unit


def read_doses(values, described):
    """Return doses as numbers.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Numbers, or text: numbers, or amounts with a molar unit such as ``50 nM``.
    described : str
        What holds them, for the error message.

    Returns
    -------
    doses : ndarray of float of shape (n_samples,)
        Numbers as they are, amounts with a unit in micromoles per litre; NaN where the
        value is missing.
    converted : bool
        Whether there were units.

    Raises
    ------
    ValueError
        If values are neither, or some have a unit and others, but for 0, have none.
    """
    values = np.asarray(values, dtype=object)
    found = each_label(values, read_dose)
    kinds = {kind for kind, _ in found}
    unread = [kind == "unread" for kind, _ in found]
    if any(unread):
        examples = [text[:60] for text in dict.fromkeys(map(as_text, values[unread]))]
        raise ValueError(
            f"{described} is named as the dose and holds {examples[:3]}. Allowed are "
            "numbers of 0 or more, and amounts with a molar unit such as '50 nM'; "
            "convert the others, or leave the role 'dose' out of the schema."
        )
    if kinds >= {"amount", "number"}:
        bare = values[[kind == "number" for kind, _ in found]]
        raise ValueError(
            f"{described} holds doses with a unit and others without one, such as "
            f"{as_text(bare[0])!r}. Give all of them a unit, or none."
        )
    doses = np.array([dose for _, dose in found], dtype=np.float64)
    return doses, "amount" in kinds


def says_unit(dose):
    """Return whether the name of a column of doses says that these are uM."""
    return str(dose).casefold().endswith("um")


def unit_column(table, dose):
    """Return the column that holds the units of a column of doses, or None."""
    if says_unit(dose):
        return None
    names = (f"{dose}_unit", f"{dose}_units", "dose_unit", "dose_units")
    return next((name for name in names if name in table), None)


def doses_of(table, column):
    """Return the values of a column of doses, with the unit that stands beside it.

    Where the other column names one unit for all and it is not molar, the numbers stay
    as they are.

    Parameters
    ----------
    table : DataFrame of shape (n_samples, n_columns)
    column : str

    Returns
    -------
    values : ndarray of object of shape (n_samples,)
        As `read_doses` takes them.
    """
    values = table[column].to_numpy(dtype=object)
    beside = unit_column(table, column)
    if beside is None:
        return values
    units = table[beside].astype(object)
    units = ["" if pd.isna(unit) else as_text(unit).strip() for unit in units]
    kinds = {unit for unit in units if unit}
    if len(kinds) == 1 and read_quantity(f"1 {min(kinds)}") is None:
        return values
    pairs = pd.Series(zip(values, units, strict=True), dtype=object)
    return each_label(pairs, lambda pair: _with_unit(*pair))


def _with_unit(value, unit):
    text = as_text(value).strip()
    return f"{text} {unit}" if unit and is_number(text) else value


def read_dose(value):
    """Return what kind of dose a value is, and the number."""
    missing = not isinstance(value, list | tuple | dict | np.ndarray) and pd.isna(value)
    text = "" if missing else as_text(value).strip()
    if text.casefold() in MISSING:
        return "missing", np.nan
    if (isinstance(value, Real) and not isinstance(value, bool)) or is_number(text):
        number = float(text)
        if not 0 <= number < np.inf:
            return "unread", np.nan
        return ("zero" if number == 0 else "number"), number
    amount, unit = read_quantity(text) or (np.nan, None)
    return ("amount", amount) if unit == "uM" and amount >= 0 else ("unread", np.nan)
