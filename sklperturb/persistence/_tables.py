"""Frames, their indexes, and sparse matrices, of what `_encode` made of them."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

_LONGEST = 2**26  # a range is as long as memory is taken once it is used
_SPARSE = ("csc_array", "csc_matrix", "csr_array", "csr_matrix")


class TableDecoder:
    """The part of a decoder that makes tables of arrays."""

    def _sparse(self, value):
        if value["is"] not in _SPARSE:
            self.refuse(value["is"], f"one of {_SPARSE}")
        data, indices, indptr = self._arrays_of(value, "data", "indices", "indptr")
        shape = value["shape"]
        fits = isinstance(shape, list) and len(shape) == 2
        if not fits or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
            self.refuse(shape, "a shape of two lengths")
        if indptr.size != shape[value["is"].startswith("csc")] + 1:
            self.refuse(shape, f"a shape for {indptr.size} pointers")
        kind = getattr(sp, value["is"])
        made = kind((data, indices, indptr), shape=tuple(shape))
        made.check_format(full_check=True)
        return made

    def _frame(self, value):
        columns, index = (self._index_of(value[key]) for key in ("columns", "index"))
        if "values" in value:
            (data,) = self._arrays_of(value, "values")
            if data.shape != (len(index), len(columns)):
                self.refuse(data.shape, f"of shape {len(index), len(columns)}")
            return pd.DataFrame(data, index=index, columns=columns)
        data = value.get("data")
        if not isinstance(data, list) or len(data) != len(columns):
            self.refuse(data, f"{len(columns)} columns")
        data = dict(enumerate(self._column(item, len(index)) for item in data))
        return pd.DataFrame(data, index=index, columns=range(len(data))).set_axis(
            columns, axis=1
        )

    def _series(self, value):
        index = self._index_of(value["index"])
        data = self._column(value["data"], len(index))
        return pd.Series(data, index=index, name=self.decode(value["name"]))

    def _column(self, value, length):
        column = self.decode(value)
        if not isinstance(column, np.ndarray | pd.Categorical) or column.ndim != 1:
            self.refuse(column, "a column")
        if len(column) != length:
            self.refuse(len(column), f"of length {length}")
        return column

    def _categorical(self, value):
        (codes,) = self._arrays_of(value, "codes")
        categories = self._index_of(value["categories"])
        if type(value["ordered"]) is not bool or codes.dtype.kind not in "iu":
            self.refuse(value["ordered"], "true or false")
        return pd.Categorical.from_codes(codes, categories, value["ordered"])

    def _index_of(self, value):
        index = self.decode(value)
        if not isinstance(index, pd.Index):
            self.refuse(index, "an index")
        return index

    def _range(self, value):
        span, names = self._items(value), self.decode(value["names"])
        if len(span) != 3 or not all(type(n) is int for n in span) or not span[2]:
            self.refuse(span, "a start, a stop and a step")
        if len(range(*span)) > _LONGEST:
            self.refuse(span, f"of at most {_LONGEST} numbers")
        return pd.RangeIndex(*span).set_names(names)

    def _index(self, value):
        data = self.decode(value["data"])
        if not isinstance(data, list) or len(data) != 1:
            self.refuse(data, "a list of one array")
        array = data[0]
        if not isinstance(array, np.ndarray | pd.Categorical):
            self.refuse(array, "an array")
        is_text = isinstance(array, np.ndarray) and array.dtype.kind == "O"
        dtype = object if is_text else None
        return pd.Index(array, dtype=dtype).set_names(self.decode(value["names"]))

    def _levels(self, value):
        data, names = self.decode(value["data"]), self.decode(value["names"])
        if not all(isinstance(item, np.ndarray | pd.Categorical) for item in data):
            self.refuse(data, "a list of arrays")
        return pd.MultiIndex.from_arrays(data, names=names)
