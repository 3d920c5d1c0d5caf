"""Find the genes of a data set in the vocabulary of a model."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from sklperturb.files._reading import short
from sklperturb.files._tables import read_table

# The version of an Ensembl id: ENSG00000141510.17.
_VERSION = re.compile(r"^(ENS[A-Z]*\d+)\.\d+$")


class Vocabulary:
    """Look up the tokens of genes.

    A name is first looked up as it is, then in `gene_map`, there also without the
    version of an Ensembl id, and last without regard to case.

    Parameters
    ----------
    genes : sequence of str
        Names in the order of the tokens.
    gene_map : mapping, Series, DataFrame, path or None
        From other names to those of `genes`.
    ignore_case : bool
    """

    def __init__(self, genes, gene_map=None, ignore_case=False):
        self._token = {name: token for token, name in enumerate(genes)}
        self._exact = dict(self._token)
        if gene_map is not None:
            pairs = [(k, v) for k, v in _pairs(gene_map) if v in self._exact]
            if not pairs:
                raise ValueError(
                    f"{_described(gene_map)} leads to none of the genes of the "
                    "checkpoint. Its values must be names such as "
                    f"{', '.join(list(genes)[:3])}."
                )
            _warn_of_several(pairs)
            for name, gene in pairs:
                for known in (name, _VERSION.sub(r"\1", name)):
                    self._token.setdefault(known, self._exact[gene])
        self._ignore_case = ignore_case
        folded = {}
        for name, token in self._token.items():
            folded.setdefault(name.casefold(), set()).add(token)
        # A name that is several without its case is none of them.
        self._folded = {name: min(t) for name, t in folded.items() if len(t) == 1}

    def tokens(self, names):
        """Return the token of each name, -1 for names that are not known."""
        return np.array([self._find(name) for name in names], dtype=np.int64)

    def _find(self, name):
        unversioned = _VERSION.sub(r"\1", name)
        token = self._token.get(name, self._token.get(unversioned, -1))
        if token < 0 and self._ignore_case:
            return self._folded.get(unversioned.casefold(), -1)
        return token

    def n_exact(self, names):
        """Count the names that are in the vocabulary as they are."""
        return sum(name in self._exact for name in names)


def _pairs(gene_map):
    """Return (name, gene) pairs of text."""
    first, described = [], _described(gene_map)
    if isinstance(gene_map, str | Path):
        gene_map = read_table(Path(gene_map), text=True, comment="#")
        first = [tuple(gene_map.columns)]  # a pair, where the file has no header
    if isinstance(gene_map, pd.DataFrame):
        if gene_map.shape[1] != 2:
            raise ValueError(
                f"{described} must have two columns, names and genes of the "
                f"checkpoint; it has {short(list(gene_map.columns))}."
            )
        gene_map = gene_map.dropna()
        pairs = [*first, *zip(gene_map.iloc[:, 0], gene_map.iloc[:, 1], strict=True)]
    else:
        pairs = gene_map.items()
    return [(str(name).strip(), str(gene).strip()) for name, gene in pairs]


def _described(gene_map):
    return f"gene_map {gene_map}" if isinstance(gene_map, str | Path) else "gene_map"


def _warn_of_several(pairs):
    """Warn of names that lead to more than one gene; the first is taken."""
    found = {}
    for name, gene in pairs:
        found.setdefault(name, set()).add(gene)
    several = [name for name, genes in found.items() if len(genes) > 1]
    if several:
        warnings.warn(
            f"gene_map leads {len(several)} names to more than one gene of the "
            f"checkpoint, such as {several[:3]}; the first of each is taken.",
            UserWarning,
            stacklevel=5,
        )


def choose_names(cells, gene_names, vocabulary):
    """Return the names of the genes of `cells`, and where they were found.

    Parameters
    ----------
    cells : Cells
    gene_names : "auto", str or list of str
    vocabulary : Vocabulary

    Returns
    -------
    names : ndarray of str of shape (n_genes,)
    origin : str
    """
    if not isinstance(gene_names, str):
        names = np.asarray(gene_names, dtype=object).ravel()
        if len(names) != cells.shape[1]:
            raise ValueError(
                f"gene_names has {len(names)} names, and X has {cells.shape[1]} "
                "columns."
            )
        return names.astype(str).astype(object), "gene_names"
    if gene_names != "auto":
        if cells.var is None or gene_names not in cells.var:
            columns = [] if cells.var is None else list(cells.var)
            raise ValueError(
                f"gene_names={gene_names!r} is no column of the genes' table, which "
                f"has {columns}. Pass one of them, a list of names, or 'auto'."
            )
        return _text(cells.var[gene_names]), f"column {gene_names!r}"
    if cells.genes is None:
        raise ValueError(
            f"X, of {cells.source}, has no gene names. Pass an AnnData or a DataFrame, "
            "or the names of its columns as gene_names."
        )
    names = _text(cells.genes)
    if cells.var is not None and not vocabulary.n_exact(names):
        found = {column: _text(cells.var[column]) for column in cells.var}
        best = max(found, key=lambda c: vocabulary.n_exact(found[c]), default=None)
        if best is not None and vocabulary.n_exact(found[best]):
            return found[best], f"column {best!r}"
    return names, "names"


def _text(names):
    return np.array([str(name) for name in names], dtype=object)
