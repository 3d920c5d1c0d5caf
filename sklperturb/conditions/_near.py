"""Names that are not the same, and read as if they were meant to be."""

import re
import reprlib
import unicodedata

from sklperturb.conditions._labels import SEPARATOR, as_text, parts_of
from sklperturb.conditions._quantities import is_number, read_quantity

_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015.]+")
_QUOTED = reprlib.Repr()
_QUOTED.maxstring = 60
_BETWEEN_LETTERS = re.compile(r"(?<!\d)-|-(?!\d)")


def fold(name):
    """Return what two spellings of one name have in common.

    Case, blanks, hyphens, underscores and dots do not count, but between two digits,
    nor does a unit, nor the order of what is combined: ``B cell`` is ``b_cell``,
    ``24h`` is ``1 day``, ``A+B`` is ``B+A``, and 1-2 is not 12.
    """
    return SEPARATOR.join(sorted(map(_fold_part, parts_of(name))))


def _fold_part(name):
    text = unicodedata.normalize("NFKC", as_text(name)).strip()
    if is_number(text):
        return f"{float(text):.12g}"
    quantity = read_quantity(text)
    if quantity is not None:
        return "{:.6g} {}".format(*quantity)
    return _BETWEEN_LETTERS.sub("", _SEPARATORS.sub("-", text.casefold()))


def near_misses(names, known):
    """Return the names that are not known, but for their spelling.

    Parameters
    ----------
    names, known : iterable

    Returns
    -------
    near : dict of str to str
        By such a name, the one that is known.
    """
    known = set(map(as_text, known))
    unknown = sorted(set(map(as_text, names)) - known)
    if not unknown or not known:
        return {}
    by_fold = {fold(name): name for name in sorted(known, reverse=True)}
    near = {name: by_fold.get(fold(name)) for name in unknown}
    return {name: found for name, found in near.items() if found is not None}


def twins(names):
    """Return the names, of some that are all in use, that differ in spelling only.

    Returns
    -------
    near : dict of str to str
        By each but the first, the first.
    """
    first, near = {}, {}
    for name in sorted(set(map(as_text, names))):
        other = first.setdefault(fold(name), name)
        if other != name:
            near[name] = other
    return near


def did_you_mean(names, known):
    """Return a sentence to end a message with, or "" if no name is a near miss."""
    near = near_misses(names, known)
    return f" Did you mean {pairs(near)}?" if near else ""


def quoted(name):
    """Return a name in quotes, short enough for a message."""
    return _QUOTED.repr(name)


def pairs(near, n=3, of="for"):
    """Return the first near misses as text: ``'B cells' for 'b cells', ...``."""
    shown = [
        f"{quoted(known)} {of} {quoted(name)}" for name, known in list(near.items())[:n]
    ]
    return ", ".join(shown) + (", ..." if len(near) > n else "")
