"""Write signatures that were computed here as a screen to learn from."""

import os
from pathlib import Path

import pandas as pd

from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._schema import KNOWN_SPELLINGS
from sklperturb.conditions._validation import resolve_schema
from sklperturb.utils._atomic import unfinished_folder

_ROLES = ("context", "perturbation", "smiles", "dose")
_NAMES = ("de_train.h5ad", "id_map.csv", "de_test.h5ad")
# load_op2 would read these instead.
_OTHER_LAYOUT = ("de_train.parquet", "de_test.parquet", "sample_submission.csv")


def write_signatures(
    folder, signatures, to_predict, *, test=None, schema=None, overwrite=False
):
    """Write signatures in the layout of the Open Problems benchmark.

    Parameters
    ----------
    folder : str or path-like
        Made if it does not exist.
    signatures : AnnData of shape (n_samples, n_genes)
        To learn from, as given by
        :class:`~sklperturb.signatures.DifferentialSignatures`; all layers are kept.
    to_predict : DataFrame of shape (n_test, n_columns)
        Conditions to predict; the columns of perturbation and context are needed.
    test : AnnData of shape (n_test, n_genes), default=None
        Signatures of the conditions to predict, where they are known.
    schema : PerturbationSchema, default=None
        Roles of the columns; by default inferred. Columns of perturbation, context,
        structure and dose are given OP2's names, so that the folder is read without a
        schema.
    overwrite : bool, default=False
        Replace the files of signatures that are already there.

    Returns
    -------
    folder : Path
        So that ``load_op2(write_signatures(...))`` works.

    Raises
    ------
    FileExistsError
        If one of the files is there and `overwrite` is False, or if the folder holds a
        screen in the Kaggle layout.
    ValueError
        If `to_predict` is empty or lacks a column.

    See Also
    --------
    load_op2 : Read the folder; any layer with ``layer=``.
    write_screen : Write a screen in the Kaggle layout.

    Examples
    --------
    >>> import tempfile
    >>> import anndata as ad
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklperturb.datasets import load_op2, write_signatures
    >>> obs = pd.DataFrame(
    ...     {"cell_line": ["K562", "K562", "A549"], "drug": ["a", "b", "a"]},
    ...     index=["1", "2", "3"],
    ... )
    >>> layers = {"clipped_sign_log10_pval": np.eye(3)}
    >>> signatures = ad.AnnData(obs=obs, layers=layers)
    >>> missing = pd.DataFrame({"cell_line": ["A549"], "drug": ["b"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     screen = load_op2(write_signatures(folder, signatures, missing))
    >>> screen.X_test[["cell_type", "sm_name"]].to_numpy().tolist()
    [['A549', 'b']]
    """
    folder, to_predict = Path(folder), as_pandas(to_predict)
    schema = resolve_schema(schema, signatures.obs)
    schema.require(to_predict, "perturbation", *["context"] * bool(schema.context))
    if len(to_predict) == 0:
        raise ValueError("to_predict is empty: name at least one condition to predict.")
    check_free(folder, overwrite)
    renamed = {
        getattr(schema, role): KNOWN_SPELLINGS[role][0]
        for role in _ROLES
        if getattr(schema, role) is not None
    }
    id_map = to_predict[[c for c in renamed if c in to_predict]].rename(columns=renamed)
    id_map = id_map.reset_index(drop=True).rename_axis("id").reset_index()
    folder.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder) as unfinished:
        _write(unfinished / _NAMES[0], signatures, renamed)
        id_map.to_csv(unfinished / _NAMES[1], index=False)
        if test is not None:
            _write(unfinished / _NAMES[2], test, renamed)
        for name in _NAMES:
            if (unfinished / name).exists():
                os.replace(unfinished / name, folder / name)
            else:  # the answers that belong to the signatures just replaced
                (folder / name).unlink(missing_ok=True)
    return folder


def check_free(folder, overwrite):
    """Raise if signatures cannot be written to `folder`."""
    other = [name for name in _OTHER_LAYOUT if (folder / name).exists()]
    if other:
        raise FileExistsError(
            f"{folder} holds a screen in the Kaggle layout ({other}), which would be "
            "read instead. Choose another folder."
        )
    present = [name for name in _NAMES if (folder / name).exists()]
    if present and not overwrite:
        raise FileExistsError(
            f"{folder} already holds {present}. Allow to overwrite, or choose another "
            "folder."
        )


def _write(path, signatures, renamed):
    taken = [name for name in renamed.values() if name not in renamed]
    obs = signatures.obs.drop(columns=taken, errors="ignore").rename(columns=renamed)
    written = signatures.copy()
    written.obs = pd.DataFrame(obs)
    written.write_h5ad(path, compression="gzip")
