"""Look into a file of cells: what it holds, and what is wrong with it."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import Bunch

from sklperturb.cells import open_cells
from sklperturb.cells._blocks import n_stored, sample_places
from sklperturb.cells._counts import value_kind
from sklperturb.conditions._labels import is_control_label
from sklperturb.conditions._validation import check_schema
from sklperturb.datasets._layouts import (
    doubts,
    find_layout,
    read_conditions,
    settle_schema,
    unassigned_rows,
)
from sklperturb.files._reading import one_line
from sklperturb.files._stores import opened_store, read_part, stored_x

_MIN_CELLS = 30  # fewer cells say little of a perturbation's mean
_WRONG_VALUES = {
    "signed": (
        "There are negative values, so these are neither counts nor their logarithms; "
        "models of counts, and scaling by depth, do not apply."
    ),
    "normalised": (
        "Values are normalised but no logarithms; take log(1 + x) before fitting."
    ),
    "zeros": "All values looked at are zero.",
}
_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}")


def describe_perturbseq(path, *, schema=None, layer=None, obsm=None):
    """Describe what a file of cells holds, without reading its matrix into memory.

    Parameters
    ----------
    path : str or path-like
        An ``.h5ad`` file or a ``.zarr`` folder.
    schema : PerturbationSchema, default=None
        Which column of `obs` plays which role, as for `load_perturbseq`; by default
        found by names in public use.
    layer : str, default=None
        Layer to look at instead of `X`.
    obsm : str, default=None
        Entry of `obsm` to look at instead of `X`.

    Returns
    -------
    description : :class:`~sklearn.utils.Bunch`
        facts : dict of str to str
            Size, storage, values, genes, layout, columns, perturbations and so on.
        schema : PerturbationSchema or None
            What `load_perturbseq` would give, or None if no column is known as the
            perturbation.
        cells_per_perturbation : Series
            Numbers of cells, most first; empty without a schema.
        problems : list of str
            What is wrong, and what to do about it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or has no such layer or entry.

    See Also
    --------
    load_perturbseq : Load the cells.

    Notes
    -----
    Names of cells and genes and the columns that describe them are read in full. Of
    the matrix, 512 rows at eight places are looked at, or 64 columns if it is stored
    by column; so whether there are negative values, missing values and counts
    is known of the sample only.

    Examples
    --------
    >>> import tempfile
    >>> from sklperturb.datasets import describe_perturbseq, make_genetic_screen
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/screen.h5ad"
    ...     screen = make_genetic_screen(
    ...         5, 100, cells_per_perturbation=60, n_controls=20, embedding_dim=8,
    ...         path=path, random_state=0,
    ...     )
    ...     screen.y.file.close()
    ...     description = describe_perturbseq(path)
    >>> description.facts["values"]
    'raw counts'
    >>> description.schema.perturbation, description.problems
    ('target_gene', ['Only 20 cells are controls; ...'])
    """
    check_schema(schema)
    path = Path(path)
    with opened_store(path) as store:
        obs, var = read_part(store, "obs"), read_part(store, "var")
        parts = {
            name: sorted(store[name])
            for name in ("layers", "obsm", "varm", "obsp", "uns")
            if name in store and len(store[name])
        }
        no_matrix = layer is None and obsm is None and stored_x(store) is None
    facts = {"cells": f"{len(obs)}", "genes": f"{len(var)}"}
    problems = []
    if no_matrix:
        facts |= {"storage": "no matrix X", "values": "none"}
        problems.append(
            "There is no X. Pass layer= or obsm= to name where the expression is."
        )
    else:
        for part, name in (("layers", layer), ("obsm", obsm)):
            if name is not None and name not in parts.get(part, ()):
                open_cells(path, layer=layer, obsm=obsm)  # which says what there is
        _describe_matrix(path, layer, obsm, facts, problems)
    _describe_genes(var, facts, problems)
    if not obs.index.is_unique:
        n_twice = int(obs.index.duplicated().sum())
        problems.append(
            f"{n_twice} names of cells occur more than once; call "
            "obs_names_make_unique() on the AnnData."
        )
    schema, sizes = _describe_conditions(obs, schema, facts, problems)
    for name, keys in parts.items():
        facts[name] = ", ".join(keys)
    return Bunch(
        facts=facts, schema=schema, cells_per_perturbation=sizes, problems=problems
    )


def _describe_matrix(path, layer, obsm, facts, problems):
    try:
        with open_cells(path, layer=layer, obsm=obsm) as cells:
            facts["storage"] = _describe_storage(cells.matrix)
            _describe_values(*sample_places(cells.matrix), facts, problems)
    except ValueError as error:
        facts |= {"storage": facts.get("storage", "unusable"), "values": "unusable"}
        problems.append(f"{error}")


def _describe_storage(matrix):
    if getattr(matrix, "format", None) is None:
        return f"dense, {matrix.dtype}"
    n_values = n_stored(matrix)
    density = n_values / max(matrix.shape[0] * matrix.shape[1], 1)
    return (
        f"{matrix.format}, {matrix.dtype}, {n_values} values ({density:.1%} not zero)"
    )


def _describe_values(sample, whole_rows, facts, problems):
    if 0 in sample.shape:
        facts["values"] = "none"
        problems.append("There are no values of expression.")
        return
    rows = sparse.csr_array(sample)
    finite = np.isfinite(rows.data)
    if not finite.all():
        problems.append(
            f"{int((~finite).sum())} of the values looked at are NaN or infinite; "
            "correct or remove them."
        )
    values = rows.data[finite]
    kind = value_kind(values)
    largest, smallest = values.max(initial=0), values.min(initial=0)
    facts["values"] = {
        "signed": f"from {smallest:.3g} to {largest:.3g}, scaled or z-scores",
        "counts": "raw counts",
        "normalised": f"up to {largest:.3g}, normalised but not logarithms",
        "zeros": "zeros",
    }.get(kind, f"logarithms of normalised counts, up to {largest:.3g}")
    if kind in _WRONG_VALUES:
        problems.append(_WRONG_VALUES[kind])
    if whole_rows and kind == "counts":
        totals = np.asarray(rows.sum(axis=1)).ravel()
        low, middle, high = np.quantile(totals, [0.05, 0.5, 0.95])
        facts["counts per cell"] = (
            f"median {middle:.0f}, 90 % in {low:.0f} to {high:.0f}"
        )
        if (totals == 0).any():
            problems.append(
                f"{int((totals == 0).sum())} of the {len(totals)} cells looked at have "
                "no counts; remove them."
            )


def _describe_genes(var, facts, problems):
    names = var.index.astype(str)
    facts["gene names"] = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        problems.append(
            f"{len(twice)} genes occur more than once, such as {list(twice[:3])}; call "
            "var_names_make_unique() on the AnnData."
        )
    if len(names) and all(_ENSEMBL.match(name) for name in names[:20]):
        text = [c for c in var.columns if not pd.api.types.is_numeric_dtype(var[c])]
        problems.append(
            "Genes have Ensembl identifiers; gene sets and most embeddings know "
            f"symbols. Columns of var that may hold them: {text or 'none'}."
        )


def _describe_conditions(obs, schema, facts, problems):
    """Describe the perturbations; return the schema and the cells of each."""
    columns = zip(obs.columns, range(obs.shape[1]), strict=True)
    columns = [f"{name} ({_n_values(obs.iloc[:, i])})" for name, i in columns]
    facts["columns"] = ", ".join(columns) or "none"
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = _read(obs, schema, facts, problems)
    except ValueError as error:
        problems.append(f"{error}")
    except Exception as error:  # whatever a file holds, the rest is described
        problems.append(f"The conditions in obs cannot be read: {one_line(error)}")
    else:
        problems += [f"{warning.message}" for warning in caught]
        return found
    return None, pd.Series(dtype=int)


def _n_values(column):
    """Return the number of different values, as text of which each has one."""
    try:
        return column.nunique()
    except TypeError:  # lists and other containers
        return column.astype(str).nunique()


def _read(obs, schema, facts, problems):
    """Describe conditions that can be read."""
    given = schema
    layout = find_layout(obs)
    try:
        schema = settle_schema(obs, layout, schema)
    except ValueError as error:
        raise ValueError(f"{error}{_candidates(obs)}") from error
    missing = unassigned_rows(obs, schema)
    if schema.perturbation != getattr(layout, "perturbation", None):
        layout = None  # the schema reads another column than the layout
    facts["layout"] = "none that is known" if layout is None else layout.name
    for role in schema.columns("context", "batch"):
        n_missing = int(obs[role].isna().sum())
        if n_missing:
            problems.append(f"{n_missing} cells have no {role!r}.")
    if missing.any():
        problems.append(
            f"{int(missing.sum())} cells have no {schema.perturbation!r}; load with "
            "drop_unassigned=True to leave them out."
        )
    assigned = obs[~missing]
    X, schema = read_conditions(assigned, schema, layout)
    for role in ("perturbation", "context", "dose", "batch", "replicate"):
        column = getattr(schema, role)
        if column is not None:
            facts[role] = f"{column!r}, {X[column].nunique()} levels"
    is_control = X[schema.control].to_numpy()
    facts["controls"] = f"{int(is_control.sum())} cells"
    sizes = X.loc[~is_control, schema.perturbation].value_counts()
    sizes.name = "cells"
    if len(sizes):
        facts["cells per perturbation"] = (
            f"{sizes.min()} to {sizes.max()}, median {sizes.median():.0f}"
        )
        combined = sum(len(schema.split(name)) > 1 for name in sizes.index)
        facts["combinations"] = f"{combined} of {len(sizes)} perturbations"
    elif len(X):
        problems.append("All cells are controls; there is no perturbation.")
    else:
        problems.append("There is no cell with a perturbation.")
    _describe_sizes(X, schema, is_control, sizes, problems)
    problems += doubts(assigned, X, schema, layout, given)
    return schema, sizes


def _candidates(obs):
    """Return a hint at the column that may be the perturbation: it names controls."""
    for name in obs.columns:
        if pd.api.types.is_numeric_dtype(obs[name]):
            continue
        for label in obs[name].dropna().astype(str).unique():
            if is_control_label(label):
                return f" Column {name!r} may be it: it holds {label!r}."
    return ""


def _describe_sizes(X, schema, is_control, sizes, problems):
    n_controls = int(is_control.sum())
    if n_controls == 0 and len(X):
        problems.append(
            f"No cell is a control. The most frequent labels of "
            f"{schema.perturbation!r} are {list(sizes.index[:5])}; if one of them is, "
            "pass schema=PerturbationSchema(..., control_labels=...)."
        )
    elif len(X) and n_controls < max(_MIN_CELLS, sizes.median() if len(sizes) else 0):
        problems.append(
            f"Only {n_controls} cells are controls; their noise is in every effect."
        )
    few = sizes[sizes < _MIN_CELLS]
    if len(few):
        problems.append(
            f"{len(few)} perturbations have fewer than {_MIN_CELLS} cells, such as "
            f"{list(few.index[:3])}; their mean is mostly noise."
        )
    if schema.context is not None and n_controls:
        lacking = set(X[schema.context].dropna()) - set(X[schema.context][is_control])
        if lacking:
            problems.append(
                f"{len(lacking)} levels of {schema.context!r} have no controls, such "
                f"as {sorted(lacking)[:3]}; effects there cannot be measured."
            )
