"""Sparse and dense matrices of cells, which do not fit what they claim to be."""

from itertools import pairwise

import numpy as np

from tests.robustness.cases import accepted, cases, refused, reported
from tests.robustness.damage import (
    at,
    attribute,
    dropped,
    in_store,
    put,
    values,
)
from tests.robustness.inputs import GENES, N_CELLS


def _dense(function):
    """Store the matrix as a dense one, changed by ``function(values)``."""

    def change(store):
        dense = function(_to_dense(store))
        del store["X"]
        kind = {"encoding-type": "array", "encoding-version": "0.2.0"}
        put(store, "X", dense, **kind)

    return in_store(change)


def _to_dense(store):
    from scipy import sparse

    parts = [store[f"X/{name}"][...] for name in ("data", "indices", "indptr")]
    return sparse.csr_matrix(tuple(parts), shape=(N_CELLS, len(GENES))).toarray()


def _by_column(store):
    from scipy import sparse

    found = sparse.csc_matrix(_to_dense(store))
    for name in ("data", "indices", "indptr"):
        put(store, f"X/{name}", getattr(found, name))
    store["X"].attrs["encoding-type"] = "csc_matrix"


def _by_column_and(damage):
    def both(path):
        in_store(_by_column)(path)
        damage(path)

    return both


def _unsorted(store):
    indptr, parts = store["X/indptr"][...], {}
    for name in ("data", "indices"):
        found = store[f"X/{name}"][...]
        for start, stop in pairwise(indptr):
            found[start:stop] = found[start:stop][::-1]
        parts[name] = found
    for name, found in parts.items():
        put(store, f"X/{name}", found)


def _swapped(found):
    found = np.array(found)
    found[[3, 4]] = found[[4, 3]]
    return found


# What a compiled loop that trusts the file would read or write outside its memory for.
CRASHING = [
    ("an index past the last gene", at("X/indices", 5, len(GENES)), refused()),
    ("an index far past the last gene", at("X/indices", 5, 2**31 - 1), refused()),
    ("a negative index", at("X/indices", 5, -1), refused()),
    ("a very negative index", at("X/indices", 5, -(2**31)), refused()),
    ("rows that end before they start", values("X/indptr", _swapped), refused()),
    ("rows that begin at 1", at("X/indptr", 0, 1), refused()),
    ("rows that begin before 0", at("X/indptr", 0, -5), refused()),
    ("a row that ends past the values", at("X/indptr", -1, 10**6), refused()),
    ("values after the last row", at("X/indptr", -1, 9), refused()),
]
SHAPES = [
    ("a row fewer than cells", values("X/indptr", lambda p: p[:-1]), refused()),
    ("a row more than cells", values("X/indptr", lambda p: np.r_[p, p[-1]]), refused()),
    ("fewer values than indices", values("X/data", lambda d: d[:-3]), refused()),
    ("more values than indices", values("X/data", lambda d: np.r_[d, d]), refused()),
    ("a wider shape", attribute("X", "shape", [N_CELLS, len(GENES) + 4]), refused()),
    ("a narrower shape", attribute("X", "shape", [N_CELLS, 3]), refused()),
    ("a negative shape", attribute("X", "shape", [-1, len(GENES)]), refused()),
    ("a shape of 2^60", attribute("X", "shape", [2**60, len(GENES)]), refused()),
    ("a shape of one number", attribute("X", "shape", [N_CELLS]), refused()),
    ("no shape", attribute("X", "shape", None), refused()),
    ("no indptr", dropped("X/indptr"), refused()),
    ("no data", dropped("X/data"), refused()),
    ("another encoding", attribute("X", "encoding-type", "sparse_9"), refused()),
    ("no encoding", attribute("X", "encoding-type", None), refused()),
    ("a dense matrix of fewer rows", _dense(lambda x: x[:-1]), refused()),
    ("a dense matrix of more genes", _dense(lambda x: np.c_[x, x]), refused()),
    ("a vector", _dense(np.ravel), refused()),
    ("a number", _dense(lambda x: np.float32(3)), refused()),
    ("three dimensions", _dense(lambda x: x[..., None]), refused()),
]
TYPES = [
    ("indices of floats", values("X/indices", lambda i: i.astype("f4")), refused()),
    ("ends of floats", values("X/indptr", lambda i: i.astype("f8")), refused()),
    ("complex values", values("X/data", lambda d: d * (1 + 2j)), refused()),
    ("text as values", values("X/data", lambda d: d.astype("S8")), refused()),
    ("a dense matrix of text", _dense(lambda x: x.astype("S8")), refused()),
    ("a dense complex matrix", _dense(lambda x: x * 1j), refused()),
]
VALUES = [
    ("NaN", at("X/data", 5, np.nan), refused()),
    ("infinite", at("X/data", 5, np.inf), refused()),
    ("a negative count", at("X/data", 5, -3), refused()),
    ("NaN in a dense matrix", _dense(lambda x: x + np.where(x == x[3, 3], np.nan, 0)),
     refused()),
    ("negative in a dense matrix", _dense(lambda x: x - 40), refused()),
]  # fmt: skip
SAME = [
    ("64-bit indices", values("X/indices", lambda i: i.astype("i8")), accepted()),
    ("64-bit ends", values("X/indptr", lambda i: i.astype("i8")), accepted()),
    ("unsigned indices", values("X/indices", lambda i: i.astype("u4")), accepted()),
    ("double precision", values("X/data", lambda d: d.astype("f8")), accepted()),
    ("indices out of order", in_store(_unsorted), accepted()),
    ("dense", _dense(lambda x: x), accepted()),
]
COUNT_TYPES = [
    (f"counts of {kind}", values("X/data", lambda d, k=kind: d.astype(k)), accepted())
    for kind in ("u1", "u2", "i4", "u4", "i8", "u8", "f2")
]
BY_COLUMN = [
    (f"by column, {name}", _by_column_and(damage), expect)
    for name, damage, expect in [
        ("an index past the last cell", at("X/indices", 5, N_CELLS), refused()),
        ("a negative index", at("X/indices", 5, -1), refused()),
        ("columns that end before they start", values("X/indptr", _swapped), refused()),
        ("columns that end past the values", at("X/indptr", -1, 10**6), refused()),
    ]
]

_READING = ("fit-cells h5ad", "signatures h5ad", "embed h5ad", "pseudobulk h5ad")
_LOADING = ("load_perturbseq h5ad", "load_perturbseq backed h5ad")
_ZARR = ("signatures zarr", "load_perturbseq zarr", "load_perturbseq backed zarr")

CASES = [
    *cases("h5ad: sparse", "cells.h5ad", _READING, CRASHING),
    *cases("h5ad: sparse", "cells.h5ad", _LOADING, CRASHING),
    *cases("h5ad: sparse", "cells.h5ad", "describe h5ad", [
        (name, damage, reported()) for name, damage, _ in CRASHING[:5]
    ]),
    *cases("h5ad: sparse", "cells.h5ad", _READING[1:3], BY_COLUMN),
    *cases("h5ad: sparse", "cells.h5ad", "load_perturbseq h5ad", BY_COLUMN),
    *cases("h5ad: sparse", "pred.h5ad", "evaluate pred", CRASHING + BY_COLUMN[:2]),
    *cases("h5ad: shape", "cells.h5ad", ("signatures h5ad", _LOADING[0]), SHAPES),
    *cases("h5ad: shape", "cells.h5ad", "fit-cells h5ad", SHAPES[::3]),
    *cases("h5ad: shape", "pred.h5ad", "evaluate pred", SHAPES[::4]),
    *cases("h5ad: type", "cells.h5ad", (_READING[0], _READING[1], _LOADING[0]), TYPES),
    *cases("h5ad: type", "pred.h5ad", "evaluate pred", TYPES[2:]),
    *cases("h5ad: value", "cells.h5ad", _READING, VALUES),
    *cases("h5ad: value", "pred.h5ad", "evaluate pred", VALUES[:2]),
    *cases("h5ad: value", "cells.h5ad", "describe h5ad", [
        (name, damage, reported()) for name, damage, _ in VALUES
    ]),
    *cases("h5ad: value", "cells.h5ad", ("signatures h5ad", _LOADING[1]), SAME),
    *cases("h5ad: value", "cells.h5ad", "signatures h5ad", COUNT_TYPES),
    *cases("zarr: sparse", "cells.zarr", _ZARR, CRASHING[:6:2] + CRASHING[7:]),
    *cases("zarr: sparse", "cells.zarr", _ZARR[:1], SHAPES[:4] + TYPES[:3] + VALUES),
    *cases("zarr: sparse", "cells.zarr", _ZARR[:1], SAME[2:]),
    *cases("zarr: sparse", "cells.zarr", ("pseudobulk zarr", "embed zarr"), CRASHING[:3:2]),
    *cases("zarr: sparse", "cells.zarr", "fit-cells zarr", CRASHING[4:5]),
    *cases("h5ad: value", "embedded.h5ad", "fit-cells obsm", [
        ("NaN in obsm", at("obsm/X_own", (3, 1), np.nan), refused("X_own")),
        ("infinite in obsm", at("obsm/X_own", (3, 1), -np.inf), refused("X_own")),
        ("complex obsm", values("obsm/X_own", lambda x: x * 1j), refused()),
        ("obsm of fewer rows", values("obsm/X_own", lambda x: x[:-1]), refused()),
        ("obsm of one dimension", values("obsm/X_own", np.ravel), refused()),
        ("obsm of text", values("obsm/X_own", lambda x: x.astype("S8")), refused()),
        ("obsm without columns", values("obsm/X_own", lambda x: x[:, :0]), refused()),
    ]),
]  # fmt: skip
