"""What a column such as mechanism of action says of each row, as sets of terms."""

import re

import numpy as np
import pandas as pd
from scipy import sparse

from sklperturb.conditions._frames import as_table, read_column
from sklperturb.conditions._labels import as_text
from sklperturb.conditions._quantities import MISSING

# Commas between digits belong to a name, as in "1,25-dihydroxyvitamin D".
_SEPARATOR = re.compile(r"[|;]|(?<!\d),|,(?!\d)")
_NOT_KNOWN = MISSING | {"-", ".", "?", "unknown", "unclear", "unclassified", "other"}
_NOT_KNOWN |= {"undefined", "not known", "not available", "unannotated"}
# What columns of Parquet files and data frames hold several terms in.
_SEVERAL = (list, tuple, set, frozenset, np.ndarray)


def split_terms(value):
    """Return the terms that an annotation lists, each once and in order.

    Parameters
    ----------
    value : object
        Terms separated by ``|``, ``;`` or commas; or a list, tuple, set or array, of
        which each text is one term; or a missing value.

    Returns
    -------
    terms : tuple of str
        As they are spelled, without surrounding blanks. Words that say that nothing is
        known, such as "unknown", are left out.

    Examples
    --------
    >>> from sklperturb.conditions._annotations import split_terms
    >>> split_terms("JAK1 | JAK2, JAK1")
    ('JAK1', 'JAK2')
    >>> split_terms("Unknown"), split_terms(None)
    ((), ())
    """
    if isinstance(value, _SEVERAL):
        parts = [as_text(part) for part in _in_order(value) if _is_there(part)]
    elif _is_there(value):
        parts = _SEPARATOR.split(as_text(value))
    else:
        return ()
    found = {}
    for text in parts:
        text = " ".join(text.split())
        if text.casefold() not in _NOT_KNOWN:
            found.setdefault(text.casefold(), text)
    return tuple(found.values())


def read_mechanisms(schema, X):
    """Return the terms of each row's mechanism or targets, none where none is known.

    Parameters
    ----------
    schema : PerturbationSchema
        If it has no column for them, no row has terms.
    X : DataFrame or array-like of shape (n_samples, n_columns)

    Returns
    -------
    terms : list of tuple of str
    """
    if schema.mechanism is None:
        return [()] * len(as_table(X))
    schema.require(X, "mechanism")
    given = read_column(X, schema.mechanism, allow_missing=True)
    return [split_terms(value) for value in given]


def _in_order(values):
    return sorted(values, key=str) if isinstance(values, set | frozenset) else values


def _is_there(value):
    return isinstance(value, str) or bool(np.isscalar(value) and not pd.isna(value))


class TermVectors:
    """Sets of terms as vectors of length one, in which rare terms count for more.

    A term that n of the N sets hold weighs log((N + 1) / (n + 1)) + 1.

    Parameters
    ----------
    terms : list of tuple of str
        The sets that frequencies are of. Case does not count.

    Examples
    --------
    >>> from sklperturb.conditions._annotations import TermVectors
    >>> vectors = TermVectors([("JAK1",), ("JAK1", "JAK2"), ("EGFR",), ()])
    >>> known = vectors.rows([("jak1",), ("EGFR", "MET")])
    >>> (known @ vectors.rows([("JAK1",)]).T).toarray().ravel()
    array([1., 0.])
    """

    def __init__(self, terms):
        folded = [_folded(row) for row in terms]
        self.index = {t: i for i, t in enumerate(sorted(set().union(*folded)))}
        self.n_sets = len(folded)
        counts = np.zeros(len(self.index))
        for row in folded:
            counts[[self.index[term] for term in row]] += 1
        self.weights = np.log((self.n_sets + 1) / (counts + 1)) + 1

    def rows(self, terms):
        """Return the vectors of some sets, sparse, of shape (n_sets, n_terms).

        A term that is in none of the first sets has no place, and counts in the length
        as one that none holds.
        """
        unheard = np.log(self.n_sets + 1) + 1
        rows, columns, values = [], [], []
        for row, found in enumerate(map(_folded, terms)):
            places = [self.index[term] for term in found if term in self.index]
            weights = self.weights[places]
            n_unheard = len(found) - len(places)
            length = np.sqrt(np.square(weights).sum() + n_unheard * unheard**2)
            rows += [row] * len(places)
            columns += places
            values += (weights / (length or 1.0)).tolist()
        shape = (len(terms), len(self.index))
        return sparse.csr_array((values, (rows, columns)), shape=shape, dtype=float)


def _folded(terms):
    return {term.casefold() for term in terms}
