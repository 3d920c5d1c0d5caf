"""Load a screen in one of the two layouts that OP2 was published in."""

import os
from dataclasses import replace
from numbers import Real
from os import PathLike

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklperturb.conditions._doubts import (
    doubtful_names,
    doubtful_new_names,
    warn,
)
from sklperturb.conditions._near import spelling_hint
from sklperturb.conditions._quantities import unit_column
from sklperturb.conditions._schema import KNOWN_SPELLINGS, PerturbationSchema
from sklperturb.conditions._validation import resolve_schema
from sklperturb.datasets._clean import (
    LINCS_ID,
    check_units,
    clean_conditions,
    drop_duplicates,
    has_units,
    replace_nonfinite,
    split_columns,
    without_unread_dose,
)
from sklperturb.datasets._files import (
    DEFAULT_LAYER,
    check_unique_ids,
    missing_file,
    open_folder,
    read_layer,
)
from sklperturb.files._identifiers import as_identifiers
from sklperturb.files._tables import read_header, read_parquet, read_table
from sklperturb.utils._choices import OnNonfinite, did_you_mean, one_of

# A table of conditions has a dozen columns; one with more is something else.
_MAX_CONDITIONS = 1000


@validate_params(
    {
        "folder": [str, PathLike],
        "layer": [str, None],
        "clip": [Interval(Real, 0, None, closed="neither"), None],
        "on_nonfinite": [StrOptions(set(OnNonfinite))],
    },
    prefer_skip_nested_validation=True,
)
def load_op2(folder, *, layer=None, schema=None, clip=None, on_nonfinite="error"):
    """Load signatures to learn from and conditions to predict.

    Parameters
    ----------
    folder : str or path-like
        A folder that holds the Kaggle layout (``de_train.parquet`` or
        ``de_train.csv``, where there is something to predict ``id_map.csv`` and, to fix
        the genes, ``sample_submission.csv``) or the benchmark's (``de_train.h5ad`` with
        ``de_test.h5ad``, ``id_map.csv``, both or neither). Where several are there, the
        first of these is read, or with `layer` the last.
    layer : str, default=None
        Layer of the h5ad files, such as ``"sign_log10_pval"``, ``"logFC"`` or
        ``"t"``; by default ``"clipped_sign_log10_pval"``, which the benchmark
        scores.
    schema : PerturbationSchema or dict of str to str, default=None
        Column roles; by default inferred from the spellings in public use. A dictionary
        such as ``{"perturbation": "Drug"}`` names some, and the others are inferred.
    clip : float, default=None
        Limit `y` and `y_test` to plus and minus this value. Recommended where
        the values are combined z-scores with heavy tails, as in L1000.
    on_nonfinite : {"error", "replace"}, default="error"
        What to do with NaN and infinite values of the response. With
        ``"replace"``, NaN becomes 0 and an infinite value the largest finite
        magnitude of its table, with its sign.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        X : DataFrame of shape (n_samples, n_columns)
            Conditions: cell type, compound, SMILES, LINCS id, control flag and
            whatever else describes a row.
        y : DataFrame of shape (n_samples, n_genes)
            Response, float64.
        X_test : DataFrame of shape (n_test, n_columns)
            Conditions to predict, indexed by submission id; no rows where the folder
            names none.
        y_test : DataFrame of shape (n_test, n_genes) or None
            Response to them where the folder holds it.
        schema : PerturbationSchema
            Which column plays which role.
        target_names : list of str
            Genes, in the order of `y`.
        id_map : DataFrame
            As read; made from ``de_test`` where there is no ``id_map.csv``, and
            without rows where there is neither.
        DESCR : str
            What was read, and which of the rules below were applied.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the folder or a file of the layout is missing.
    ValueError
        If a file cannot be read or its content contradicts itself.

    Warns
    -----
    UserWarning
        If rows were dropped as duplicates, conditions are repeated, names differ in
        spelling only, or columns may be no genes, or genes no conditions.

    See Also
    --------
    make_chemical_screen : Generate data of the same layout.
    write_screen : Write a screen in the Kaggle layout.
    write_submission : Write predictions for `X_test`.

    Notes
    -----
    The following rules hold.

    - Columns of numbers are genes, unless the schema or a known spelling names
      them; so are columns of text of which every value spells a number.
    - Structure, LINCS id and control flag of a condition to predict come from
      ``id_map.csv`` if given there, else from the training rows of the same
      compound, or from ``de_test``, else they are missing and False. Other columns that
      ``id_map.csv`` does not have are missing.
    - Rows equal in every column are dropped with a warning; rows of the same
      condition with different values are kept as replicates with a warning.
    - Compounds and contexts may occur in ``id_map.csv`` only.
    - Without a control column no row is a control.
    - Doses are numbers, or amounts with a molar unit such as ``50 nM``, which become
      micromoles per litre, with ``uM`` in the column of units. All files give a unit,
      or none does.
    - ``de_test.parquet``, written by :func:`write_screen`, is this package's
      extension of the Kaggle layout and gives `y_test`.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> import tempfile
    >>> from sklperturb.datasets import load_op2, make_chemical_screen, write_screen
    >>> screen = make_chemical_screen(4, 20, 50, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     loaded = load_op2(write_screen(folder, screen))
    >>> loaded.y.equals(screen.y), list(loaded.X_test.columns)
    (True, ['cell_type', 'sm_name', 'sm_lincs_id', 'SMILES', 'control'])
    """
    folder = open_folder(folder)
    suffix = _choose_layout(folder, layer)
    train_name, test_name = f"de_train{suffix}", f"de_test{suffix}"
    notes = []

    X, y, schema = _read_signatures(folder / train_name, layer, schema)
    if suffix != ".h5ad":
        y = _order_genes(y, folder, train_name)
    X, y, n_dropped, n_repeated = drop_duplicates(X, y, schema, train_name)
    if n_dropped:
        notes.append(f"{n_dropped} duplicate rows were dropped")
    if n_repeated:
        notes.append(f"{n_repeated} repeated conditions were kept as replicates")
    y = _finish_response(y, X, schema, clip, on_nonfinite, train_name, notes)

    X_known, y_test = None, None
    if (folder / test_name).exists():
        X_known, y_test, _ = _read_signatures(folder / test_name, layer, schema)
    id_map = _read_id_map(folder, X_known, schema, test_name)
    _check_context(id_map, X, schema, train_name)
    X_test = _test_conditions(id_map, X, X_known, schema, (train_name, test_name))
    for message in (*doubtful_names(X, schema), *doubtful_new_names(X_test, X, schema)):
        warn(f"{train_name}: {message}")
    if y_test is not None:
        y_test = _align_test(X_known, y_test, X_test, y.columns, schema, test_name)
        y_test = _finish_response(
            y_test, X_test, schema, clip, on_nonfinite, test_name, notes
        )
    if clip is not None:
        notes.append(f"values were clipped to +-{clip}")
    source = train_name
    if suffix == ".h5ad":
        source += f" (layer {layer or DEFAULT_LAYER})"
    return Bunch(
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        schema=schema,
        target_names=list(y.columns),
        id_map=id_map,
        DESCR=_describe(source, X, y, X_test, y_test, schema, notes),
    )


def _choose_layout(folder, layer):
    """Return what the name of the table of signatures ends in."""
    ends = [e for e in (".parquet", ".csv", ".h5ad") if _train(folder, e).exists()]
    if not ends:
        raise missing_file(folder, "de_train.parquet (or de_train.csv, de_train.h5ad)")
    if layer is None:
        return ends[0]
    if ends[-1] != ".h5ad":
        raise ValueError(
            f"layer={layer!r} chooses a layer of de_train.h5ad, and {folder} has only "
            f"de_train{ends[0]}, which has no layers. Leave out layer=."
        )
    return ".h5ad"


def _train(folder, end):
    return folder / f"de_train{end}"


def _read_signatures(path, layer, schema):
    """Read conditions and response, and settle the schema."""
    inferred = schema is None or (isinstance(schema, dict) and "dose" not in schema)
    if path.suffix == ".h5ad":
        X, y = read_layer(path, layer)
        schema = _settle_schema(schema, X, path)
        y = y.astype(np.float64)
    else:
        frame, schema = _read_frame(path, schema)
        X, y = split_columns(frame, schema, path.name)
    if inferred:
        schema = without_unread_dose(schema, X, path.name)
    if len(X) == 0:
        raise ValueError(f"{path.name} has no rows.")
    if schema.control is None:
        schema = replace(schema, control="control")
    elif path.stem == "de_train":
        schema.require(X, "control")
    return clean_conditions(X, schema, path.name), y, schema


def _read_frame(path, schema):
    """Read a table with conditions and genes, and settle the schema."""
    if path.suffix != ".csv":
        frame = read_parquet(path)
        return frame, _settle_schema(schema, frame, path)
    names = [name.strip() for name in read_header(path)]
    schema = _settle_schema(schema, pd.DataFrame(columns=names), path)
    # Names of compounds and cell types are text, whatever they look like.
    return read_table(path, schema.columns("perturbation", "context")), schema


def _settle_schema(schema, table, path):
    try:
        if not isinstance(schema, dict):
            return resolve_schema(schema, table)
        for role in schema:
            one_of(role, KNOWN_SPELLINGS, "role")
        absent = [name for name in schema.values() if name not in table]
        if absent:
            raise ValueError(
                f"there is no column {absent[0]!r}; the first are "
                f"{list(table.columns[:10])}. "
                f"{did_you_mean(absent[0], table.columns)}".rstrip()
            )
        return PerturbationSchema.infer(table, **schema)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _order_genes(y, folder, train_name):
    """Return genes in the order of sample_submission.csv, where there is one."""
    path = folder / "sample_submission.csv"
    if not path.exists():
        return y
    header = [name for name in read_header(path) if name.strip() not in ("id", "")]
    wanted = pd.Index(header)
    for lacking, ours, theirs in (
        (wanted.difference(y.columns), train_name, path.name),
        (y.columns.difference(wanted), path.name, train_name),
    ):
        if len(lacking):
            raise ValueError(
                f"{ours} lacks {len(lacking)} genes that {theirs} has, such as "
                f"{list(lacking[:3])}. Make the two agree, or remove {path.name}. "
                "A column of numbers that is no gene can be named in schema=."
            )
    return y[wanted]


def _finish_response(y, X, schema, clip, on_nonfinite, file_name, notes):
    labels = X[schema.columns("perturbation", "context")]
    y, n_replaced = replace_nonfinite(y, on_nonfinite, labels, file_name)
    if n_replaced:
        notes.append(f"{n_replaced} values of {file_name} were not finite and replaced")
    return y if clip is None else y.clip(-clip, clip)


def _read_id_map(folder, X_known, schema, test_name):
    """Read the conditions to predict, or take them from the known test rows."""
    path = folder / "id_map.csv"
    labels = schema.columns("perturbation", "context")
    if os.path.lexists(path):  # a link to nothing is no file that was left out
        id_map = read_table(path, labels, max_columns=_MAX_CONDITIONS)
        file_name = path.name
    elif X_known is None:  # nothing is asked
        return pd.DataFrame(columns=["id", *labels])
    else:
        id_map = X_known.copy()
        if "id" not in id_map:
            id_map.insert(0, "id", np.arange(len(id_map)))
        told = schema.dose, unit_column(id_map, schema.dose)
        id_map = id_map[["id", *labels, *(c for c in told if c in id_map)]]
        file_name = test_name
    absent = [column for column in ["id", *labels] if column not in id_map]
    if absent:
        raise ValueError(
            f"{file_name} lacks the columns {absent}; it has {list(id_map.columns)}. "
            f"Needed are {['id', *labels]}, in any order, as de_train calls them."
            f"{spelling_hint(absent, id_map.columns)}"
        )
    ids = id_map["id"]
    if ids.isna().any():
        raise ValueError(f"{file_name} has {int(ids.isna().sum())} rows without an id.")
    check_unique_ids(ids, file_name)
    return id_map


def _test_conditions(id_map, X, X_known, schema, file_names):
    """Return the rows to predict with the columns of the training rows."""
    known = clean_conditions(id_map, schema, "id_map.csv")
    tables = zip((*file_names, "id_map.csv"), (X, X_known, known), strict=True)
    check_units({n: t for n, t in tables if t is not None}, schema.dose)
    compound = known[schema.perturbation]
    measured = X if X_known is None else pd.concat([X, X_known], ignore_index=True)
    by_compound = measured.groupby(schema.perturbation)
    X_test = pd.DataFrame(index=pd.Index(id_map["id"], name="id"))
    for column in X.columns:
        given = column in id_map
        missing = np.nan if is_numeric_dtype(X[column]) else None
        values = known[column] if given else pd.Series(missing, known.index)
        if column == schema.control and not given:
            is_control = by_compound[column].any()
            values = compound.isin(is_control.index[is_control])
        elif column in (schema.smiles, schema.mechanism, LINCS_ID):
            # groupby.first skips missing values.
            of_compound = by_compound[column].first()
            values = values.where(values.notna(), compound.map(of_compound))
            values = values.astype(object).where(values.notna(), None)
        X_test[column] = values.to_numpy()
    beside = unit_column(X, schema.dose)
    if beside is not None and has_units(known, schema.dose):
        X_test[beside] = "uM"
    return X_test


def _check_context(id_map, X, schema, train_name):
    """Raise if id_map names a context, and the training rows do not."""
    spelled = [name for name in KNOWN_SPELLINGS["context"] if name in id_map]
    if schema.context is None and spelled and spelled[0] not in X:
        raise ValueError(
            f"id_map.csv has the column {spelled[0]!r}, and {train_name} has not; its "
            f"columns that are no genes are {list(X.columns)}. Name the context alike "
            "in both, or pass schema=PerturbationSchema(..., context=...)."
        )


def _align_test(X_known, y_test, X_test, genes, schema, test_name):
    """Return the known test response in the order of the ids and of the genes."""
    absent = genes.difference(y_test.columns)
    if len(absent):
        raise ValueError(
            f"{test_name} lacks {len(absent)} genes of the training data, such as "
            f"{list(absent[:3])}."
        )
    if "id" in X_known:
        have, want = as_identifiers(X_known["id"]), as_identifiers(X_test.index)
    else:
        keys = schema.columns("perturbation", "context")
        if schema.dose in X_known and X_test[schema.dose].notna().all():
            keys.append(schema.dose)
        have = pd.MultiIndex.from_frame(X_known[keys].apply(as_identifiers))
        want = pd.MultiIndex.from_frame(X_test[keys].apply(as_identifiers))
    if not have.is_unique:
        raise ValueError(
            f"{test_name} has more than one row for {have[have.duplicated()][0]!r}, so "
            "it is not clear which one belongs to the id. Average or remove them."
        )
    position = have.get_indexer(want)
    if (position < 0).any():
        raise ValueError(
            f"{test_name} lacks {int((position < 0).sum())} of the {len(want)} "
            f"conditions of id_map.csv, such as {want[position < 0][0]!r}."
        )
    values = y_test[genes].to_numpy()[position]
    return pd.DataFrame(values, index=X_test.index, columns=genes)


def _describe(source, X, y, X_test, y_test, schema, notes):
    """Return in a few lines what was read."""
    lines = [
        f"{len(X)} signatures of {y.shape[1]} genes from {source}, and {len(X_test)} "
        f"conditions to predict, whose response is "
        f"{'not known' if y_test is None else 'known'}."
    ]
    named = "compounds" if schema.names_compounds else "perturbations"
    for role, noun in (("context", "contexts"), ("perturbation", named)):
        column = getattr(schema, role)
        if column is None:
            continue
        seen, wanted = set(X[column]), set(X_test[column])
        unseen = sorted(wanted - seen)
        line = f"{len(seen)} {noun} in training, {len(wanted)} to predict"
        if unseen:
            named = ", ".join(unseen[:10]) + (", ..." if len(unseen) > 10 else "")
            line += f", of which {len(unseen)} occur nowhere in training: {named}"
        lines.append(f"{line}.")
    for column, noun in ((schema.smiles, "SMILES"), (schema.mechanism, "Mechanism")):
        if column is not None and column in X:
            lines.append(
                f"{noun} missing: {int(X[column].isna().sum())} training rows, "
                f"{int(X_test[column].isna().sum())} rows to predict."
            )
    if notes:
        lines.append(f"Rules applied: {'; '.join(notes)}.")
    return "\n".join(lines)
