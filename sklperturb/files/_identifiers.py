"""Compare identifiers by what they mean, whatever type a file gave them."""

import re
from numbers import Integral, Real

import numpy as np
import pandas as pd

# pandas writes 1 as 1.0 where another row is missing. 007 is a name, not a number.
_INTEGER = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0)?", re.ASCII)


def as_identifier(value):
    """Return an identifier as text: one for 1, 1.0, "1" and "1.0", none for missing.

    Parameters
    ----------
    value : object

    Returns
    -------
    identifier : str or None

    Examples
    --------
    >>> from sklperturb.files._identifiers import as_identifier
    >>> [as_identifier(value) for value in (1, 1.0, "1", " 1.0", b"1", "001")]
    ['1', '1', '1', '1', '1', '001']
    >>> as_identifier(float("nan")) is None
    True
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Real) and not isinstance(value, bool | Integral):
        if np.isnan(value):
            return None
        whole = np.isfinite(value) and value == np.floor(value)
        return str(int(value)) if whole else str(value)
    text = (value.decode() if isinstance(value, bytes) else str(value)).strip()
    number = _INTEGER.fullmatch(text)
    return number[1] if number else text or None


def as_identifiers(values):
    """Return the identifiers of a column or an index as an index of text."""
    values = np.asarray(values, dtype=object)
    codes, levels = pd.factorize(values, use_na_sentinel=False)
    found = np.empty(len(levels), dtype=object)
    found[:] = [as_identifier(level) for level in levels]
    return pd.Index(found[codes], dtype=object)
