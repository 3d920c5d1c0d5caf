"""Write signatures that were computed here as a screen to learn from."""

from sklperturb.cells._files import check_unique_genes
from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._schema import KNOWN_SPELLINGS
from sklperturb.datasets._write import replaced_files
from sklperturb.files._writing import check_output_folder
from sklperturb.files._writing_hdf5 import write_h5ad

_ROLES = ("context", "perturbation", "smiles", "dose")
_NAMES = ("de_train.h5ad", "id_map.csv", "de_test.h5ad")
# load_op2 would read these instead.
_OTHER_LAYOUT = ("de_train.parquet", "de_test.parquet", "sample_submission.csv")


def write_signatures(folder, screen, *, overwrite=False):
    """Write signatures in the layout of the Open Problems benchmark.

    Parameters
    ----------
    folder : str or path-like
        Made if it does not exist.
    screen : :class:`~sklearn.utils.Bunch` or dict
        As given by :func:`~sklperturb.signatures.make_signature_screen`:

        signatures : AnnData of shape (n_samples, n_genes)
            To learn from; all layers are kept.
        to_predict : DataFrame of shape (n_test, n_columns)
            Conditions to predict; the columns of perturbation and context are needed.
        test : AnnData of shape (n_test, n_genes) or None
            Signatures of the conditions to predict, where they are known.
        schema : PerturbationSchema
            Roles of the columns. Columns of perturbation, context, structure and dose
            are given OP2's names, so that the folder is read without a schema.
    overwrite : bool, default=False
        Replace the files of signatures that are already there.

    Returns
    -------
    folder : Path
        So that ``load_op2(write_signatures(...))`` works.

    Raises
    ------
    OSError
        If one of the files is there and `overwrite` is False, the folder holds a
        screen in the Kaggle layout, or it cannot be written to.
    ValueError
        If `to_predict` is empty or lacks a column.

    See Also
    --------
    load_op2 : Read the folder; any layer with ``layer=``.
    write_screen : Write a screen in the Kaggle layout.
    sklperturb.signatures.make_signature_screen : Compute one from counts.

    Examples
    --------
    >>> import tempfile
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.datasets import PerturbationSchema, load_op2, write_signatures
    >>> obs = pd.DataFrame(
    ...     {"cell_line": ["K562", "K562", "A549"], "drug": ["a", "b", "a"]},
    ...     index=["1", "2", "3"],
    ... )
    >>> layers = {"clipped_sign_log10_pval": np.eye(3)}
    >>> screen = {
    ...     "signatures": ad.AnnData(obs=obs, layers=layers),
    ...     "to_predict": pd.DataFrame({"cell_line": ["A549"], "drug": ["b"]}),
    ...     "test": None,
    ...     "schema": PerturbationSchema("drug", context="cell_line"),
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     screen = load_op2(write_signatures(folder, screen))
    >>> screen.X_test[["cell_type", "sm_name"]].to_numpy().tolist()
    [['A549', 'b']]
    """
    schema, to_predict = screen["schema"], as_pandas(screen["to_predict"])
    schema.require(to_predict, "perturbation", *["context"] * bool(schema.context))
    if len(to_predict) == 0:
        raise ValueError("to_predict is empty: name at least one condition to predict.")
    check_unique_genes(screen["signatures"].var_names, "signatures")
    folder = check_signature_folder(folder, overwrite)
    renamed = {
        getattr(schema, role): KNOWN_SPELLINGS[role][0]
        for role in _ROLES
        if getattr(schema, role) is not None
    }
    id_map = to_predict[[c for c in renamed if c in to_predict]].rename(columns=renamed)
    id_map = id_map.reset_index(drop=True).rename_axis("id").reset_index()
    with replaced_files(folder, _NAMES) as unfinished:
        _write(unfinished / _NAMES[0], screen["signatures"], renamed)
        id_map.to_csv(unfinished / _NAMES[1], index=False)
        if screen["test"] is not None:
            _write(unfinished / _NAMES[2], screen["test"], renamed)
    return folder


def check_signature_folder(folder, overwrite):
    """Return `folder` as a Path, or raise if signatures cannot be written to it."""
    folder = check_output_folder(folder, _NAMES, overwrite)
    other = [name for name in _OTHER_LAYOUT if (folder / name).exists()]
    if other:
        raise FileExistsError(
            f"{folder} holds a screen in the Kaggle layout ({other}), which would be "
            "read instead. Choose another folder."
        )
    return folder


def _write(path, signatures, renamed):
    taken = [name for name in renamed.values() if name not in renamed]
    obs = signatures.obs.drop(columns=taken, errors="ignore").rename(columns=renamed)
    written = signatures.copy()
    written.obs = obs
    write_h5ad(path, written, "gzip")
