"""Names that are not the same, and read as if they were meant to be."""

import re
import reprlib
import unicodedata

from sklperturb.conditions._labels import SEPARATOR, as_text, parts_of
from sklperturb.conditions._quantities import is_number, read_quantity

_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015.]+")
_QUOTED = reprlib.Repr()
_QUOTED.maxstring = 60
# What files write between the parts of a combination, but for the plus sign. Names of
# one gene hold the latter ones too.
_JOINTS, _JOINTS_OF_NAMES = (";", "|", "&", "\uff0b"), ("_", "-", ":", ",", "/")
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


def joined_otherwise(names, known):
    """Return the names that combine known ones, but with another sign than a plus.

    Parameters
    ----------
    names : iterable of str
    known : set of str

    Returns
    -------
    joined : list of str
    """

    def joins(name):
        if any(len(parts_of(name, joint)) > 1 for joint in _JOINTS):
            return True
        cuts = (parts_of(name, joint) for joint in _JOINTS_OF_NAMES)
        return any(len(parts) > 1 and known.issuperset(parts) for parts in cuts)

    return [name for name in names if joins(name)]


def spelling_hint(names, known):
    """Return a sentence to end a message with, or "" if no name is a near miss.

    Names that are typed, as options are, have `utils._choices.did_you_mean`.
    """
    near = near_misses(names, known)
    return f" Did you mean {pairs(near)}?" if near else ""


def quoted(name):
    """Return a name in quotes, short enough for a message."""
    return _QUOTED.repr(name)


def pairs(near, n=3, of="for"):
    """Return the first near misses as text: ``'B cells' for 'b cells', ...``."""
    shown = []
    for name, known in list(near.items())[:n]:
        texts = [quoted(known), quoted(name)]
        if _looks(known) == _looks(name):  # letters of which each is written otherwise
            texts = [t.encode("ascii", "backslashreplace").decode() for t in texts]
        shown.append(f"{texts[0]} {of} {texts[1]}")
    return ", ".join(shown) + (", ..." if len(near) > n else "")


def _looks(name):
    return unicodedata.normalize("NFKC", as_text(name))
