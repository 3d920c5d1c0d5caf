"""Write predicted cells as public evaluators expect them."""

import shutil
import subprocess
import tarfile

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils._param_validation import StrOptions, validate_params

from sklperturb.cells import open_cells
from sklperturb.cells._counts import value_kind
from sklperturb.cells._files import is_annotated
from sklperturb.files._writing import (
    check_output,
    move_whole,
    unfinished_folder,
    written_whole,
)
from sklperturb.files._writing_hdf5 import write_h5ad

CONTROL = "non-targeting"
# cell-eval takes no values for logarithms that are not below.
_LARGEST_LOG = 15.0


@validate_params(
    {"layout": [StrOptions({"cell-eval", "cell-eval2"})]},
    prefer_skip_nested_validation=True,
)
def write_cells(
    path, cells, perturbations, *, genes=None, contexts=None, layout="cell-eval"
):
    """Write predicted cells for cell-eval, the challenge of 2025, or that of 2026.

    Parameters
    ----------
    path : str or path-like
        A file that ends in ``.h5ad``; or in ``.vcc`` for the archive that the
        challenge of 2025 takes, which needs the program zstd.
    cells : array-like, sparse matrix or AnnData of shape (n_cells, n_genes)
        Predicted cells: log1p-normalised for "cell-eval", raw counts for
        "cell-eval2".
    perturbations : array-like of shape (n_cells,)
        Target gene of each cell; "non-targeting" for a control.
    genes : sequence of str, default=None
        Names of the genes, in the order that the challenge prescribes. Needed unless
        `cells` is an AnnData, whose genes are put into this order where it is given.
    contexts : array-like of shape (n_cells,), default=None
        Context of each cell, which "cell-eval2" needs.
    layout : {"cell-eval", "cell-eval2"}, default="cell-eval"
        "cell-eval" must hold control cells, "cell-eval2" must not.

    Raises
    ------
    ValueError
        If shapes or genes do not fit, values are not finite or negative, counts are
        fractional, or control cells are missing where they are needed.
    FileNotFoundError
        If the folder does not exist, or zstd is needed and not installed.

    See Also
    --------
    write_submission : For signatures, in the layout of OP2.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import anndata as ad
    >>> from sklperturb.datasets import write_cells
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "pred.h5ad"
    ...     write_cells(path, [[0.0, 1.5], [0.7, 0.2]], ["A", "non-targeting"],
    ...                 genes=["A", "B"])
    ...     print(ad.read_h5ad(path).obs["target_gene"].tolist())
    ['A', 'non-targeting']
    """
    allowed = (".h5ad", ".vcc") if layout == "cell-eval" else (".h5ad",)
    path = check_output(path, allowed, overwrite=True)
    matrix, genes = _matrix(cells, genes)
    obs = _obs(perturbations, contexts, matrix.shape[0], layout)
    _check_values(matrix, layout)
    from anndata import AnnData

    adata = AnnData(matrix, obs=obs, var=pd.DataFrame(index=genes))
    if path.suffix == ".h5ad":
        with written_whole(path) as unfinished:
            write_h5ad(unfinished, adata)
    else:
        _write_archive(path, adata)


def _matrix(cells, genes):
    if is_annotated(cells):
        if genes is not None and list(cells.var_names) != list(genes):
            missing = pd.Index(genes).symmetric_difference(cells.var_names)
            if len(missing):
                raise ValueError(
                    f"The cells hold other genes than asked for; {len(missing)} are on "
                    f"one side only, such as {list(missing[:5])}."
                )
            cells = cells[:, list(genes)]
        genes = cells.var_names
    if genes is None:
        raise ValueError("Pass genes= with the names of the columns.")
    rows = open_cells(cells).rows(slice(None))
    matrix = sparse.csr_matrix(rows, dtype=np.float32)
    genes = pd.Index([str(gene) for gene in genes])
    if matrix.shape[1] != len(genes) or not genes.is_unique:
        raise ValueError(
            f"The cells have {matrix.shape[1]} columns and there are {len(genes)} "
            f"genes, {genes.nunique()} of them distinct; one name is needed for each."
        )
    return matrix, genes


def _obs(perturbations, contexts, n_cells, layout):
    columns = {"target_gene": perturbations}
    if contexts is not None:
        columns["context" if layout == "cell-eval2" else "celltype"] = contexts
    elif layout == "cell-eval2":
        raise ValueError("The layout of cell-eval2 needs contexts=.")
    for name, values in columns.items():
        values = np.asarray(values, dtype=object)
        if values.shape != (n_cells,) or pd.isna(values).any():
            raise ValueError(
                f"{name} has shape {values.shape}; one name, and none missing, is "
                f"needed for each of {n_cells} cells."
            )
        columns[name] = values.astype(str)
    has_control = (columns["target_gene"] == CONTROL).any()
    if has_control != (layout == "cell-eval"):
        raise ValueError(
            f"The layout of {layout} {'must not' if has_control else 'must'} hold "
            f"control cells, which are labelled {CONTROL!r}."
        )
    obs = pd.DataFrame(columns)
    obs.index = obs.index.astype(str)
    return obs


def _check_values(matrix, layout):
    kind = value_kind(matrix, largest_log=np.nextafter(_LARGEST_LOG, 0))
    if kind in ("invalid", "signed"):
        raise ValueError("The cells hold NaN, infinite or negative values.")
    if layout == "cell-eval2" and kind in ("log1p", "normalised"):
        raise ValueError("cell-eval2 takes whole counts; the cells hold fractions.")
    if layout == "cell-eval" and kind not in ("log1p", "zeros"):
        raise ValueError(
            "cell-eval takes log1p-normalised values below 15; the cells look like "
            "counts. Normalise each cell to a common total and take log1p."
        )


def _write_archive(path, adata):
    program = shutil.which("zstd")
    if program is None:
        raise FileNotFoundError(
            "The program zstd is not installed, which a .vcc archive needs. Install "
            "it, or write a .h5ad file and pack it with 'cell-eval prep'."
        )
    with unfinished_folder(path.parent, path) as folder:
        file = folder / "pred.h5ad"
        write_h5ad(file, adata)
        subprocess.run([program, "-q", "--rm", str(file)], check=True)
        (folder / "watermark.txt").write_text("vcc-prep", encoding="utf-8")
        with tarfile.open(folder / path.name, "w") as archive:
            for name in ("pred.h5ad.zst", "watermark.txt"):
                archive.add(folder / name, name)
        move_whole(folder / path.name, path)
