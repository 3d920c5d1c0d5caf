"""Load single cells of a genetic or chemical screen."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from sklperturb.cells import open_cells
from sklperturb.cells._cells import of_anndata
from sklperturb.cells._checks import settled
from sklperturb.cells._files import check_unique_genes, is_annotated, x_of
from sklperturb.conditions import PerturbationSchema
from sklperturb.conditions._doubts import warn
from sklperturb.datasets._layouts import (
    LAYOUT_NAMES,
    doubts,
    find_layout,
    has_units,
    read_conditions,
    settle_schema,
    unassigned_rows,
)
from sklperturb.files._reading import reading
from sklperturb.files._stores import (
    check_parts,
    decoded,
    open_store,
    opened_store,
    read_part,
    stored_element,
)


@validate_params(
    {
        "schema": [PerturbationSchema, None],
        "layout": [StrOptions(set(LAYOUT_NAMES))],
        "layer": [str, None],
        "obsm": [str, None],
        "backed": ["boolean"],
        "drop_unassigned": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_perturbseq(
    data,
    schema=None,
    *,
    layout="auto",
    layer=None,
    obsm=None,
    backed=False,
    drop_unassigned=False,
):
    """Load single cells: one row of conditions for each cell, and its expression.

    Parameters
    ----------
    data : str, path-like or AnnData
        An ``.h5ad`` file, a ``.zarr`` folder, or cells that are in memory already.
    schema : PerturbationSchema, default=None
        Which column of `obs` plays which role, and how controls are spelled
        (`control_labels`). None leaves that to `layout`.
    layout : {"auto", "vcc", "scperturb", "gears", "perturbench", "tahoe"}, \
            default="auto"
        Whose spelling of conditions the file follows. "auto" finds out, and falls
        back on the spellings in public use. Ignored for the roles that `schema`
        names.
    layer : str, default=None
        Layer to take as the expression, in place of `X`.
    obsm : str, default=None
        Entry of `obsm`, such as the embedding "X_state", to take in place of `X`.
    backed : bool, default=False
        Leave the expression in the file, and read the cells that are asked for.
    drop_unassigned : bool, default=False
        Leave out cells whose perturbation is missing, in place of an error.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        X : DataFrame of shape (n_cells, n_columns)
            Context, perturbation, dose, batch and replicate as far as they are
            present, under their names in the file, and a boolean control column.
            Controls are called ``"control"`` and combinations ``"A+B"``, in
            alphabetical order.
        y : AnnData of shape (n_cells, n_genes)
            The cells as they are in the file; if `backed`, the expression stays there.
            Rows of it can be taken, and rows of these, as cross-validation does.
        is_control : ndarray of bool of shape (n_cells,)
            Which cells are controls.
        schema : PerturbationSchema
            Which column of `X` plays which role.
        target_names : list of str
            Genes, or dimensions of `obsm`, in the order of `y`.
        layout : str or None
            The layout that was found.
        DESCR : str
            What was read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read or has no such matrix, no column is known as the
        perturbation, a column that `schema` names is absent, perturbations are missing,
        or genes are named twice.

    Warns
    -----
    UserWarning
        If no cell is a control, or labels or columns read as if they were meant
        otherwise: spelled like controls, like missing labels, or like one another.

    See Also
    --------
    describe_perturbseq : Look into a file without loading it.
    make_genetic_screen : Generate cells.

    Notes
    -----
    What the layouts look like:

    =============  ======================  =====================  =================
    Layout         Perturbation            Control                Combination
    =============  ======================  =====================  =================
    vcc            ``target_gene``         ``non-targeting``      ``A+B``
    gears          ``condition``           ``ctrl``               ``A+B``; single
                                                                  ``A+ctrl``
    perturbench    ``condition``           ``control``            ``A+B``
    scperturb      ``perturbation``        ``control``            ``A+B``, or ``A_B``
                                                                  where ``nperts``
                                                                  says 2
    tahoe          ``drug``                ``DMSO_TF``            none
    =============  ======================  =====================  =================

    Which cells are controls is decided by the control column that `schema` names;
    without a schema, by the layout's label; and without a layout, by a column of flags
    called ``control`` or ``is_control``. Only where there is none of these, the label
    of the perturbation decides: one of `control_labels`, or else the spellings in
    public use.

    Doses are numbers, taken as they are, or amounts with a molar unit such as
    ``50 nM``, which become micromoles per litre; a column ``dose_unit`` beside them
    gives each its unit. A column that `schema` names as the
    dose must hold nothing else; one that was only found by its name is left out then,
    such as the ``1+1`` of GEARS. The dose of Tahoe is read from ``drugname_drugconc``.

    Names of compounds hold plus signs of their own, as in ``(+)-JQ1``; which labels are
    combinations, the `combines` of :class:`PerturbationSchema` says.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from anndata import AnnData
    >>> from sklperturb.datasets import load_perturbseq
    >>> obs = pd.DataFrame({"condition": ["ctrl", "KLF1+ctrl", "KLF1+CEBPE"]})
    >>> cells = AnnData(np.eye(3), obs=obs.set_index(np.array(["c1", "c2", "c3"])))
    >>> screen = load_perturbseq(cells)
    >>> screen.X["condition"].tolist(), screen.is_control.tolist()
    (['control', 'KLF1', 'CEBPE+KLF1'], [True, False, False])
    """
    cells, source = _open(data, backed, layer, obsm)
    found, given = find_layout(cells.obs, layout), schema
    schema = settle_schema(cells.obs, found, schema)
    if schema.perturbation != getattr(found, "perturbation", None):
        found = None  # the schema reads another column than the layout
    cells = _assigned(cells, schema, drop_unassigned, source)
    check_unique_genes(cells.var_names, source)
    if not cells.n_obs:
        raise ValueError(f"{source} has no cells with a perturbation.")
    if not cells.n_vars:
        raise ValueError(
            f"{source} has no genes in {layer or obsm or 'X'!r}; pass layer= or obsm= "
            "to name a matrix with columns."
        )
    X, schema = read_conditions(cells.obs, schema, found)
    for message in doubts(cells.obs, X, schema, found, given):
        warn(f"{source}: {message}")
    is_control = X[schema.control].to_numpy()
    if not is_control.any():
        labels = X[schema.perturbation].value_counts()
        warn(
            f"{source}: no cell is a control. The most frequent labels of "
            f"{schema.perturbation!r} are {list(labels.index[:5])}; if one of them is "
            "the control, pass schema=PerturbationSchema(perturbation="
            f"{schema.perturbation!r}, ..., control_labels=...)."
        )
    return Bunch(
        X=X,
        y=cells,
        is_control=is_control,
        schema=schema,
        target_names=list(cells.var_names),
        layout=None if found is None else found.name,
        DESCR=_describe(source, X, cells, is_control, schema, found),
    )


def _open(data, backed, layer, obsm):
    """Return the cells, and what to call them in messages."""
    import anndata

    if is_annotated(data):
        cells = _sliceable(data)
        if layer is not None or obsm is not None:
            cells = _with_matrix(cells, layer, obsm, None)
        return cells, "The AnnData"
    path = Path(data)
    if backed:
        return _left_in_file(path, layer, obsm), path.name
    with opened_store(path) as store:
        check_parts(store)
    read = anndata.io.read_zarr if path.suffix == ".zarr" else anndata.read_h5ad
    with reading(path, "AnnData"), warnings.catch_warnings():
        # An error follows, which says what to do.
        warnings.filterwarnings("ignore", message=".*names are not unique")
        cells = read(path)
        for matrix in (x_of(cells), *cells.layers.values()):
            if sparse.issparse(matrix):
                settled(matrix, path.name)  # before rows of it are taken
    cells.obs, cells.var = (decoded(t, path) for t in (cells.obs, cells.var))
    return _with_matrix(cells, layer, obsm, path.name), path.name


def _left_in_file(path, layer, obsm):
    """Return an AnnData whose expression stays in the file."""
    cells = open_cells(path, layer=layer, obsm=obsm)  # stays open
    store, parts = open_store(path), {}
    for name in ("obsm", "uns", *["varm"] * (obsm is None)):
        if name in store:
            parts[name] = read_part(store, name)
    if "layers" in store and obsm is None:
        stored = store["layers"]
        parts["layers"] = {name: stored_element(stored[name]) for name in stored}
    with reading(path, "AnnData"):
        return _annotated(cells, cells.matrix, **parts)


def _sliceable(cells):
    """Return a backed AnnData as one of which views can be sliced again.

    anndata refuses a view of a view that is backed, as cross-validation makes them.
    """
    if not cells.isbacked:
        table, source = cells.obs, "The AnnData"
        obs = decoded(table, source)
        if obs is not table:
            cells = cells.copy()
            cells.obs = obs
        return cells
    whole = cells._adata_ref if cells.is_view else cells
    parts = {name: dict(getattr(whole, name)) for name in ("layers", "obsm", "varm")}
    again = _annotated(whole, x_of(whole), uns=whole.uns, **parts)
    return again[cells._oidx, cells._vidx] if cells.is_view else again


def _with_matrix(cells, layer, obsm, source):
    """Return the cells with a layer or an entry of obsm in the place of `X`."""
    opened = of_anndata(cells, layer, obsm, source)
    if layer is None and obsm is None:
        return cells
    return _annotated(opened, opened.rows(slice(None)))


def _annotated(cells, matrix, **parts):
    from anndata import AnnData

    var = pd.DataFrame(index=cells.genes) if cells.var is None else cells.var
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*names are not unique")
        obs = decoded(cells.obs, "The AnnData")
        return AnnData(matrix, obs=obs, var=var, **parts)


def _assigned(cells, schema, drop, source):
    """Leave out the cells without a perturbation that are no controls, or raise."""
    missing = unassigned_rows(cells.obs, schema)
    if not missing.any():
        return cells
    if not drop:
        raise ValueError(
            f"{source}: {int(missing.sum())} of {len(missing)} cells have no "
            f"{schema.perturbation!r}. Pass drop_unassigned=True to leave them out."
        )
    return cells[~missing]


def _describe(source, X, cells, is_control, schema, layout):
    sizes = X.loc[~is_control, schema.perturbation].value_counts()
    combined = sum(len(schema.split(label)) > 1 for label in sizes.index)
    lines = [
        f"{len(X)} cells of {cells.n_vars} genes from {source}, in the "
        f"{'public' if layout is None else layout.name} spelling; "
        f"{int(is_control.sum())} cells are controls.",
        f"{len(sizes)} perturbations",
    ]
    if combined:
        lines[1] += f", {combined} of them combinations"
    if len(sizes):
        median = f"median {np.median(sizes):.0f}"
        lines[1] += f", with {sizes.min()} to {sizes.max()} cells ({median})"
    lines[1] += "."
    for role in ("context", "batch", "dose"):
        column = getattr(schema, role)
        if column is not None:
            n_levels = X[column].nunique(dropna=False)
            lines.append(f"{role.capitalize()} is {column!r}, with {n_levels} levels.")
            if role == "dose" and has_units(cells.obs, column):
                lines[-1] += " Amounts were converted to micromoles per litre."
    return "\n".join(lines)
