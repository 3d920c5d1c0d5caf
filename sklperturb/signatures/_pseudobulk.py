"""Add up the cells of each group, in memory or streaming from a file."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_is_fitted

from sklperturb.cells import open_cells, sum_by_group
from sklperturb.cells._files import check_unique_genes, read_obs
from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._documented import DocumentedMixin
from sklperturb.conditions._quantities import unit_column

# What tells samples apart, where the columns to group by are not named.
ROLES = ("context", "perturbation", "dose", "batch", "replicate")
_OPTIONS = {
    "layer": [str, None],
    "min_cells": [Interval(Integral, 1, None, closed="left")],
    "chunk_size": [Interval(Integral, 1, None, closed="left"), None],
}


@validate_params(
    {"groupby": [str, list, tuple], **_OPTIONS}, prefer_skip_nested_validation=True
)
def pseudobulk(adata, groupby, *, layer=None, min_cells=1, chunk_size=None):
    """Sum the cells of each group into a pseudobulk sample.

    Cells are read block by block, and the cells of a group are added up in one pass
    over the values that are not zero. The memory needed does not depend on the number
    of cells when they are on disk, and no cell is made dense.

    Parameters
    ----------
    adata : AnnData, str or path-like
        Cells by genes; in memory or backed, sparse or dense. A path names an .h5ad file
        or a .zarr folder, of which `X` or `layer` is streamed. Of a backed AnnData only
        `X` is, since anndata reads the layers at once.
    groupby : str or list of str
        Columns of `obs`; cells that agree in all of them form a group.
    layer : str, default=None
        Layer to add up instead of `X`. Use the one that holds raw counts.
    min_cells : int, default=1
        Groups of fewer cells are left out.
    chunk_size : int, default=None
        Cells to read at once (genes, if the matrix is stored by column). By default as
        many as need some 100 MB.

    Returns
    -------
    pseudobulks : AnnData of shape (n_groups, n_genes)
        `X` holds sums and ``layers["mean"]`` means, dense and float64. `obs` has the
        columns of `groupby`, then those columns that are the same in all cells of every
        group (a structure, a dose, a control flag), then ``"n_cells"``. Groups are
        sorted by the columns of `groupby`; `var` is that of `adata`.

    Raises
    ------
    ValueError
        If a column or layer does not exist, a group label is missing, no group has
        `min_cells` cells, doses of one group are in several units, a gene occurs
        twice, or a value is not finite or negative.
    FileNotFoundError
        If `adata` is a path and there is no such file.

    See Also
    --------
    Pseudobulk : The same as a step of a pipeline.
    DifferentialSignatures : From pseudobulks to signatures.

    Notes
    -----
    Sums of counts are exact: they are formed in float64. Means are taken of what the
    matrix holds; of raw counts, they are not corrected for depth.

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.signatures import pseudobulk
    >>> obs = pd.DataFrame({"cell_type": ["B", "T", "B"]}, index=["c1", "c2", "c3"])
    >>> cells = ad.AnnData(np.array([[1.0, 0.0], [5.0, 2.0], [3.0, 1.0]]), obs=obs)
    >>> bulks = pseudobulk(cells, "cell_type")
    >>> bulks.obs
      cell_type  n_cells
    B         B        2
    T         T        1
    >>> bulks.X.tolist(), bulks.layers["mean"].tolist()
    ([[4.0, 1.0], [5.0, 2.0]], [[2.0, 0.5], [5.0, 2.0]])
    """
    from anndata import AnnData

    groupby = as_list(groupby)
    with open_cells(adata, layer=layer, needs="counts") as cells:
        obs = cells.obs  # which says so where there is none
        check_unique_genes(cells.genes, cells.source)
        codes, obs = number_groups(obs, groupby, min_cells)
        sums = sum_by_group(cells, codes, len(obs), chunk_size=chunk_size)
        var = cells.var.copy()
    means = sums / obs["n_cells"].to_numpy()[:, None]
    return AnnData(sums, obs=obs, var=var, layers={"mean": means})


class Pseudobulk(DocumentedMixin, TransformerMixin, BaseEstimator):
    """Sum the cells of each group, as a step of a pipeline.

    No number is learnt: `transform` calls :func:`pseudobulk` on the cells it is given.

    Parameters
    ----------
    groupby : str or list of str, default=None
        Columns of `obs`; cells that agree in all of them form a group. By default
        those whose names :class:`~sklperturb.datasets.PerturbationSchema` knows as a
        context, perturbation, dose, batch or replicate.
    layer : str, default=None
        Layer to add up instead of `X`.
    min_cells : int, default=1
        Groups of fewer cells are left out.
    chunk_size : int, default=None
        Cells to read at once; by default as many as need some 100 MB.

    Attributes
    ----------
    groupby_ : list of str
        Columns that cells are grouped by.

    See Also
    --------
    pseudobulk : The function, with all details.

    Examples
    --------
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.signatures import Pseudobulk
    >>> obs = pd.DataFrame({"donor": ["1", "2", "2"]}, index=["c1", "c2", "c3"])
    >>> cells = ad.AnnData(np.ones((3, 2)), obs=obs)
    >>> Pseudobulk("donor").fit_transform(cells).X.tolist()
    [[1.0, 1.0], [2.0, 2.0]]
    """

    _parameter_constraints = {"groupby": [str, list, tuple, None], **_OPTIONS}

    def __init__(self, groupby=None, layer=None, min_cells=1, chunk_size=None):
        self.groupby = groupby
        self.layer = layer
        self.min_cells = min_cells
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Find the columns to group by.

        Parameters
        ----------
        X : AnnData, str or path-like
        y : None

        Returns
        -------
        self : Pseudobulk
        """
        if self.groupby is None:
            schema = PerturbationSchema.infer(read_obs(X))
            self.groupby_ = schema.columns(*ROLES)
        else:
            self.groupby_ = as_list(self.groupby)
        return self

    def transform(self, X):
        """Sum the cells of each group.

        Parameters
        ----------
        X : AnnData, str or path-like
            As for :func:`pseudobulk`.

        Returns
        -------
        pseudobulks : AnnData of shape (n_groups, n_genes)
        """
        check_is_fitted(self)
        return pseudobulk(X, **self.get_params() | {"groupby": self.groupby_})

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def as_list(groupby):
    """Return columns to group by as a list, of one name or of several."""
    return [groupby] if isinstance(groupby, str) else list(groupby)


def number_groups(obs, groupby, min_cells):
    """Number the groups, and make the obs of their pseudobulks.

    Returns
    -------
    codes : ndarray of shape (n_cells,)
        -1 for cells of groups that are left out.
    table : DataFrame of shape (n_groups, n_columns)
    """
    absent = [name for name in groupby if name not in obs]
    if absent or not groupby:
        raise ValueError(
            f"groupby={groupby!r} must name columns of obs, which has {list(obs)}."
        )
    columns = [*groupby, *obs.columns[obs.columns.isin(groupby)]]
    if twice := [name for name in groupby if columns.count(name) > 2]:
        raise ValueError(
            f"groupby={groupby!r} and the columns of obs must name {twice[0]!r} once "
            f"each; obs has {list(obs)}."
        )
    missing = obs[groupby].isna().sum()
    if missing.any():
        counts = ", ".join(f"{c!r}: {n}" for c, n in missing[missing > 0].items())
        raise ValueError(
            f"Cells without a group ({counts}). Name the level, or leave these cells "
            "out first."
        )
    # Without the index, whose name may be that of a column.
    table = obs.reset_index(drop=True)
    codes = table.groupby(groupby, observed=True, sort=True).ngroup().to_numpy()
    _check_units(table, groupby, codes)
    n_cells = np.bincount(codes)
    kept = n_cells >= min_cells
    if not kept.any():
        raise ValueError(
            f"No group has min_cells={min_cells} cells; the largest has "
            f"{n_cells.max(initial=0)}. Lower min_cells or group by fewer columns."
        )
    table = describe_groups(obs, codes, groupby)[kept]
    table["n_cells"] = n_cells[kept]
    renumbered = np.where(kept, np.cumsum(kept) - 1, -1)
    return renumbered[codes], table


def _check_units(obs, groupby, codes):
    """Raise an error where one number stands for doses in several units."""
    for name in groupby:
        unit = unit_column(obs, name)
        # That of doses says nothing of what else cells are grouped by.
        if unit is None or not (unit.startswith(f"{name}_") or "dose" in name.lower()):
            continue
        given = (pd.to_numeric(obs[name], errors="coerce") != 0) & obs[unit].notna()
        units = obs[unit][given].astype(str).groupby(codes[given]).unique()
        several = units[units.map(len) > 1]
        if unit not in groupby and len(several):
            raise ValueError(
                f"Cells of one {name!r} have several units in {unit!r}, such as "
                f"{list(several.iloc[0])[:3]}, and would be added up. Give all one "
                f"unit, or group by {unit!r} too."
            )


def describe_groups(obs, codes, keys, left_out=()):
    """Return the `keys` of each group and what else its rows have in common.

    Parameters
    ----------
    obs : DataFrame of shape (n_rows, n_columns)
    codes : ndarray of int of shape (n_rows,)
        The group of each row.
    keys : list of str
        Columns by which rows are grouped, and groups named.
    left_out : collection of str

    Returns
    -------
    table : DataFrame of shape (n_groups, n_kept)
    """
    _, first = np.unique(codes, return_index=True)
    columns = list(keys)
    for name in obs.columns.difference([*keys, *left_out, "n_cells"], sort=False):
        levels, _ = pd.factorize(obs[name])
        if (levels == levels[first][codes]).all():
            columns.append(name)
    table = obs[columns].iloc[first].copy()
    for column in table.select_dtypes("category"):
        table[column] = table[column].cat.remove_unused_categories()
    names = pd.Index(table[keys].astype(str).agg("_".join, axis=1))
    table.index = names if names.is_unique else pd.RangeIndex(len(table)).astype(str)
    return table
