"""Load single cells of a genetic or chemical screen."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklperturb.cells._files import open_store, stored_matrix
from sklperturb.datasets._layouts import (
    find_layout,
    read_conditions,
    settle_schema,
    unassigned_rows,
)


def load_perturbseq(
    data, schema=None, *, layout="auto", backed=False, drop_unassigned=False
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
            The cells as they are in the file, backed by it if `backed`.
        is_control : ndarray of bool of shape (n_cells,)
            Which cells are controls.
        schema : PerturbationSchema
            Which column of `X` plays which role.
        target_names : list of str
            Genes, in the order of `y`.
        layout : str or None
            The layout that was found.
        DESCR : str
            What was read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, no column is known as the perturbation, a column
        that `schema` names is absent, perturbations are missing, or genes are named
        twice.

    Warns
    -----
    UserWarning
        If no cell is a control.

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

    A column of doses that holds text, such as the ``1+1`` of GEARS, is left out; the
    dose of Tahoe is read from ``drugname_drugconc``, in micromoles per litre.

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
    cells, source = _open(data, backed)
    found = find_layout(cells.obs, layout)
    schema = settle_schema(cells.obs, found, schema)
    if schema.perturbation != getattr(found, "perturbation", None):
        found = None  # the schema reads another column than the layout
    cells = _assigned(cells, schema, drop_unassigned, source)
    _check_genes(cells.var_names, source)
    X, schema = read_conditions(cells.obs, schema, found)
    is_control = X[schema.control].to_numpy()
    if not is_control.any():
        labels = cells.obs[schema.perturbation].astype(str).value_counts()
        warnings.warn(
            f"{source}: no cell is a control. The most frequent labels of "
            f"{schema.perturbation!r} are {list(labels.index[:5])}; if one of them is "
            "the control, pass schema=PerturbationSchema(perturbation="
            f"{schema.perturbation!r}, ..., control_labels=...).",
            UserWarning,
            stacklevel=2,
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


def _open(data, backed):
    """Return the cells, and what to call them in messages."""
    import anndata

    if isinstance(data, anndata.AnnData):
        return data, "The AnnData"
    path = Path(data)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; pass an .h5ad file or a .zarr folder."
        )
    if path.suffix not in (".h5ad", ".zarr"):
        raise ValueError(
            f"{path.name} ends in {path.suffix!r}; allowed are an .h5ad file and a "
            ".zarr folder."
        )
    try:
        with warnings.catch_warnings():
            # Said below, with what to do about it.
            warnings.filterwarnings("ignore", message=".*names are not unique")
            if path.suffix == ".h5ad":
                cells = anndata.read_h5ad(path, backed="r" if backed else None)
            elif backed:
                cells = _open_zarr(path)
            else:
                cells = anndata.io.read_zarr(path)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as AnnData; it may be truncated or of another "
            f"kind. The reader said: {error}"
        ) from error
    return cells, path.name


def _open_zarr(path):
    """Return an AnnData whose expression stays in the zarr folder."""
    from anndata import AnnData
    from anndata.io import read_elem

    store = open_store(path)
    return AnnData(
        X=stored_matrix(store["X"]),
        obs=read_elem(store["obs"]),
        var=read_elem(store["var"]),
    )


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


def _check_genes(names, source):
    if not names.is_unique:
        twice = names[names.duplicated()].unique()
        raise ValueError(
            f"{source} has {len(twice)} genes that occur more than once, such as "
            f"{list(twice[:3])}. Call var_names_make_unique() on the AnnData, and pass "
            "the AnnData."
        )


def _describe(source, X, cells, is_control, schema, layout):
    labels = X.loc[~is_control, schema.perturbation]
    sizes = labels.value_counts()
    combined = sum("+" in label for label in sizes.index)
    lines = [
        f"{len(X)} cells of {cells.n_vars} genes from {source}, in the "
        f"{'public' if layout is None else layout.name} spelling; "
        f"{int(is_control.sum())} cells are controls.",
        f"{len(sizes)} perturbations"
        + (f", {combined} of them combinations" if combined else "")
        + (
            f", with {sizes.min()} to {sizes.max()} cells (median "
            f"{np.median(sizes):.0f})."
            if len(sizes)
            else "."
        ),
    ]
    for role in ("context", "batch", "dose"):
        column = getattr(schema, role)
        if column is not None:
            levels = pd.unique(X[column])
            lines.append(
                f"{role.capitalize()} is {column!r}, with {len(levels)} levels."
            )
    return "\n".join(lines)
