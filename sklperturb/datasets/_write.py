"""Write screens and predictions, whole or not at all."""

import csv
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
from sklearn.utils import gen_batches

from sklperturb.cells._files import check_unique_genes
from sklperturb.conditions._frames import as_pandas
from sklperturb.conditions._quantities import unit_column
from sklperturb.datasets._clean import OP2_ROLES, in_words_of_op2
from sklperturb.datasets._files import check_unique_ids
from sklperturb.files._identifiers import as_identifiers
from sklperturb.files._writing import (
    check_output,
    check_output_folder,
    move_whole,
    unfinished_folder,
    written_whole,
)
from sklperturb.files._writing_hdf5 import write_h5ad

SUFFIXES = (".csv", ".h5ad")
VCPI_SUFFIXES = (".csv", ".parquet")
_ROWS_AT_ONCE = 64  # of a long table
_ANSWERS = "de_test.parquet"
_SCREEN = ("de_train.parquet", "id_map.csv", "sample_submission.csv", _ANSWERS)
_SIGNATURES = ("de_train.h5ad", "id_map.csv", "de_test.h5ad")


def write_screen(folder, screen, *, overwrite=False):
    """Write a screen in the Kaggle layout of OP2.

    Parameters
    ----------
    folder : str or path-like
        Made if it does not exist.
    screen : :class:`~sklearn.utils.Bunch`
        As given by :func:`load_op2` or :func:`make_chemical_screen`.
    overwrite : bool, default=False
        Replace the files of a screen that is already there.

    Returns
    -------
    folder : Path
        So that ``load_op2(write_screen(...))`` works.

    Raises
    ------
    FileExistsError
        If one of the files is there and `overwrite` is False.

    Notes
    -----
    Written are ``de_train.parquet``, ``id_map.csv``, ``sample_submission.csv`` (all
    zeros) and, if `y_test` is known, ``de_test.parquet``. The last is no part of
    OP2's layout; :func:`load_op2` reads `y_test` from it. Files are written under
    another name and moved into place when all of them are complete.

    Examples
    --------
    >>> import tempfile
    >>> from sklperturb.datasets import make_chemical_screen, write_screen
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = write_screen(f"{parent}/screen", screen)
    ...     sorted(path.name for path in folder.iterdir())
    ['de_test.parquet', 'de_train.parquet', 'id_map.csv', 'sample_submission.csv']
    """
    folder = check_screen_folder(folder, overwrite)
    with replaced_files(folder, _SCREEN) as unfinished:
        train = pd.concat([screen.X, screen.y], axis=1)
        train.to_parquet(unfinished / _SCREEN[0], index=False)
        screen.id_map.to_csv(unfinished / _SCREEN[1], index=False)
        zeros = np.zeros((len(screen.id_map), len(screen.target_names)))
        write_submission(
            unfinished / _SCREEN[2], zeros, screen.id_map, screen.target_names
        )
        if screen.y_test is not None:
            test = pd.concat([screen.X_test, screen.y_test], axis=1).reset_index()
            test.to_parquet(unfinished / _ANSWERS, index=False)
    return folder


def check_screen_folder(folder, overwrite=False):
    """Return `folder` as a Path if a screen can be written into it."""
    return check_output_folder(folder, _SCREEN, overwrite)


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
            Without any, there will be no ``id_map.csv``.
        test : AnnData of shape (n_test, n_genes) or None
            Signatures of the conditions to predict, where they are known.
        schema : PerturbationSchema
            Roles of the columns. Columns of perturbation, context, structure and dose
            are given OP2's names, so that the folder is read without a schema; the
            perturbation is called ``target_gene`` where labels combine.
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
        If `to_predict` lacks a column.

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
    check_unique_genes(screen["signatures"].var_names, "signatures")
    folder = check_signature_folder(folder, overwrite)
    tables = {
        name: screen[name].obs
        for name in ("signatures", "test")
        if screen[name] is not None
    }
    asked = schema.columns(*OP2_ROLES)
    asked += [unit_column(to_predict, dose) for dose in schema.columns("dose")]
    id_map = to_predict[[column for column in asked if column in to_predict]]
    tables = in_words_of_op2(tables | {"to_predict": id_map}, schema)
    id_map = tables.pop("to_predict").reset_index(drop=True)
    with replaced_files(folder, _SIGNATURES) as unfinished:
        if len(id_map):
            id_map = id_map.rename_axis("id").reset_index()
            id_map.to_csv(unfinished / _SIGNATURES[1], index=False)
        for name, obs in tables.items():
            written = screen[name].copy()
            written.obs = obs
            file_name = _SIGNATURES[0 if name == "signatures" else 2]
            write_h5ad(unfinished / file_name, written, "gzip")
    return folder


def check_signature_folder(folder, overwrite):
    """Return `folder` as a Path, or raise if signatures cannot be written to it."""
    folder = check_output_folder(folder, _SIGNATURES, overwrite)
    # load_op2 would read these instead.
    kaggle = [name for name in _SCREEN if name not in _SIGNATURES]
    other = [name for name in kaggle if (folder / name).exists()]
    if other:
        raise FileExistsError(
            f"{folder} holds a screen in the Kaggle layout ({other}), which would be "
            "read instead. Choose another folder."
        )
    return folder


@contextmanager
def replaced_files(folder, names):
    """Yield a folder to write to, whose files become those of `folder` at the end.

    All of `names` that were there are removed first, and the first comes last: a
    process that is killed in between leaves a folder that lacks it, and not the
    conditions of one screen with the responses of another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder) as unfinished:
        yield unfinished
        for name in names:
            (folder / name).unlink(missing_ok=True)
        for name in reversed(names):
            if (unfinished / name).exists():
                move_whole(unfinished / name, folder / name)


def write_submission(
    path, y_pred, id_map, target_names, *, dataset_id=None, method_id=None
):
    """Write predictions as the competition or the benchmark expects them.

    Parameters
    ----------
    path : str or path-like
        ``.csv`` for the competition's table, ``id`` and one column per gene;
        ``.h5ad`` for the benchmark's file, with the layer ``"prediction"``.
    y_pred : array-like of shape (n_test, n_genes)
        Rows in the order of `id_map`. The columns of a DataFrame are put in the
        order of `target_names`, and its rows in that of the ids if its index is
        named ``"id"``.
    id_map : DataFrame
        With a column ``id``, or with an index of that name, as `X_test` has.
    target_names : list of str
        Genes in the order to be written.
    dataset_id, method_id : str, default=None
        Stored in an h5ad file's `uns`.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If the suffix is unknown, ids repeat, the shape or the names do not fit,
        or a value is not finite.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from sklperturb.datasets import write_submission
    >>> id_map = pd.DataFrame({"id": [0, 1]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_submission(
    ...         f"{folder}/submission.csv", [[0.5], [-1.25]], id_map, ["A1BG"]
    ...     )
    ...     print(path.read_text().strip())
    id,A1BG
    0,0.5
    1,-1.25
    """
    path = check_output(path, SUFFIXES, overwrite=True)
    ids = submission_ids(id_map)
    genes = pd.Index(target_names)
    values = check_predictions(y_pred, ids, genes)
    uns = {"dataset_id": dataset_id, "method_id": method_id}
    uns = {key: value for key, value in uns.items() if value is not None}
    if uns and path.suffix == ".csv":
        raise ValueError(
            f"{list(uns)} can be stored in an .h5ad file only, and {path.name} is a "
            "CSV file. Leave them out."
        )
    with written_whole(path) as unfinished:
        if path.suffix == ".csv":
            _write_csv(unfinished, values, ids, genes)
        else:
            _write_h5ad(unfinished, values, ids, genes, uns)
    return path


def write_vcpi_submission(path, y_pred, id_map, target_names):
    """Write predictions as the VCPI contest of 2026 expects them.

    Parameters
    ----------
    path : str or path-like
        ``.csv`` or ``.parquet``, which is several times smaller.
    y_pred : array-like of shape (n_test, n_genes)
        Expression, log2(CPM + 1).
    id_map : DataFrame
    target_names : list of str
        As in :func:`write_submission`; ids are the compounds.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If the suffix is unknown, compounds or genes repeat, the shape or the names do
        not fit, or a value is not finite.

    Warns
    -----
    UserWarning
        If values are below 0. They are written as 0, since the contest allows none and
        no expression is below.

    Notes
    -----
    The table is long: `compound`, `gene_id`, `predicted_expression`, with a row for
    each of the pairs, compound by compound. The file gets its name when it is whole.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from sklperturb.datasets import write_vcpi_submission
    >>> id_map, genes = pd.DataFrame({"id": ["9321914"]}), ["ENSG1", "ENSG2"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_vcpi_submission(
    ...         f"{folder}/sub.parquet", [[0.5, 3.25]], id_map, genes
    ...     )
    ...     pd.read_parquet(path)["predicted_expression"].tolist()
    [0.5, 3.25]
    """
    path = check_output(path, VCPI_SUFFIXES, overwrite=True)
    ids, genes = submission_ids(id_map), pd.Index(target_names)
    values = check_predictions(y_pred, ids, genes)
    n_negative = int((values < 0).sum())
    if n_negative:
        warnings.warn(
            f"{n_negative} of {values.size} predictions are below 0 and written as 0.",
            UserWarning,
            stacklevel=2,
        )
    with written_whole(path) as unfinished:
        _write_long(unfinished, values, as_identifiers(ids), as_identifiers(genes))
    return path


def submission_ids(id_map):
    """Return the ids of the rows to predict, each once, as an index."""
    id_map = as_pandas(id_map)
    if "id" in getattr(id_map, "columns", ()):
        ids = pd.Index(id_map["id"], name="id")
    elif getattr(getattr(id_map, "index", None), "name", None) == "id":
        ids = id_map.index
    else:
        raise ValueError(
            "id_map has neither a column nor an index named 'id'. Pass the id_map or "
            "the X_test of the screen."
        )
    check_unique_ids(ids, "id_map")
    return ids


def check_predictions(y_pred, ids, genes):
    """Return finite predictions as an array in the order of ids and genes."""
    y_pred = as_pandas(y_pred)
    if not genes.is_unique:
        raise ValueError(
            f"target_names names {genes[genes.duplicated()][0]!r} more than once."
        )
    shape = (len(ids), len(genes))
    if np.shape(y_pred) != shape:
        raise ValueError(
            f"y_pred has shape {np.shape(y_pred)}, but {shape[0]} ids and {shape[1]} "
            f"target names need {shape}."
        )
    if isinstance(y_pred, pd.DataFrame):
        y_pred = _in_order(y_pred, genes, "columns", "target_names")
        if y_pred.index.name == "id":
            y_pred = y_pred.set_axis(as_identifiers(y_pred.index))
            wanted = as_identifiers(ids)
            y_pred = _in_order(y_pred, wanted, "index", "the ids of id_map")
    values = np.asarray(y_pred)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"y_pred has {int(bad.sum())} values that are NaN or infinite, first for "
            f"id {ids.tolist()[row]!r} and {genes[column]!r}. Replace them."
        )
    return values


def _in_order(y_pred, wanted, axis, meaning):
    given = getattr(y_pred, axis)
    different = given.symmetric_difference(wanted)
    if len(different) or not given.is_unique:
        raise ValueError(
            f"The {axis} of y_pred is not the same set as {meaning}; they differ in "
            f"{list(different[:3])}."
        )
    return y_pred.reindex(wanted, axis=axis)


def _write_csv(path, values, ids, genes):
    import pyarrow as pa
    import pyarrow.csv

    # pyarrow spells a float with the digits that give the same float back, and is
    # some ten times faster here than pandas. It would quote every column name, so
    # the header is written apart.
    columns = [pa.array(ids)]
    columns += [pa.array(column) for column in np.ascontiguousarray(values.T)]
    names = ["id", *genes]
    table = pa.Table.from_arrays(columns, names=[str(i) for i in range(len(names))])
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(names)
    options = pa.csv.WriteOptions(include_header=False)
    with open(path, "ab") as file:
        pa.csv.write_csv(table, file, options)


def _write_h5ad(path, values, ids, genes, uns):
    from anndata import AnnData

    cells = AnnData(
        obs=pd.DataFrame(index=ids.astype(str)),
        var=pd.DataFrame(index=genes.astype(str)),
        layers={"prediction": values},
        uns=uns,
    )
    write_h5ad(path, cells, "gzip")


def _write_long(path, values, ids, genes):
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    names = ["compound", "gene_id", "predicted_expression"]
    types = [pa.string(), pa.string(), pa.from_numpy_dtype(values.dtype)]
    ids, genes = pa.array(ids, pa.string()), pa.array(genes, pa.string())
    writer = pa.csv.CSVWriter if path.suffix == ".csv" else pq.ParquetWriter
    with writer(path, pa.schema(zip(names, types, strict=True))) as file:
        for rows in gen_batches(len(ids), _ROWS_AT_ONCE):
            part = np.maximum(values[rows], 0)
            row, gene = np.indices(part.shape)
            labels = ids[rows].take(row.ravel()), genes.take(gene.ravel())
            file.write_table(pa.Table.from_arrays([*labels, part.ravel()], names))
